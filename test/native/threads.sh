#!/usr/bin/env bash
# What several threads do together, the pump and the helping threads of a run, under ThreadSanitizer and under
# AddressSanitizer and UndefinedBehaviorSanitizer.
. "$(dirname "$0")/build.sh"
need "threads under sanitizers" "command -v g++" g++ || exit 0
for sanitizer in thread address,undefined; do
  out=$root/test/native/out/pump-${sanitizer%%,*}
  flags="-g -O1 -fsanitize=$sanitizer -fno-sanitize-recover=all -w"
  build_core "$out" g++ $flags
  for test in pump_test crew_test; do
    g++ $common_flags $flags "$root/test/native/$test.cpp" "$root"/native/{pump,crew,parallel_run,frame_run}.cpp \
      "$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o -ldl -pthread -o "$out/$test"
  done
  mkdir -p "$out/files"
  echo "== pump, $sanitizer"
  "$out/pump_test" "$out/files"
  rm -r "$out/files"
  echo "== helping threads, $sanitizer"
  "$out/crew_test"
done
