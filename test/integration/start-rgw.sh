#!/usr/bin/env bash
# Starts Ceph's S3 server, prints its address and ends it when standard input ends: for benchmarks and trials by hand.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=test/integration/rgw.sh
. "$here/rgw.sh"
folder=$(mktemp -d)
rgw_pids=()
stop() {
  kill "${rgw_pids[@]}" 2>/dev/null || true
  wait "${rgw_pids[@]}" 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 143' TERM INT
start_rgw "$folder" >&2
echo "$rgw_endpoint"
cat > /dev/null
