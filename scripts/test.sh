#!/usr/bin/env bash
# Every gate and every test; called by `make test` once the environment is there. Exit code 0 only if all of it passed.
#
#   scripts/test.sh [--soak]     --soak: the tests that have a long form, in that, no gates
#
# The gates run beside the first tests. Where a toolchain is missing (Go, a JDK), or the network, the rest runs and the last line says
# which servers were left out; with CI=true that is a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
BIN=.venv/bin
failed=()
left_out=()

unset PYTHONDONTWRITEBYTECODE # what is imported is compiled once, not by every process that the tests start

outcomes=$(mktemp)
gates=$(mktemp)
trap 'rm -f "$outcomes" "$gates"' EXIT
get_servers() {
    for server in jaeger collector minio dynamodb postgresql moto chromium nginx spark; do
        scripts/real_servers.sh "$server" >/dev/null
        echo "$server $?"
    done
}
get_servers >"$outcomes" &
getting=$!

if [ "${1:-}" != --soak ]; then
    scripts/lint.sh >"$gates" 2>&1 &
    linting=$!
fi

# What hypothesis knows of characters is computed once a checkout: here, not in each worker while its branches are watched.
$BIN/python -c 'from hypothesis import strategies; strategies.text().validate()'

wait $getting
export AGENT_JOURNAL_TEST_SERVERS=
while read -r server outcome; do
    case $outcome in
        0) AGENT_JOURNAL_TEST_SERVERS+="$server " ;; # from here on one of these that does not answer is a failure
        3) left_out+=("$server (its toolchain is missing)") ;;
        *) left_out+=("$server (it could not be had)") ;;
    esac
done <"$outcomes"

if [ "${1:-}" = --soak ]; then
    $BIN/python -m pytest -q -n 2 --dist load -m "not serial" --timeout 3600 || failed+=(soak)
    $BIN/python -m pytest -q -m serial --timeout 3600 || failed+=("serial soak")
else
    # Four workers for what waits or computes by itself, since half of it waits; two, as many as there are cores, for what
    # measures time or memory. A worker that is through takes tests from one that is not, so none works alone at the end.
    # The tests of the pure core run by themselves: watching its branches makes every other test half as slow again.
    core=(tests/mapping tests/projections tests/context/test_history.py tests/test_*.py)
    measuring=($(grep -rl --include='test_*.py' 'pytest\.mark\.serial' tests exporters)) # nothing else is collected
    parallel=($BIN/python -m pytest -q -n 4 --dist worksteal -m "not serial")
    "${parallel[@]}" --cov --cov-report= --cov-fail-under=0 "${core[@]}" || failed+=("tests of the pure core")
    wait $linting || failed+=(gates)
    cat "$gates"
    "${parallel[@]}" "${core[@]/#/--ignore=}" || failed+=(tests)
    $BIN/python -m pytest -q -n 2 --dist worksteal -m serial "${measuring[@]}" || failed+=("serial tests")
    $BIN/python -m coverage report || failed+=("branch coverage of the pure core")
fi

if [ ${#left_out[@]} -gt 0 ] && [ "${CI:-}" = true ]; then failed+=("servers left out in CI"); fi
echo
if [ ${#failed[@]} -gt 0 ]; then
    (IFS=,; printf 'FAILED: %s\n' "${failed[*]}" | sed 's/,/, /g')
else
    echo "all passed"
fi
if [ ${#left_out[@]} -gt 0 ]; then (IFS=,; printf 'servers left out: %s\n' "${left_out[*]}" | sed 's/,/, /g'); fi
[ ${#failed[@]} -eq 0 ]
