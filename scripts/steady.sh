#!/usr/bin/env bash
# Tells whether the tests pass every time on a busy machine: runs them N times in a row while LOAD processes do nothing
# but compute, and says what failed in which run. Called by `make steady N=10 LOAD=4`.
#
#   scripts/steady.sh N LOAD [TEST ...]     TEST: what pytest takes; without any, all of `make test`
#
# A run that takes more than an hour has failed. Exit code 0 only if every run passed.
set -uo pipefail
cd "$(dirname "$0")/.."
RUN_S=3600
runs=$1 load=$2
shift 2

log=$(mktemp)
busy=()
rest() { [ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null; busy=(); }
trap 'rest; rm -f "$log"' EXIT

failures=0
for run in $(seq "$runs"); do
    for _ in $(seq "$load"); do
        timeout "$RUN_S" bash -c 'while :; do :; done' &
        busy+=($!)
    done
    begun=$SECONDS
    if [ $# -gt 0 ]; then
        timeout "$RUN_S" .venv/bin/python -m pytest -q -n 4 --dist worksteal "$@" >"$log" 2>&1
    else
        timeout "$RUN_S" scripts/test.sh >"$log" 2>&1
    fi
    outcome=$?
    rest
    wait 2>/dev/null
    printf 'run %d of %d: exit code %d after %d s\n' "$run" "$runs" "$outcome" $((SECONDS - begun))
    if [ $outcome -ne 0 ]; then
        failures=$((failures + 1))
        grep -E '^(FAILED|ERROR|FAIL|E  )' "$log" || tail -n 20 "$log"
    fi
done
echo "$((runs - failures)) of $runs runs passed under a load of $load"
[ "$failures" -eq 0 ]
