#!/usr/bin/env bash
# Every measurement of tests/benchmarks/, one after the other, and at the end which bounds held. Called by `make bench`.
#
#   scripts/bench.sh [NAME ...]     NAME as in tests/benchmarks/bench_NAME.py; default: all
set -uo pipefail
cd "$(dirname "$0")/.."

files=()
for name in "$@"; do files+=("tests/benchmarks/bench_$name.py"); done
[ ${#files[@]} -gt 0 ] || files=(tests/benchmarks/bench_*.py)

verdicts=()
failed=0
for file in "${files[@]}"; do
    name=$(basename "$file" .py)
    printf '\n== %s\n' "${name#bench_}"
    if .venv/bin/python "$file"; then
        verdicts+=("held    ${name#bench_}")
    else
        verdicts+=("BROKEN  ${name#bench_}")
        failed=1
    fi
done
printf '\n'
printf '%s\n' "${verdicts[@]}"
exit $failed
