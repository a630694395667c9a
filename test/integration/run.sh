#!/usr/bin/env bash
# Tests against programs of others: AWS's Encryption SDKs for Python, Java and Go, and for Rust with FRAMESEAL_RUST=1,
# AWS's Python command line, the S3 Encryption Clients for Java, Go and Python, moto's AWS KMS, PostgreSQL, and Ceph's S3
# server. What they need is built once and kept in node_modules/.cache; Ceph and PostgreSQL come from Debian's packages (CI
# installs them). Services listen on free loopback ports and end with this script. What is missing leaves its rows "not
# run"; in CI it fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/test/integration
peers=$PWD/test/interop/peers
cache=${FRAMESEAL_INTEGRATION_CACHE:-$PWD/node_modules/.cache/frameseal-integration}
mkdir -p "$cache"

# prepare NAME INPUT... : runs make_NAME in $cache/NAME unless the same was done for the same inputs.
prepare() {
  local name=$1 wanted
  shift
  wanted=$({ cat "$@"; declare -f "make_$name"; } | sha256sum | cut -d ' ' -f 1)
  if [ "$(cat "$cache/$name/made" 2>/dev/null)" = "$wanted" ]; then return 0; fi
  rm -rf "${cache:?}/$name"
  mkdir -p "$cache/$name"
  local begun=$SECONDS
  if (cd "$cache/$name" && "make_$name") > "$cache/$name.log" 2>&1; then
    printf %s "$wanted" > "$cache/$name/made"
    echo "integration tests: $name prepared in $((SECONDS - begun)) s"
    return 0
  fi
  echo "integration tests: $name could not be prepared, see $cache/$name.log" >&2
  if [ "${CI:-}" = true ]; then
    tail -n 40 "$cache/$name.log" >&2
    exit 1
  fi
  return 1
}
make_python() {
  set -e
  python3 -m venv venv
  venv/bin/pip install --quiet --requirement "$here/requirements.txt"
}
make_s3ec_python() {
  set -e
  python3 -m venv venv
  venv/bin/pip install --quiet --requirement "$peers/python/requirements.txt"
}
make_s3ec_go() {
  set -e
  cp "$peers"/go/* .
  # go.sum pins what is fetched.
  GOSUMDB=off GOFLAGS=-mod=readonly go build -o peer .
}
make_s3ec_java() {
  set -e
  cp -r "$peers"/java/* .
  mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=classpath
}
make_esdk_python() {
  set -e
  python3 -m venv venv
  venv/bin/pip install --quiet --requirement "$peers/esdk-python/requirements.txt"
}
make_esdk_go() {
  set -e
  cp "$peers"/esdk-go/* .
  GOSUMDB=off GOFLAGS=-mod=readonly go build -o peer .
}
make_esdk_java() {
  set -e
  cp -r "$peers"/esdk-java/* .
  mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=classpath
}
make_esdk_rust() {
  set -e
  cp -r "$peers"/esdk-rust/* .
  cargo build --quiet --locked
}

if ! prepare python "$here/requirements.txt"; then
  echo "integration tests: skipped"
  exit 0
fi
FRAMESEAL_S3EC_PEERS=
prepare s3ec_python "$peers"/python/* && FRAMESEAL_S3EC_PEERS+=" python"
prepare s3ec_go "$peers"/go/* && FRAMESEAL_S3EC_PEERS+=" go"
prepare s3ec_java "$peers/java/pom.xml" "$peers/java/src/main/java/Peer.java" && FRAMESEAL_S3EC_PEERS+=" java"
FRAMESEAL_ESDK_PEERS=
prepare esdk_python "$peers/esdk-python/requirements.txt" && FRAMESEAL_ESDK_PEERS+=" python"
prepare esdk_go "$peers"/esdk-go/* && FRAMESEAL_ESDK_PEERS+=" go"
prepare esdk_java "$peers/esdk-java/pom.xml" "$peers"/esdk-java/src/main/java/* && FRAMESEAL_ESDK_PEERS+=" java"
# Takes minutes to build.
if [ "${FRAMESEAL_RUST:-}" = 1 ]; then
  prepare esdk_rust "$peers"/esdk-rust/Cargo.* "$peers"/esdk-rust/src/* && FRAMESEAL_ESDK_PEERS+=" rust"
fi
[ -f dist/cli/main.js ] || npm run build:ts

# install COMMAND PACKAGES...: in CI, what is missing; elsewhere the tests say that they do not run.
install() {
  local command=$1
  shift
  if command -v "$command" > /dev/null || [ "${CI:-}" != true ]; then return 0; fi
  { apt-get update && apt-get install -y --no-install-recommends "$@"; } > "$cache/apt.log" 2>&1 || {
    tail -n 20 "$cache/apt.log" >&2
    exit 1
  }
}
rgw_packages="radosgw ceph-mon ceph-mgr ceph-osd ceph-common"
# shellcheck disable=SC2086
install radosgw $rgw_packages
install chromium chromium
install pg_ctlcluster postgresql

log=$(mktemp)
rgw_pids=()
rgw_folder=
stop() {
  kill "$moto" "${rgw_pids[@]}" 2>/dev/null
  wait "$moto" "${rgw_pids[@]}" 2>/dev/null
  rm -rf "$log" ${rgw_folder:+"$rgw_folder"}
}
"$cache/python/venv/bin/moto_server" -H 127.0.0.1 -p 0 > "$log" 2>&1 &
moto=$!
trap stop EXIT
endpoint=
for _ in $(seq 300); do
  endpoint=$(sed -n 's/.*Running on \(http:[0-9.:/]*\).*/\1/p' "$log" | head -n 1)
  [ -z "$endpoint" ] || break
  kill -0 "$moto" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$endpoint" ]; then
  cat "$log" >&2
  exit 1
fi

if command -v radosgw > /dev/null; then
  # shellcheck source=test/integration/rgw.sh
  . "$here/rgw.sh"
  rgw_folder=$(mktemp -d)
  start_rgw "$rgw_folder"
  export FRAMESEAL_RGW_ENDPOINT=$rgw_endpoint
else
  echo "Ceph's S3 server: not run (packages $rgw_packages)"
fi

export FRAMESEAL_S3EC_PEERS FRAMESEAL_ESDK_PEERS FRAMESEAL_PEER_CACHE="$cache" FRAMESEAL_PEER_SOURCES="$peers"
export FRAMESEAL_PYTHON="$cache/python/venv/bin" FRAMESEAL_KMS_ENDPOINT="$endpoint"
npx vitest run --config "$here/vitest.config.ts" "$@"
