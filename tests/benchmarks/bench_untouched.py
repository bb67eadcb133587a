"""What code pays that is no agent's: a Python that the program starts, and a span that is of none of its steps.

The claims: under `agent-journal run` a Python that runs no agent costs at most three times the CPU of a bare one; and a
span of a database or the like, in a program with a TracerProvider, at most one and a half times what it costs with the
SDK alone. Both sides of each run in turn, and the lowest of all rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import TracerProvider
from report import Table, write_json

from otel_agent_journal.pipeline.processor import JournalSpanProcessor
from otel_agent_journal.pipeline.recorder import Recorder

CHILD_BOUND: Final = 3.0
SPAN_BOUND: Final = 1.5
SPANS: Final = 20_000
ATTRIBUTES: Final = {"db.system": "postgresql", "db.statement": "select 1", "server.port": 5432}
STARTS: Final = """
import json, resource, subprocess, sys
def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
took = []
for _ in range(20):
    before = spent()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    took.append(spent() - before)
print(json.dumps(min(took)))
"""


class Nowhere:
    """An appender that keeps nothing: a span that is no agent's must not come so far."""

    writer = "w" * 32

    def append(self, payload: bytes) -> bool:
        raise AssertionError(payload)


def start_of_child(*, journaled: bool, folder: str) -> float:
    """Return the least CPU, s, that a program's Python child takes that does nothing."""
    python = sys.executable
    before = [str(Path(python).with_name("agent-journal")), "run", "--"] if journaled else []
    environ = {**os.environ, "AGENT_JOURNAL_STORE": f"sqlite:///{folder}/journal.db", "AGENT_JOURNAL_SPOOL": folder}
    done = subprocess.run(
        [*before, python, "-c", STARTS], env=environ, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def span(*, journaled: bool) -> float:
    """Return the CPU, s, of a span that is no agent's."""
    provider = TracerProvider()
    if journaled:
        provider.add_span_processor(JournalSpanProcessor(Recorder(Nowhere())))
    tracer = provider.get_tracer("database")
    began = time.process_time()
    for _ in range(SPANS):
        tracer.start_span("SELECT", attributes=ATTRIBUTES).end()
    return (time.process_time() - began) / SPANS


def lowest(measure: Callable[[bool], float], rounds: int) -> tuple[float, float]:
    """Return the least that something costs without us and with us."""
    taken = [(measure(False), measure(True)) for _ in range(rounds)]
    bare, ours = zip(*taken, strict=True)
    return min(bare), min(ours)


def main() -> int:
    """Measure, print, and return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    rounds = 2 if options.quick else 8
    with tempfile.TemporaryDirectory(prefix="untouched-") as folder:
        child = lowest(lambda journaled: start_of_child(journaled=journaled, folder=folder), rounds)
    spans = lowest(lambda journaled: span(journaled=journaled), rounds)
    table = Table("CPU of what is no agent's, lowest of all rounds")
    table.columns("what", "bare", "with us", "times", "bound", "")
    passed = True
    figures = {}
    for what, (bare, ours), unit, scale, bound in (
        ("a Python that runs no agent", child, "ms", 1e3, CHILD_BOUND),
        ("a span of no agent", spans, "µs", 1e6, SPAN_BOUND),
    ):
        held = ours <= bound * bare
        passed = passed and held
        figures[what] = {"bare_s": bare, "with_us_s": ours, "times": ours / bare, "bound": bound}
        row = (f"{bare * scale:.1f} {unit}", f"{ours * scale:.1f} {unit}", f"{ours / bare:.2f}", f"{bound:g}")
        table.row(what, *row, Table.verdict(held))
    table.print()
    if options.json:
        write_json(options.json, {"figures": figures, "passed": passed})
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
