#!/bin/sh
# Compiles requirements/*.in and the dependencies in pyproject.toml to hashed pins that name no download address.
# `sh scripts/lock.sh` keeps what is pinned and adds what is missing; `sh scripts/lock.sh --upgrade` takes the newest.
set -eu
cd "$(dirname "$0")/.."
compile() {
    .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links "$@"
}
compile "$@" pyproject.toml -o requirements/run.txt
compile "$@" pyproject.toml requirements/dev.in -c requirements/run.txt -o requirements/dev.txt
for name in build demo node peers peer-contextforge peer-litellm sdks-before agents; do
    compile "$@" "requirements/$name.in" -o "requirements/$name.txt"
done
compile "$@" --no-deps requirements/prices.in -o requirements/prices.txt
for folder in requirements/npm-demo requirements/npm-portkey tests/services/npm tests/services/npm-sdks; do
    # An .npmrc in each folder keeps download addresses out of the lock.
    (cd "$folder" && npm install --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel=error)
done
if grep -nE '"resolved"|https?://[^ "]*\.(tgz|whl)|index-url|find-links' requirements/*.txt requirements/*/package-lock.json tests/services/*/package-lock.json; then
    echo "a lock names a download address" >&2
    exit 1
fi
