#!/bin/sh
# Puts the demo's downstream servers under .cache/demo/bin: two from Python, one from npm where a Node.js can be had.
set -eu
cd "$(dirname "$0")/.."
demo=$PWD/.cache/demo
mkdir -p "$demo/bin"
ln -sf ../venv/bin/mcp-server-time ../venv/bin/mcp-server-git "$demo/bin/"
rm -f "$demo/left-out"

install_everything() {
    node=$(sh scripts/node.sh 18) && sh scripts/npm_ci.sh requirements/npm-demo "$demo/npm" "$node" || return 1
    entry=$demo/npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$node" "$entry" >"$demo/bin/mcp-server-everything"
    chmod +x "$demo/bin/mcp-server-everything"
}

leave_out() {
    echo "The demo goes without $1: $2." >>"$demo/left-out"
}

if ! install_everything; then
    rm -f "$demo/bin/mcp-server-everything"
    leave_out "server-everything (npm)" "Node.js or the package could not be installed; 'make clean-demo setup-demo' tries again"
fi
command -v git >/dev/null 2>&1 || leave_out "mcp-server-git" "git is not installed ('apt-get install git')"
