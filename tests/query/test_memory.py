"""Rows stream: a query over many events takes no more memory than one over few."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.builders import events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
EVENTS = 1_000_000 if SOAK else 100_000
A_SESSION = 1_000
DETAILS = {"input": {"query": "the sea level in 2050"}, "text": "x" * 300}

# Reads a query's rows, and says how many there were and how far its memory rose above what one session took.
CHILD = """
import json, re, sys
from pathlib import Path
from otel_agent_journal.query import query
from otel_agent_journal.store.sqlite import SqliteStore

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

store = SqliteStore(Path(sys.argv[1]))
with query(store, sys.argv[2], sessions=["s00000"]) as warm:
    sum(batch.num_rows for batch in warm.batches())
before = rss()
rows, peak = 0, before
with query(store, sys.argv[2], timeout_s=1000) as result:
    for batch in result.batches():
        rows += batch.num_rows
        peak = max(peak, rss())
    read = sum(one.events for one in result.read)
# VmHWM is this program's own; ru_maxrss would have that of the process it was forked from.
peak = max(peak, int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
print(json.dumps({"rows": rows, "read": read, "rise": peak - before}))
"""


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of many sessions, each of a thousand events of about a kilobyte."""
    path = tmp_path_factory.mktemp("many") / "journal.db"
    store = SqliteStore(path, synchronous="normal")
    for number in range(EVENTS // A_SESSION):
        session_id = f"s{number:05d}"
        made = events(A_SESSION, session_id=session_id, details=DETAILS, type="PROGRESS", digest=None)
        store.append(made)
        head = SessionHead(session_id=session_id, events=A_SESSION, started_ns=EPOCH_2026_NS, updated_ns=EPOCH_2026_NS)
        store.write_head(head)
    store.close()
    return path


@pytest.mark.long_form
@pytest.mark.serial
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT * FROM events", EVENTS),
        ("SELECT session_id, count(*), max(details->>'text') FROM events GROUP BY session_id", EVENTS // A_SESSION),
        ("SELECT count(*) FROM steps", 1),
    ],
)
def test_many_events_take_bounded_memory(journal: Path, sql: str, rows: int) -> None:
    """All events are read, and memory rises by a few batches, not by the journal."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(journal), sql], capture_output=True, text=True, timeout=110, check=False
    )
    said = json.loads(done.stdout)
    assert (said["rows"], said["read"]) == (rows, EVENTS), done.stderr
    assert said["rise"] < 60 * 2**20, f"{said['rise'] / 2**20:.0f} MiB"
