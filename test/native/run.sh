#!/usr/bin/env bash
# Tests the C++ core alone: against OpenSSL, foreign vectors, guard pages; again with sanitizers; and that kernel objects
# export their table only.  usage: run.sh [--full]
. "$(dirname "$0")/build.sh"
out=$root/test/native/out
need "native tests" "command -v g++ && echo '#include <openssl/evp.h>' | g++ -E -x c++ -" g++ libssl-dev || exit 0
foreign_vectors

link() { # FOLDER FLAGS...
  local folder=$1
  shift
  local emulated=()
  if [ "$(uname -m)" = x86_64 ]; then
    g++ $common_flags $kernel_flags "$@" -mavx2 -mvaes -mvpclmulqdq -maes -mpclmul \
      -c "$root/test/native/vaes512_emulated.cpp" -o "$folder/vaes512_emulated.o"
    if grep -q vaes /proc/cpuinfo; then emulated=("$folder/vaes512_emulated.o" -DFRAMESEAL_EMULATED_512); fi
  fi
  g++ $common_flags -O2 "$@" "$root/test/native/gcm_test.cpp" "$folder"/{gcm,kernels,cpu,self_test}.o \
    "$folder"/kernel_*.o "${emulated[@]}" -lcrypto -ldl -o "$folder/gcm_test"
}

echo "== kernels against OpenSSL"
build_core "$out/plain" g++
link "$out/plain"
"$out/plain/gcm_test" "${1:-}"

echo "== the same with AddressSanitizer and UndefinedBehaviorSanitizer"
build_core "$out/asan" g++ -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -w
link "$out/asan" -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -w
ASAN_OPTIONS=detect_leaks=1 "$out/asan/gcm_test" "${1:---quick}"

echo "== symbols of kernel objects"
exports_only_table nm "$out"/plain/kernel_*.o

if command -v clang++ > /dev/null; then
  echo "== the same built by $(clang++ --version | head -n 1)"
  build_core "$out/clang" clang++
  clang++ $common_flags -O2 "$root/test/native/gcm_test.cpp" "$out/clang"/{gcm,kernels,cpu,self_test}.o \
    "$out/clang"/kernel_*.o -lcrypto -ldl -o "$out/clang/gcm_test"
  "$out/clang/gcm_test" --quick
else
  echo "built by clang: not run (clang is not installed)"
fi
