#!/bin/sh
# Installs the locked npm packages of folder $1 into folder $2 with the Node.js $3; runs none of their install scripts.
set -eu
from=$1 to=$2 node=$3
npm=$(dirname "$node")/../lib/node_modules/npm/bin/npm-cli.js
[ -f "$npm" ] || npm=$(readlink -f "$(command -v npm)")
mkdir -p "$to"
cp "$from/package.json" "$from/package-lock.json" "$to/"
PATH=$(dirname "$node"):$PATH "$node" "$npm" ci --prefix "$to" --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error \
    --omit=optional --fetch-retries=2 --fetch-timeout=60000 >&2
