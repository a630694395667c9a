#!/usr/bin/env bash
# Tests against AWS's Python SDK, its command line and moto's AWS KMS. Python packages go to a virtual environment that
# is kept in node_modules/.cache; the service listens on a free loopback port and ends with this script.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=test/integration
cache=${FRAMESEAL_INTEGRATION_CACHE:-node_modules/.cache/frameseal-integration}

unavailable() {
  if [ "${CI:-}" = true ]; then
    echo "integration tests: $1" >&2
    exit 1
  fi
  echo "integration tests: skipped, $1"
  exit 0
}

wanted=$(sha256sum "$here/requirements.txt" | cut -d ' ' -f 1)
if [ "$(cat "$cache/made" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  python3 -m venv "$cache/venv" > "$cache/install.log" 2>&1 || unavailable "python3 with venv is missing"
  "$cache/venv/bin/pip" install --quiet --requirement "$here/requirements.txt" >> "$cache/install.log" 2>&1 ||
    unavailable "Python packages could not be installed, see $cache/install.log"
  printf %s "$wanted" > "$cache/made"
fi
[ -f dist/cli/main.js ] || npm run build:ts

log=$(mktemp)
"$cache/venv/bin/moto_server" -H 127.0.0.1 -p 0 > "$log" 2>&1 &
moto=$!
trap 'kill "$moto" 2>/dev/null; wait "$moto" 2>/dev/null; rm -f "$log"' EXIT
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

export FRAMESEAL_PYTHON="$PWD/$cache/venv/bin" FRAMESEAL_KMS_ENDPOINT="$endpoint"
case $cache in /*) FRAMESEAL_PYTHON="$cache/venv/bin" ;; esac
npx vitest run --config "$here/vitest.config.ts" "$@"
