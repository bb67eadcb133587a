#!/usr/bin/env bash
# The gates that read the code and do not run it. All are run; what fails says so, and the exit code tells.
set -uo pipefail
cd "$(dirname "$0")/.."
BIN=.venv/bin
failed=0
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1 # it would ask for its own newest version

gate() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf 'ok    %s\n' "$name"
    else
        printf 'FAIL  %s\n%s\n' "$name" "$output"
        failed=1
    fi
}

gate "ruff check" $BIN/ruff check --quiet --output-format concise .
gate "ruff format" $BIN/ruff format --quiet --check --output-format concise .
gate "pyright" $BIN/pyright
contracts() { $BIN/lint-imports --no-cache | sed -n '/^Contracts$/,$p'; } # without its banner
gate "import contracts" contracts
gate "the viewer's types are the server's" $BIN/python scripts/generate_ui_types.py --check
gate "the viewer: tsc, node --test" $BIN/python scripts/build_ui.py --check
exit $failed
