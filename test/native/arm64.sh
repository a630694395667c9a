#!/usr/bin/env bash
# The ARMv8 kernel, cross-compiled and run under qemu-user, against the plain words of the standards and foreign vectors.
. "$(dirname "$0")/build.sh"
out=$root/test/native/out/arm64
need "ARMv8 kernel under qemu" "command -v aarch64-linux-gnu-g++ && command -v qemu-aarch64" \
  g++-aarch64-linux-gnu qemu-user || {
  [ "${CI:-}" != true ] && exit 0
  exit 1
}
foreign_vectors
build_core "$out" aarch64-linux-gnu-g++
aarch64-linux-gnu-g++ $common_flags -O2 -DFRAMESEAL_PLAIN_ORACLE "$root/test/native/gcm_test.cpp" \
  "$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o -ldl -o "$out/gcm_test"
exports_only_table aarch64-linux-gnu-nm "$out"/kernel_*.o
qemu-aarch64 -L /usr/aarch64-linux-gnu "$out/gcm_test" --quick
