#!/usr/bin/env bash
# The pump alone, under ThreadSanitizer and under AddressSanitizer and UndefinedBehaviorSanitizer.
. "$(dirname "$0")/build.sh"
need "pump under sanitizers" "command -v g++" g++ || exit 0
for sanitizer in thread address,undefined; do
  out=$root/test/native/out/pump-${sanitizer%%,*}
  flags="-g -O1 -fsanitize=$sanitizer -fno-sanitize-recover=all -w"
  build_core "$out" g++ $flags
  g++ $common_flags $flags "$root"/test/native/pump_test.cpp "$root"/native/{pump,frame_run}.cpp "$out"/{gcm,kernels,cpu,self_test}.o \
    "$out"/kernel_*.o -ldl -pthread -o "$out/pump_test"
  mkdir -p "$out/files"
  echo "== pump, $sanitizer"
  "$out/pump_test" "$out/files"
  rm -r "$out/files"
done
