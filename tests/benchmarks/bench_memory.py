"""Whether a long-lived agent's memory stays flat: 100,000 steps in one session, and in thousands of sessions.

The claim: from 20,000 to 100,000 steps the process grows by less than 5 %. Compared is the highest in the fifth of the
steps before either point, of the memory that is the process's own; resident memory stands beside it, which moves up and
down by the 8 MiB of a mapped spool segment as it fills. The bare program is measured too, and under `run` the parent
that drains, which keeps 8 to 16 bytes for each step of the sessions it has in hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import peers
import setups
from report import Table, write_json

HERE: Final = Path(__file__).resolve().parent
STEPS: Final = 100_000
GROWTH_BOUND: Final = 1.05
MODES: Final = ("none", "run", "configure")
MIB: Final = 1024 * 1024


def measure(mode: str, sessions: str, steps: int) -> list[dict[str, Any]]:
    """Run one worker; return its lines."""
    python = str(peers.python_of("ours"))
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        store = f"sqlite:///{folder}/journal.db"
        environment = setups.environment(mode, content=True)
        environment |= {"BENCH_STORE": store, "BENCH_SPOOL": f"{folder}/spool"}
        command = [python, str(HERE / "memory_worker.py"), mode, sessions, str(steps)]
        if mode == "run":
            environment["AGENT_JOURNAL_SPOOL"] = f"{folder}/spool"
            command = [str(Path(python).with_name("agent-journal")), "run", "--store", store, "--", *command]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{mode}, {sessions} ended with {done.returncode}: {done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def highest(lines: list[dict[str, Any]], who: str, what: str, after: float, until: float) -> int | None:
    """Return the most memory of a process within a span of steps."""
    seen = [line[who][what] for line in lines if after < line["steps"] <= until and line[who] is not None]
    return max(seen) if seen else None


def main() -> int:
    """Measure, print, and return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--quick", action="store_true", help="20,000 steps: to see that it runs, not to judge")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    steps = 20_000 if arguments.quick else arguments.steps
    table = Table(f"memory, MiB, the highest up to {steps // 5:,} and up to {steps:,} steps")
    table.columns("process", "sessions", "before", "after", "growth", "bound", "", "resident")
    rows: list[dict[str, Any]] = []
    for sessions in ("one", "many"):
        for mode in MODES:
            lines = measure(mode, sessions, steps)
            for who in ("agent", "drain"):
                before = highest(lines, who, "own", 0, steps / 5)
                after = highest(lines, who, "own", steps * 0.8, steps * 1.01)
                resident = highest(lines, who, "resident", 0, steps * 1.01)
                if before is None or after is None or resident is None:
                    continue
                growth = after / before
                bound = GROWTH_BOUND if mode != "none" and who == "agent" else None
                passed = growth < bound if bound else None
                name = mode if who == "agent" else f"{mode}'s drain"
                cells = f"{before / MIB:.1f}", f"{after / MIB:.1f}", f"{growth:.3f}"
                verdict = table.ratio(bound), table.verdict(passed), f"{resident / MIB:.1f}"
                table.row(name, sessions, *cells, *verdict)
                rows.append({"process": name, "sessions": sessions, "before": before, "after": after, "passed": passed})
    table.print()
    if arguments.json:
        write_json(arguments.json, {"steps": steps, "rows": rows})
    return 1 if any(row["passed"] is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
