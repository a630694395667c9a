#!/usr/bin/env bash
# Fuzzes all tiers that run here against OpenSSL.  usage: fuzz.sh [SECONDS, by default 120]
. "$(dirname "$0")/build.sh"
out=$root/test/native/out/fuzz
need "fuzzing" "command -v clang++ && echo 'int main(){}' | clang++ -fsanitize=address -x c++ - -o /dev/null" clang libclang-rt-dev libssl-dev || {
  [ "${CI:-}" != true ] && exit 0
  exit 1
}
build_core "$out" clang++ -g -fsanitize=fuzzer-no-link,address
clang++ $common_flags -O1 -g -fsanitize=fuzzer,address "$root/test/native/fuzz.cpp" \
  "$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o -lcrypto -ldl -o "$out/fuzz"
mkdir -p "$out/corpus"
cd "$out"
./fuzz -max_total_time="${1:-120}" -max_len=20000 -len_control=20 -timeout=20 -print_final_stats=1 corpus 2> fuzz.log || {
  tail -n 40 fuzz.log
  exit 1
}
grep -E "stat::number_of_executed_units|cov:" fuzz.log | tail -n 2
echo "no deviation in ${1:-120} s"
