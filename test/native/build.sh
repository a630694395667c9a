# Builds the C++ core for a test: `build_core FOLDER COMPILER FLAGS...` leaves objects in FOLDER. Sourced by the scripts
# beside it; flags are those of binding.gyp.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kernel_flags="-O3 -fno-schedule-insns2 -fno-tree-ter -fno-tree-reassoc"
common_flags="-std=c++20 -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti -Wall -Wextra -Werror -I$root/native"

build_core() {
  local out=$1 cxx=$2
  shift 2
  mkdir -p "$out"
  local kernel=$kernel_flags
  local quiet="-Wno-maybe-uninitialized -Wno-uninitialized"
  if "$cxx" --version | grep -qi clang; then kernel="-O3" quiet=""; fi
  if "$cxx" -dumpmachine | grep -q x86_64; then
    "$cxx" $common_flags $kernel "$@" -mavx512f -mavx512bw -mavx512dq -mavx512vl -mvaes -mvpclmulqdq -maes -mpclmul -mbmi2 \
      ${quiet} -c "$root/native/gcm/kernel_vaes512.cpp" -o "$out/kernel_vaes512.o"
    "$cxx" $common_flags $kernel "$@" -mavx2 -mvaes -mvpclmulqdq -maes -mpclmul \
      -c "$root/native/gcm/kernel_vaes256.cpp" -o "$out/kernel_vaes256.o"
    "$cxx" $common_flags $kernel "$@" -msse4.1 -mssse3 -maes -mpclmul \
      -c "$root/native/gcm/kernel_aesni.cpp" -o "$out/kernel_aesni.o"
  else
    "$cxx" $common_flags $kernel "$@" -march=armv8-a+crypto -c "$root/native/gcm/kernel_armv8.cpp" -o "$out/kernel_armv8.o"
  fi
  for file in gcm kernels cpu self_test kernel_openssl; do
    "$cxx" $common_flags -O3 "$@" -c "$root/native/gcm/$file.cpp" -o "$out/$file.o"
  done
}

# Installs Debian packages if they are missing and FRAMESEAL_INSTALL=1 or CI=true; else says what is not run.
need() {
  local what=$1 check=$2
  shift 2
  if eval "$check" >/dev/null 2>&1; then return 0; fi
  if [ "${FRAMESEAL_INSTALL:-}" = 1 ] || [ "${CI:-}" = true ]; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"; } >/dev/null 2>&1 || true
  fi
  if eval "$check" >/dev/null 2>&1; then return 0; fi
  echo "$what: not run ($* missing)"
  return 1
}
