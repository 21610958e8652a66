#!/bin/sh
# Completes the demo's downstream servers under .cache/demo: the one from npm, with a Node.js, where both can be had.
# What the demo goes without is said in .cache/demo/left-out, one sentence a line.
set -eu
cd "$(dirname "$0")/.."
demo=$PWD/.cache/demo
rm -f "$demo/left-out"

if node=$(sh scripts/node.sh 18) && sh scripts/npm_ci.sh requirements/npm-demo "$demo" "$node"; then
    ln -sf "$node" "$demo/node"
else
    rm -f "$demo/node"
    echo "The demo goes without server-everything: Node.js or the npm package could not be installed; 'make clean-demo setup-demo' tries again." >>"$demo/left-out"
fi
command -v git >/dev/null 2>&1 || echo "The demo goes without mcp-server-git: git is not installed ('apt-get install git')." >>"$demo/left-out"
