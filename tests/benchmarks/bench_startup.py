"""How long the command line and an agent's process wait for us to be imported.

The claims: `agent-journal --help` within 250 ms, and in an agent 150 ms at most beyond the OpenTelemetry SDK, import
and `configure()` together. Each figure is the median wall time of fresh interpreters, the ones compared run in turn.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import peers
import setups
from report import Table, write_json

HELP_BOUND_MS: Final = 250.0  # DESIGN §10
IMPORT_BOUND_MS: Final = 150.0  # DESIGN §10, beyond the OTel SDK
_SDK: Final = "import opentelemetry.trace, opentelemetry.sdk.trace, opentelemetry.sdk.trace.export"
_AGENT: Final = f"{_SDK}; import langgraph.graph, langchain.agents"
_OURS: Final = "import otel_agent_journal; otel_agent_journal.configure()"
_LEAVE: Final = "import sys, os; sys.stdout.flush(); os._exit(0)"  # not the delivery at exit, which is no start
PROGRAMS: Final = {
    "interpreter": "pass",
    "SDK": _SDK,
    "SDK, import otel_agent_journal": f"{_SDK}; import otel_agent_journal",
    "SDK, configure()": f"{_SDK}; {_OURS}",
    "SDK, LangGraph": _AGENT,
    "SDK, LangGraph, configure()": f"{_AGENT}; {_OURS}",
    "configure(), SDK, LangGraph": f"{_OURS}; {_AGENT}",
}

HELP: Final = "agent-journal --help"
CLAIMS: Final = (  # what, the program, the one it is held against, the bound
    (HELP, HELP, None, HELP_BOUND_MS),
    ("import beyond the SDK", "SDK, import otel_agent_journal", "SDK", IMPORT_BOUND_MS),
    ("import and configure() beyond the SDK", "SDK, configure()", "SDK", IMPORT_BOUND_MS),
    ("the same after LangGraph", "SDK, LangGraph, configure()", "SDK, LangGraph", IMPORT_BOUND_MS),
    ("the same before LangGraph", "configure(), SDK, LangGraph", "SDK, LangGraph", IMPORT_BOUND_MS),
)


class Took(NamedTuple):
    """What a program took over the rounds, ms."""

    lowest: float
    median: float
    cpu: float

    @classmethod
    def of(cls, each: Sequence[tuple[float, float]]) -> Took:
        """Return the summary of pairs of wall and CPU time."""
        walls = [wall for wall, _ in each]
        return cls(min(walls), statistics.median(walls), statistics.median(cpu for _, cpu in each))


def wall_and_cpu_ms(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command in a folder of its own; return what it took."""
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall * 1000, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def measure(rounds: int) -> dict[str, Took]:
    """Run each program in turn, round by round; the first round only fills the caches."""
    python = str(peers.python_of("ours"))
    commands = {name: [python, "-c", f"{code}; {_LEAVE}"] for name, code in PROGRAMS.items()}
    commands[HELP] = [str(Path(python).with_name("agent-journal")), "--help"]
    environment = setups.environment("none", content=False)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            took = wall_and_cpu_ms(command, environment)
            if number:
                taken[name].append(took)
    return {name: Took.of(each) for name, each in taken.items()}


def main() -> int:
    """Measure, print, and return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="five rounds")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    took = measure(5 if arguments.quick else arguments.rounds)
    claims = [(name, took[a].lowest - (took[b].lowest if b else 0.0), bound) for name, a, b, bound in CLAIMS]
    table = Table("process start, ms")
    table.columns("program", "lowest", "median", "CPU median")
    for name, (lowest, median, cpu) in took.items():
        table.row(name, f"{lowest:.0f}", f"{median:.0f}", f"{cpu:.0f}")
    table.print()
    table = Table("claims, lowest wall time")
    table.columns("claim", "ms", "bound", "")
    for name, value, bound in claims:
        table.row(name, f"{value:.0f}", f"{bound:.0f}", table.verdict(value <= bound))
    table.print()
    if arguments.json:
        rows: list[dict[str, Any]] = [
            {"claim": name, "ms": value, "bound_ms": bound, "passed": value <= bound} for name, value, bound in claims
        ]
        write_json(
            arguments.json,
            {
                "load": os.getloadavg()[0],
                "took_ms": {name: each._asdict() for name, each in took.items()},
                "claims": rows,
            },
        )
    return 0 if all(value <= bound for _, value, bound in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
