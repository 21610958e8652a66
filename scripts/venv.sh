#!/bin/sh
# Makes the virtual environment named by $1, with pip in it; says plainly what is missing when it cannot. Leaves one that works as it is.
# From $PYTHON and no other where that is set; else from the first Python that can, the system's own before those on PATH: distributions
# build theirs with profile-guided optimisation; one compiled by a user (pyenv) mostly is not, and runs the hub 10 to 35 % slower.
set -eu
folder=$1

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
complete() { usable "$folder/bin/python" && "$folder/bin/python" -m pip --version >/dev/null 2>&1; }
make_from() { rm -rf "$folder"; "$1" -m venv "$folder" >/dev/null 2>&1 && complete; }
fail() { echo "make: $*" >&2; exit 1; }

complete && exit 0

if [ -n "${PYTHON:-}" ]; then
    usable "$PYTHON" || fail "PYTHON=$PYTHON does not run, or is older than Python 3.11"
    set -- "$PYTHON"
else
    set -- /usr/bin/python3 /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13 /usr/bin/python3.14 \
        python3 python3.11 python3.12 python3.13 python3.14
fi

python=
for candidate in "$@"; do
    usable "$candidate" || continue
    make_from "$candidate" && exit 0
    python=${python:-$candidate}
done
[ -n "$python" ] || fail "Python 3.11 or newer is needed and none was found. Install one (Debian, Ubuntu: 'apt-get install python3 python3-venv') or name it: make PYTHON=/path/to/python3.11"

# None can, so the first usable one is completed. Debian and Ubuntu keep pip's bootstrap in packages of its own.
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        echo "Python's venv module is incomplete: installing python$version-venv" >&2
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "python$version-venv"; } >/dev/null 2>&1 || true
        make_from "$python" && exit 0
    fi
    # Without root: an environment without pip, then pip from the wheel inside Debian's package, unpacked aside.
    rm -rf "$folder"
    if "$python" -m venv --without-pip "$folder" >/dev/null 2>&1; then
        aside=$(mktemp -d)
        trap 'rm -rf "$aside"' EXIT
        (cd "$aside" && apt-get download -q python3-pip-whl && dpkg -x python3-pip-whl_*.deb .) >/dev/null 2>&1 || true
        for wheel in "$aside"/usr/share/python-wheels/pip-*.whl; do
            [ -f "$wheel" ] && "$folder/bin/python" "$wheel/pip" install -q --no-index --disable-pip-version-check "$wheel" >/dev/null 2>&1 && complete && exit 0
        done
    fi
fi
rm -rf "$folder"
fail "Python $version cannot make a virtual environment because its venv module is incomplete. Run 'apt-get install python$version-venv' as root, then try again."
