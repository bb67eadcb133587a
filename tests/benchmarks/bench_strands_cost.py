"""What journaling a Strands agent costs its process, over Strands' own spans and against OpenInference's processor.

The claim: beside Strands' native spans, our START and ending of every step, durable in the spool, add at most half of
what OpenInference's processor adds to the same spans, in the same run and each with its content. The agent makes ten
tool loops with a streaming model. `joined` is judged: Strands' spans go to the program's own exporter. `run` has no
exporter in the program, so Strands records no spans at all: its figure is held against the bare program.

    python tests/benchmarks/bench_strands_cost.py [--rounds N] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import peers
from bench_step_cost import _check_journal
from report import Table, write_json
from setups import environment

HERE: Final = Path(__file__).resolve().parent
BOUND: Final = 0.5
MODES: Final = ("none", "native", "openinference", "joined", "joined metadata", "run", "run metadata")
_OVER: Final = {"none": None, "run": "none", "run metadata": "none", "native": "none"}  # all others: native


def measure(mode: str, invocations: int) -> dict[str, Any]:
    """Run one worker and return its line; for ours, after checking that it journaled every step.

    Raises:
        RuntimeError: the worker failed, or its journal does not hold the steps it made.
    """
    kind, _, content = mode.partition(" ")
    python = str(peers.python_of("strands"))
    with tempfile.TemporaryDirectory(prefix="strands-cost-") as folder:
        store = f"sqlite:///{folder}/journal.db"
        command = [python, str(HERE / "strands_cost_worker.py"), kind, "--invocations", str(invocations)]
        variables = environment(kind, not content) if kind in ("joined", "run") else environment("none", content=False)
        if kind in ("joined", "run"):
            variables |= {"AGENT_JOURNAL_SPOOL": f"{folder}/spool"}
            command = [str(Path(python).with_name("agent-journal")), "run", "--store", store, "--", *command]
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{mode} ended with {done.returncode}: {done.stderr[-2000:]}")
        measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        if kind in ("joined", "run"):
            _check_journal(python, store, measured["invocations"] * measured["steps"], mode, done.stderr)
        return measured


def run(rounds: int, invocations: int) -> dict[str, list[dict[str, Any]]]:
    """Measure every mode, by rounds, in an order of its own each."""
    results: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    shuffled = random.Random(20261121)
    for number in range(1, rounds + 1):
        for mode in shuffled.sample(MODES, len(MODES)):
            if sys.stderr.isatty():
                print(f"\r\x1b[2K  round {number} of {rounds}: {mode}", end="", file=sys.stderr)
            results[mode].append(measure(mode, invocations))
    return results


def added_us(results: dict[str, list[dict[str, Any]]], mode: str, of: Any = min) -> float:
    """Return what a step cost in a mode over what it is held against, µs: of the lowest of the rounds, or medians."""

    def spent(name: str) -> float:
        return of([one["cpu_us_per_invocation"] for one in results[name]])

    against = _OVER.get(mode, "native")
    return 0.0 if against is None else (spent(mode) - spent(against)) / results[mode][0]["steps"]


def main() -> int:
    """Measure, print, and return 1 if the bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two short rounds: to see that it runs, not to judge")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    rounds, invocations = (2, 15) if arguments.quick else (arguments.rounds, 60)
    results = run(rounds, invocations)
    rival = added_us(results, "openinference")
    table = Table("Strands, ten tool loops: added CPU per step, 22 steps an invocation")
    table.columns("mode", "over", "spans", "added us/step", "of medians", "ratio", "bound", "")
    rows: list[dict[str, Any]] = []
    for mode in MODES:
        added, judged = added_us(results, mode), mode == "joined"
        ratio = added / rival if mode.startswith("joined") else None
        row = {
            "mode": mode,
            "over": _OVER.get(mode, "native") or "",
            "spans": results[mode][0]["spans_per_invocation"],
            "added_us_per_step": added,
            "median_us": added_us(results, mode, statistics.median),
            "ratio": ratio,
            "passed": ratio <= BOUND if judged and ratio is not None else None,
        }
        rows.append(row)
        figures = f"{row['spans']:.0f}", f"{added:.1f}", f"{row['median_us']:.1f}", table.ratio(ratio)
        table.row(mode, row["over"], *figures, table.ratio(BOUND if judged else None), table.verdict(row["passed"]))
    table.print()
    print("ratio: against what OpenInference's processor adds to the same native spans")
    if arguments.json:
        write_json(arguments.json, {"rounds": rounds, "invocations": invocations, "costs": rows})
    return 1 if any(row["passed"] is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
