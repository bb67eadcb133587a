"""Rows are written as they come: many events take no more memory than a few."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_agent_journal.store.rules import current
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.builders import events

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
EVENTS = 200_000 if SOAK else 20_000
A_SESSION = 500
DETAILS = {"input": {"query": "the sea level in 2050"}, "text": "x" * 2_000}

CHILD = """
import json, re, sys
from pathlib import Path
from otel_agent_journal.lake.exporting import Export
from otel_agent_journal.lake.place import open_place
from otel_agent_journal.store.sqlite import SqliteStore

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

store = SqliteStore(Path(sys.argv[1]))
def export(folder, until_ns):
    return Export(store, open_place(folder), now_ns=2**62).run(None, until_ns)

export(sys.argv[2] + "/few", int(sys.argv[3]))
before = peak()
said = export(sys.argv[2] + "/all", None)
print(json.dumps({"events": said.events, "rise": peak() - before}))
"""


@pytest.mark.long_form
@pytest.mark.serial
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_many_events_take_bounded_memory(tmp_path: Path) -> None:
    """Exporting the whole journal takes a few batches more than exporting a twentieth of it, whatever its length."""
    store = SqliteStore(tmp_path / "journal.db", synchronous="normal")
    sessions, last_ns = EVENTS // A_SESSION, 0
    for number in range(sessions):
        made = events(
            A_SESSION,
            first=number * A_SESSION,
            session_id=f"s{number:05d}",
            details=DETAILS,
            type="PROGRESS",
            digest=None,
        )
        store.append(made)
        head = current(store, made[0].session_id)
        assert head is not None
        store.write_head(head)
        last_ns = last_ns or head.updated_ns
    store.close()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "journal.db"), str(tmp_path), str(last_ns)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = json.loads(done.stdout)
    assert said["events"] == EVENTS, done.stderr
    assert said["rise"] < 120 * 2**20, f"{said['rise'] / 2**20:.0f} MiB"
