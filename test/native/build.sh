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

# Leaves the vectors written by others where gcm_test finds them, or says that they are not run.
foreign_vectors() {
  local vectors=${FRAMESEAL_VECTORS:-$root/../shared/vectors}
  if [ -d "$vectors" ]; then
    mkdir -p "$root/test/native/out"
    export FRAMESEAL_GCM_VECTORS=$root/test/native/out/vectors.txt
    node "$root/test/native/vectors.mjs" "$vectors" > "$FRAMESEAL_GCM_VECTORS"
  elif [ "${CI:-}" = true ]; then
    echo "vectors are missing" && exit 1
  else
    echo "foreign vectors: not run (FRAMESEAL_VECTORS is not set)"
  fi
}

# exports_only_table NM OBJECT...: a kernel object exports its table and nothing else, not even weak symbols.
exports_only_table() {
  local nm=$1 object
  shift
  for object; do
    if "$nm" -C "$object" | grep -E ' [WVuT] '; then
      echo "$object exports more than its table" && exit 1
    fi
    [ "$("$nm" "$object" | grep -c ' [RD] ')" = 1 ] || { echo "$object does not export exactly one table" && exit 1; }
  done
  echo "every kernel object exports its table only"
}

# build_addon FOLDER COMPILER FLAGS...: the addon as FOLDER/build/Release/frameseal.node, where Node has its headers.
build_addon() {
  local out=$1 cxx=$2 prefix=""
  shift 2
  local node
  node=$(node -p 'require("path").dirname(require("path").dirname(process.execPath))')
  for folder in "${npm_config_nodedir:-}" "$node" /usr /usr/local; do
    if [ -e "$folder/include/node/node_api.h" ]; then prefix=$folder && break; fi
  done
  if [ -z "$prefix" ]; then echo "addon: not built (no headers beside this Node)" && return 1; fi
  build_core "$out" "$cxx" "$@"
  mkdir -p "$out/build/Release"
  "$cxx" $common_flags -O3 "$@" -DNAPI_VERSION=8 -I"$prefix/include/node" -shared "$root"/native/*.cpp "$out"/*.o \
    -Wl,--version-script="$root/native/exports.map" -ldl -pthread -o "$out/build/Release/frameseal.node"
}
