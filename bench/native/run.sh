#!/usr/bin/env bash
# The kernels alone beside the system's OpenSSL and intel-ipsec-mb.  usage: run.sh [--json] [--rounds N]
. "$(dirname "$0")/../../test/native/build.sh"
out=$root/build/kernel-bench
need "kernel benchmark" "command -v g++ && echo '#include <openssl/evp.h>' | g++ -E -x c++ -" g++ libssl-dev >&2 || exit 1
peer=()
if need "intel-ipsec-mb" "echo '#include <intel-ipsec-mb.h>' | g++ -E -x c++ -" libipsec-mb-dev >&2; then
  peer=(-DFRAMESEAL_IPSEC_MB -lIPSec_MB)
fi
build_core "$out" g++
g++ $common_flags -O2 "$root/bench/native/kernel_bench.cpp" "$out"/{gcm,kernels,cpu,self_test}.o "$out"/kernel_*.o \
  "${peer[@]}" -lcrypto -ldl -o "$out/kernel_bench"
exec "$out/kernel_bench" "$@"
