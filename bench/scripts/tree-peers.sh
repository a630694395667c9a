#!/usr/bin/env bash
# Builds the programs that `npm run bench -- trees` compares with, and a server, and prints the folder that holds them:
# Go, some minutes, once. Nothing of them is part of the package.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${FRAMESEAL_TREE_PEERS:-$PWD/node_modules/.cache/frameseal-tree-peers}
rclone=v1.76.0
restic=v0.19.0
versitygw=v1.8.0
mkdir -p "$folder"
export GOBIN=$folder GOFLAGS=-mod=mod
made=$folder/made
wanted="$rclone $restic $versitygw"
if [ "$(cat "$made" 2>/dev/null)" != "$wanted" ]; then
  {
    go install "github.com/rclone/rclone@$rclone"
    go install "github.com/versity/versitygw/cmd/versitygw@$versitygw"
    # Its versions are unknown to the database of checksums, so this one is named here.
    sum=$(GOSUMDB=off go mod download -json "github.com/restic/restic@$restic" | sed -n 's/.*"Sum": "\(.*\)".*/\1/p')
    [ "$sum" = "h1:IQugM6uMG9/lL00O0HM30P12usLmhHeeQhooPRQY/VI=" ] || { echo "restic $restic: other bytes ($sum)"; exit 1; }
    GOSUMDB=off go install "github.com/restic/restic/cmd/restic@$restic"
    printf %s "$wanted" > "$made"
  } >&2
fi
echo "$folder"
