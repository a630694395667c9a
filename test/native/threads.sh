#!/usr/bin/env bash
# What several threads do together, the pump and the helping threads of a run, under ThreadSanitizer and under
# AddressSanitizer and UndefinedBehaviorSanitizer; then the whole addon in Node under the latter two: with all of its
# threads, with some and with none, and with arguments that nobody should give it.
. "$(dirname "$0")/build.sh"
need "threads under sanitizers" "command -v g++" g++ || exit 0
for sanitizer in thread address,undefined; do
  out=$root/test/native/out/pump-${sanitizer%%,*}
  flags="-g -O1 -fsanitize=$sanitizer -fno-sanitize-recover=all -w"
  build_core "$out" g++ $flags
  for test in pump_test crew_test; do
    g++ $common_flags $flags "$root/test/native/$test.cpp" "$root"/native/{pump,crew,thread,parallel_run,frame_run}.cpp \
      "$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o -ldl -pthread -o "$out/$test"
  done
  mkdir -p "$out/files"
  echo "== pump, $sanitizer"
  "$out/pump_test" "$out/files"
  rm -r "$out/files"
  echo "== helping threads, $sanitizer"
  "$out/crew_test"
done

echo "== threads that cannot be had, in Node, address,undefined"
out=$root/test/native/out/addon-address
build_addon "$out" g++ -g -O1 -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -w || exit 0
gcc -shared -fPIC -O1 "$root/test/native/fail_threads.c" -ldl -o "$out/fail_threads.so"
# The shim comes first, so that it sees who calls; Node itself leaks, and keeps memory of its threads.
export ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0:abort_on_error=1
in_node() { # PROGRAM ARGUMENTS...
  local program=$1
  shift
  LD_PRELOAD="$out/fail_threads.so $(g++ -print-file-name=libasan.so)" \
    timeout 600 node "$root/test/native/$program" "$out/build/Release/frameseal.node" "$@"
}
run() { # EXPECTED FAIL_THREADS
  for part in pump crew hash; do FAIL_THREADS=$2 in_node threads.mjs $part $1; done
}
run all 0
for first in 1 2 3 1-2 2-4; do run some $first; done
run none 1-

echo "== wild calls, in Node, address,undefined"
for seed in 1 2 $RANDOM; do in_node wild_calls.mjs "${FRAMESEAL_WILD_CALLS:-350000}" $seed; done
