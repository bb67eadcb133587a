"""Sealing a long session: CPU an event beside the store's own reads, and that memory does not grow with the session.

    python tests/benchmarks/bench_seals.py                   1,000,000 events
    python tests/benchmarks/bench_seals.py --events 100000   fewer
    python tests/benchmarks/bench_seals.py --json FILE       figures for machines as well

The events are those of model calls and tool calls in turn. They are made as they are read, so that nothing of them is
in memory, and what that takes is left out; the list of leaves, the seal and the log go to SQLite. CPU is counted and
not the clock: a busy machine says the same. Exit code 5 if 1,000,000 events take more than 10 s, or if memory rises by
more than 32 MB beyond that of a tenth of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench_parquet import resident_mb, session
from report import Table, write_json

from otel_agent_journal.seals.keys import FileSigner
from otel_agent_journal.seals.notes import SecretKey
from otel_agent_journal.seals.sealing import Made, Sealer
from otel_agent_journal.store.protocol import Page
from otel_agent_journal.store.sqlite import SqliteStore

BOUND_US = 10.0  # an event: 1,000,000 in 10 s
BOUND_RISE_MB = 32
SIGNER = FileSigner(SecretKey("bench", bytes([1]) * 32))


class Making(SqliteStore):
    """A store whose events are made as they are read. `reading_s`: what that took of CPU."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path, synchronous="normal")
        self._count = count
        self.reading_s = 0.0

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next of them."""
        began = time.process_time()
        at = int(cursor or 0)
        made = session(at, min(limit, self._count - at))
        self.reading_s += time.process_time() - began
        return Page(tuple(made), str(at + len(made)))


def sealed(folder: Path, count: int) -> tuple[Made, float, float]:
    """Return a session's seal, the CPU it took beside reading, and the most memory that the process has had."""
    store = Making(folder / f"{count}.db", count)
    began = time.process_time()
    (made,) = Sealer(store, SIGNER, time.time_ns).seal(["bench"])
    cpu = time.process_time() - began - store.reading_s
    store.close()
    return made, cpu, resident_mb("VmHWM")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="100,000 events")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count = 100_000 if options.quick else options.events
    with tempfile.TemporaryDirectory(prefix="seals-") as folder:
        _, _, before_mb = sealed(Path(folder), count // 10)
        made, cpu, most_mb = sealed(Path(folder), count)
    each_us, rise_mb = cpu / count * 1e6, most_mb - before_mb
    passed = made.size == count and each_us <= BOUND_US and rise_mb <= BOUND_RISE_MB
    if options.json:
        write_json(options.json, {"events": count, "cpu_seconds": cpu, "rise_mb": rise_mb, "passed": passed})
    table = Table(f"{count:,} events sealed, beside reading them")
    table.columns("CPU", "an event", "memory")
    table.row(f"{cpu:.1f} s", f"{each_us:.1f} µs", f"+{rise_mb:.0f} MB")
    table.print()
    print("passed" if passed else "FAILED")
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
