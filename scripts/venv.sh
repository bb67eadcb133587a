#!/usr/bin/env bash
# Makes .venv with the package, editable, all its extras and the tools of its gates, at the versions of constraints.txt.
# Called by `make venv`, which stamps it. Needs Python 3.11 or newer; on Debian as root it installs python3-venv if missing.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON="${PYTHON:-python3}"
say() { printf 'venv: %s\n' "$*" >&2; }

apt_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        say "$1 is missing; install it (on Debian: apt-get install $1) and run make venv again"
        exit 3
    fi
    say "installing $1"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null
}

command -v "$PYTHON" >/dev/null 2>&1 || apt_install python3
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "$("$PYTHON" --version) is too old, 3.11 is needed; name another with: make venv PYTHON=python3.11"
    exit 3
fi
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv

say "making .venv with $("$PYTHON" --version), once, about two minutes"
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
export PIP_DISABLE_PIP_VERSION_CHECK=1
exporters=()
for folder in exporters/*/; do exporters+=(--editable "$folder"); done
.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' "${exporters[@]}"
