#!/usr/bin/env bash
# The AES-NI tier under valgrind, which does not know the wider instructions: memory errors, and branches or addresses
# that depend on secrets.  usage: valgrind.sh
. "$(dirname "$0")/build.sh"
out=$root/test/native/out/valgrind
need "valgrind" "command -v valgrind && command -v g++ && ls /usr/include/valgrind/memcheck.h" valgrind g++ libssl-dev || {
  [ "${CI:-}" != true ] && exit 0
  exit 1
}
build_core "$out" g++ -g
kernels=("$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o)
g++ $common_flags -O2 -g "$root/test/native/gcm_test.cpp" "${kernels[@]}" -lcrypto -ldl -o "$out/gcm_test"
g++ $common_flags -O2 -g "$root/test/native/constant_time.cpp" "${kernels[@]}" -lcrypto -ldl -o "$out/constant_time"
check() { valgrind --quiet --error-exitcode=9 "$@"; }

echo "== memory of the AES-NI tier"
FRAMESEAL_TEST_KERNEL=aesni check --leak-check=full "$out/gcm_test" --quick
echo "== branches and addresses of the AES-NI tier"
check "$out/constant_time"
for leak in leaky-branch leaky-address; do
  if check "$out/constant_time" $leak > /dev/null 2>&1; then
    echo "a deliberate $leak was not found" && exit 1
  fi
done
echo "no branch and no address depends on a secret; both deliberate leaks were found"
