#!/bin/sh
# Set up .venv from the hash-locked requirements: `scripts/install.sh runtime|dev`.
# Needs a Python with venv and a network; a second run that finds everything in place takes no time.
set -eu

lock=${1:-runtime}
cd "$(dirname "$0")/.."

say() { printf '%s\n' "install: $*"; }
fail() {
    printf '%s\n' "install: $*" >&2
    exit 1
}

[ -f "requirements/$lock.txt" ] || fail "there is no requirements/$lock.txt; say runtime or dev"

# The wheels in the lock are for 3.11 to 3.14; of those the newest that the tests run on comes first.
suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }
can_make_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

find_python() {
    without_venv=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3}; do
        suitable "$candidate" || continue
        if can_make_venvs "$candidate"; then
            python=$candidate
            return
        fi
        without_venv=${without_venv:-$candidate}
    done
    if [ -n "$without_venv" ]; then
        version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        fail "Python $version is here but without venv: install it (Debian, Ubuntu: apt install python$version-venv)" \
            "and run this again"
    fi
    if [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is no Python between 3.11 and 3.14; name another one"
    fi
    fail "no Python between 3.11 and 3.14 is on the PATH; install one, or name it: make install PYTHON=/path/to/python3"
}

# What an installation was made from; the developers' one holds all that the users' one does.
made_from() {
    cat "requirements/$1.txt" requirements/uv.txt pyproject.toml sdk/pyproject.toml scripts/install.sh | cksum
    pwd
}
in_place() { [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null && [ "$(cat ".venv/installed-$1" 2>/dev/null)" = "$(made_from "$1")" ]; }

if in_place "$lock" || { [ "$lock" = runtime ] && in_place dev; }; then
    exit 0
fi

if ! [ -x .venv/bin/python ] || ! suitable .venv/bin/python; then
    find_python
    say "making .venv with $("$python" --version) ($(command -v "$python"))"
    "$python" -m venv --clear .venv
fi
rm -f .venv/installed-*

# Wheels of several gigabytes take their time on a slow line.
UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
UV_PYTHON_DOWNLOADS=never
export UV_HTTP_TIMEOUT UV_PYTHON_DOWNLOADS

say "installing uv"
.venv/bin/python -c 'import pip' 2>/dev/null || .venv/bin/python -m ensurepip >/dev/null
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt ||
    fail "uv could not be installed; the lines above say why (network, proxy, disk?)"
say "installing the packages of requirements/$lock.txt (the first time about 3 GB are fetched)"
# The lock is complete, so nothing is resolved here.
.venv/bin/uv pip install --python .venv/bin/python --no-deps --require-hashes -r "requirements/$lock.txt" ||
    fail "the packages could not be installed; the lines above say why (network, proxy, disk?)"
say "installing tunesmith-server and tunesmith"
.venv/bin/uv pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation -e . -e sdk ||
    fail "our own two packages could not be installed; the lines above say why"

made_from "$lock" >".venv/installed-$lock"
say "done: .venv/bin/tunesmith-server and .venv/bin/tunesmith"
