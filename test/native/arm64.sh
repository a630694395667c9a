#!/usr/bin/env bash
# Cross-compiles the C++ core for arm64 and tests its kernels against OpenSSL under qemu-user.  usage: arm64.sh [--full]
. "$(dirname "$0")/build.sh"
out=$root/test/native/out/arm64
cxx=aarch64-linux-gnu-g++
if [ "${FRAMESEAL_INSTALL:-}" = 1 ] || [ "${CI:-}" = true ]; then dpkg --add-architecture arm64 2>/dev/null || true; fi
need "arm64" "command -v $cxx && command -v qemu-aarch64 && ls /usr/lib/aarch64-linux-gnu/libcrypto.so" \
  g++-aarch64-linux-gnu qemu-user libssl-dev:arm64 || { [ "${CI:-}" != true ] && exit 0; }
vectors=${FRAMESEAL_VECTORS:-$root/../shared/vectors}
mkdir -p "$out"
if [ -d "$vectors" ]; then
  node "$root/test/native/vectors.mjs" "$vectors" >"$out/vectors.txt"
  export FRAMESEAL_GCM_VECTORS=$out/vectors.txt
elif [ "${CI:-}" = true ]; then
  echo "vectors are missing" && exit 1
fi
echo "== arm64 kernels under $(qemu-aarch64 --version | head -1)"
build_core "$out" $cxx
$cxx $common_flags -O2 "$root/test/native/gcm_test.cpp" "$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o \
  -lcrypto -ldl -o "$out/gcm_test"
qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=/usr/lib/aarch64-linux-gnu "$out/gcm_test" "${1:---quick}"
