#!/usr/bin/env bash
# Fuzzes all tiers that run here against OpenSSL, and runs of frames.  usage: fuzz.sh [SECONDS, by default 120]
. "$(dirname "$0")/build.sh"
out=$root/test/native/out/fuzz
seconds=${1:-120}
need "fuzzing" "command -v clang++ && echo 'int main(){}' | clang++ -fsanitize=address -x c++ - -o /dev/null" clang libclang-rt-dev libssl-dev || {
  [ "${CI:-}" != true ] && exit 0
  exit 1
}
build_core "$out" clang++ -g -fsanitize=fuzzer-no-link,address
core=("$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o)
clang++ $common_flags -O1 -g -fsanitize=fuzzer,address "$root/test/native/fuzz.cpp" "${core[@]}" -lcrypto -ldl -o "$out/kernels"
clang++ $common_flags -O1 -g -fsanitize=fuzzer,address "$root/test/native/fuzz_frames.cpp" \
  "$root"/native/{frame_run,parallel_run,crew,thread}.cpp "${core[@]}" -ldl -pthread -o "$out/frames"

fuzz() { # TARGET SECONDS
  mkdir -p "$out/corpus-$1"
  cd "$out"
  "./$1" -max_total_time="$2" -max_len=24000 -len_control=20 -timeout=20 -print_final_stats=1 "corpus-$1" 2> "fuzz-$1.log" || {
    tail -n 40 "fuzz-$1.log"
    exit 1
  }
  echo "$1: $(grep -o 'number_of_executed_units: *[0-9]*' "fuzz-$1.log" | grep -o '[0-9]*$') executions in $2 s, 0 deviations"
}
fuzz kernels $((seconds * 3 / 4))
fuzz frames $((seconds / 4))
