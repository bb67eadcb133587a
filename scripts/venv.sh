#!/usr/bin/env bash
# Makes .venv with the package, editable, all its extras and the tools of its gates, at the versions of constraints.txt;
# `venv.sh demo` with what the demo needs alone, which is there sooner. Called by `make venv` and `make demo`.
# Needs Python 3.11 or newer, and a package index; on Debian as root it installs python3-venv if missing.
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

what=(--editable '.[dev]')
for folder in exporters/*/; do what+=(--editable "$folder"); done
takes="about two minutes"
if [ "${1:-}" = demo ]; then what=(--editable '.[langgraph,otlp,ui]'); takes="about half a minute"; fi

say "making .venv with $("$PYTHON" --version), once, $takes"
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
export PIP_DISABLE_PIP_VERSION_CHECK=1
if ! .venv/bin/python -m pip install --quiet --constraint constraints.txt "${what[@]}" 2>.venv/install.log; then
    grep -v '^ *WARNING: Retrying' .venv/install.log | tail -n 12 >&2
    say "pip could not install it, all that it said is in .venv/install.log. It needs a package index; without one, name a"
    say "folder that has all of constraints.txt as wheels: PIP_NO_INDEX=1 PIP_FIND_LINKS=/path make ${1:-venv}"
    exit 4
fi
