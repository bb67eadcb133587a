"""What a journaled step costs the agent's process, against the other instrumentations of LangGraph.

The claim: at most half of the cheaper of OpenInference and Traceloop in the same content mode, less than the official
GenAI instrumentation, and the same at the 99th tool loop as at the first. All modes run in turn within each round, in
an order that changes, each in a fresh process; what counts is process CPU time over that of the bare program, for each
step of the workload: the lowest of all rounds, since what else runs on a machine only ever makes it more (caches are
cold, switches are many); medians stand beside it. Absolute times belong to one machine: compare within a run only.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import peers
import setups
from report import Table, write_json

HERE: Final = Path(__file__).resolve().parent
WORKLOADS: Final = ("graph", "agent10", "agent100")
RATIO_BOUND: Final = 0.5  # of the cheaper of OpenInference and Traceloop, same content mode: DESIGN §10
GROWTH_BOUND: Final = 1.10  # loops 90-99 against loops 1-10: DESIGN §10
JUDGED: Final = ("run", "joined")  # `configure` has the delivery to the store in the measured process: printed only
STEPS_PER_LOOP: Final = 4  # model node, model call, tool node, tool


@dataclass(frozen=True)
class Variant:
    """A mode, with content or without."""

    mode: str
    content: bool

    def __str__(self) -> str:
        return self.mode if self.mode in ("none", "floor") else f"{self.mode} {'on' if self.content else 'off'}"


@dataclass
class Samples:
    """What one variant measured on one workload, a number a round."""

    steps: int = 0
    spans: float = 0.0
    cpu_us: list[float] = field(default_factory=list)
    early_us: list[float] = field(default_factory=list)
    late_us: list[float] = field(default_factory=list)

    def add(self, measured: dict[str, Any]) -> None:
        """Take a worker's line in."""
        self.steps, self.spans = int(measured["steps"]), measured["spans_per_invocation"]
        self.cpu_us.append(measured["cpu_us_per_invocation"])
        if "early_us_per_loop" in measured:
            self.early_us.append(measured["early_us_per_loop"])
            self.late_us.append(measured["late_us_per_loop"])


Results = dict[str, dict[Variant, Samples]]
BARE: Final = Variant("none", False)


def variants(modes: Sequence[str]) -> list[Variant]:
    """Return the variants of some modes: content is a matter for the instrumented ones only."""
    return [
        Variant(mode, content)
        for mode in modes
        for content in ((False,) if mode in ("none", "floor") else (False, True))
    ]


def measure(variant: Variant, workload: str, scale: float) -> dict[str, Any]:
    """Run one worker in its environment and return its line; for ours, after checking that it journaled every step.

    Raises:
        RuntimeError: the worker failed, or its journal does not hold the steps it made.
    """
    ours = variant.mode in setups.OURS
    python = str(peers.python_of("ours" if variant.mode in ("none", "floor") or ours else variant.mode))
    with tempfile.TemporaryDirectory(prefix="step-cost-") as folder:
        store = f"sqlite:///{folder}/journal.db"
        environment = setups.environment(variant.mode, variant.content)
        environment |= {"BENCH_STORE": store, "BENCH_SPOOL": f"{folder}/spool"}
        command = [python, str(HERE / "step_cost_worker.py"), variant.mode, workload, "--scale", str(scale)]
        if variant.mode in ("run", "joined"):
            environment["AGENT_JOURNAL_SPOOL"] = f"{folder}/spool"
            command = [str(Path(python).with_name("agent-journal")), "run", "--store", store, "--", *command]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{variant} on {workload} ended with {done.returncode}: {done.stderr[-2000:]}")
        measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        if ours:
            expected = (measured["invocations"] + measured["warmup"]) * measured["steps"]
            _check_journal(python, store, expected, variant, done.stderr)
        return measured


def _check_journal(python: str, store: str, expected: int, variant: Variant, said: str) -> None:
    """A figure of an agent that was not journaled would look excellent: count what is in the store."""
    code = (
        "import sys; from otel_agent_journal.store.registry import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "kinds = ('_START', '_END', '_ERROR')\n"
        "events = (event for head in store.sessions() for event in store.read(head.session_id))\n"
        "print(sum(1 for event in events if event.step_id and event.type.endswith(kinds)))"
    )
    done = subprocess.run([python, "-c", code, store], capture_output=True, text=True, check=True)
    if int(done.stdout) != 2 * expected:
        raise RuntimeError(f"{variant} journaled {done.stdout.strip()} events of {2 * expected}: {said[-2000:]}")


def run(workloads: Sequence[str], chosen: Sequence[Variant], rounds: int, scale: float) -> Results:
    """Measure every variant on every workload, by rounds; the bare program twice, since all are held against it."""
    results: Results = {workload: {variant: Samples() for variant in chosen} for workload in workloads}
    shuffled = random.Random(20261121)
    for number in range(1, rounds + 1):
        for workload in workloads:
            order = [*chosen, BARE]
            shuffled.shuffle(order)
            for variant in order:
                if sys.stderr.isatty():
                    print(f"\r\x1b[2K  round {number} of {rounds}, {workload}: {variant}", end="", file=sys.stderr)
                results[workload][variant].add(measure(variant, workload, scale))
    return results


def added_us(results: Results, workload: str, variant: Variant, of: Callable[[list[float]], float] = min) -> float:
    """Return what a step cost over the bare program, µs: of the lowest of all rounds, or of their medians."""
    bare, measured = results[workload][BARE], results[workload][variant]
    return (of(measured.cpu_us) - of(bare.cpu_us)) / measured.steps


def growth(results: Results, variant: Variant) -> tuple[float, float] | None:
    """Return what a step of loops 1-10 and of loops 90-99 cost over the bare program, µs, lowest of all rounds."""
    of = results.get("agent100", {})
    bare, measured = of.get(BARE), of.get(variant)
    if not (bare and measured and measured.early_us):
        return None
    early = min(measured.early_us) - min(bare.early_us)
    late = min(measured.late_us) - min(bare.late_us)
    return early / STEPS_PER_LOOP, late / STEPS_PER_LOOP


def cost_rows(results: Results, workload: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one workload's table."""
    costs = {variant: added_us(results, workload, variant) for variant in results[workload]}
    for variant, added in costs.items():
        same_mode = {peer: costs.get(Variant(peer, variant.content)) for peer in setups.PEERS}
        rivals = [us for peer in ("openinference", "traceloop") if (us := same_mode[peer]) is not None]
        ratio = added / min(rivals) if rivals and variant.mode not in ("none", "floor") else None
        row = {
            "workload": workload,
            "mode": variant.mode,
            "content": str(variant).removeprefix(variant.mode).strip(),
            "spans": results[workload][variant].spans,
            "cpu_us_per_invocation": results[workload][variant].cpu_us,
            "added_us_per_step": added,
            "median_us": added_us(results, workload, variant, statistics.median),
            "ratio": ratio,
            "bound": RATIO_BOUND if variant.mode in JUDGED else None,
            "passed": None,
        }
        if variant.mode in JUDGED and ratio is not None:
            official = same_mode["official"]
            row["below_official"] = official is None or added < official
            row["passed"] = ratio <= RATIO_BOUND and row["below_official"]
        yield row


def growth_rows(results: Results) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table of loops 1-10 and 90-99."""
    for variant in results.get("agent100", {}):
        found = growth(results, variant)
        if found is None or variant.mode == "none":
            continue
        early, late = found
        ratio = late / early if early > 0 else None
        judged = variant.mode in JUDGED and ratio is not None
        yield {
            "mode": variant.mode,
            "content": str(variant).removeprefix(variant.mode).strip(),
            "loops_1_10_us": early,
            "loops_90_99_us": late,
            "ratio": ratio,
            "bound": GROWTH_BOUND if variant.mode in JUDGED else None,
            "passed": (ratio <= GROWTH_BOUND) if judged and ratio is not None else None,
        }


def print_tables(results: Results) -> None:
    """Print a table a workload, then the one of growth."""
    for workload in results:
        steps = next(iter(results[workload].values())).steps
        table = Table(f"{workload}: added CPU per step, {steps} steps an invocation")
        table.columns("mode", "content", "spans", "added us/step", "of medians", "ratio", "bound", "")
        for row in cost_rows(results, workload):
            table.row(
                row["mode"],
                row["content"],
                f"{row['spans']:.0f}",
                f"{row['added_us_per_step']:.1f}",
                f"{row['median_us']:.1f}",
                table.ratio(row["ratio"]),
                table.ratio(row["bound"]),
                table.verdict(row["passed"]),
            )
        table.print()
    grown = list(growth_rows(results))
    if grown:
        table = Table("agent100: added CPU per step as history grows")
        table.columns("mode", "content", "loops 1-10", "loops 90-99", "ratio", "bound", "")
        for row in grown:
            early, late = f"{row['loops_1_10_us']:.1f}", f"{row['loops_90_99_us']:.1f}"
            ratios = table.ratio(row["ratio"]), table.ratio(row["bound"])
            table.row(row["mode"], row["content"], early, late, *ratios, table.verdict(row["passed"]))
        table.print()
    print("ratio: against the cheaper of OpenInference and Traceloop, content alike; FAIL too where not below official")


def main() -> int:
    """Measure, print, and return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two rounds of a fifth: to see that it runs, not to judge")
    parser.add_argument("--modes", nargs="+", choices=setups.MODES, default=setups.MODES)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--scale", type=float, default=1.0, help="of the invocations in a measurement")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    rounds, scale = (2, 0.2) if arguments.quick else (arguments.rounds, arguments.scale)
    chosen = variants(list(dict.fromkeys(["none", *arguments.modes])))
    results = run(arguments.workloads, chosen, rounds, scale)
    print_tables(results)
    rows = [row for workload in results for row in cost_rows(results, workload)]
    grown = list(growth_rows(results))
    if arguments.json:
        write_json(arguments.json, {"rounds": rounds, "scale": scale, "costs": rows, "growth": grown})
    return 1 if any(row["passed"] is False for row in (*rows, *grown)) else 0


if __name__ == "__main__":
    raise SystemExit(main())
