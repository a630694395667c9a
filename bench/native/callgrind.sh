#!/usr/bin/env bash
# Instructions of the native core, counted by callgrind, against those on record in instructions.json: no timing, so that
# it can be trusted on busy machines.  usage: callgrind.sh [--update]
. "$(dirname "$0")/../../test/native/build.sh"
out=$root/build/callgrind
need "callgrind" "command -v valgrind && command -v g++ && ls /usr/include/valgrind/callgrind.h" valgrind g++ libc6-dbg || {
  [ "${CI:-}" != true ] && exit 0
  exit 1
}
build_core "$out" g++
g++ $common_flags -O3 -c "$root/native/frame_run.cpp" -o "$out/frame_run.o"
# Bound at the start: looking up a function at its first call would be counted.
g++ $common_flags -O2 "$root/bench/native/instructions.cpp" "$out"/{frame_run,gcm,kernels,cpu,self_test}.o \
  "$out"/kernel_*.o -lcrypto -ldl -Wl,-z,now -o "$out/instructions"
rm -f "$out"/counts*
valgrind --quiet --tool=callgrind --instr-atstart=no --combine-dumps=no --callgrind-out-file="$out/counts" \
  "$out/instructions" > "$out/cases.jsonl"
exec node "$root/bench/native/compare-instructions.mjs" "$out" "$(g++ -dumpversion)" "$@"
