"""What stands on the store's waking: `wait_for` in a program, and `tail -f` on the command line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from threading import Thread, Timer

import pytest

from otel_agent_journal import wait_for
from otel_agent_journal.testing.builders import JournalBuilder, events
from otel_agent_journal_postgresql import PostgreSQLStore
from otel_agent_journal_postgresql.listening import QUIET_S
from tests.processes import started

pytestmark = pytest.mark.real
BIN = Path(sys.executable).parent
LONG_S = 30.0


def test_wait_for(store: PostgreSQLStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that waits for an agent's ending has it long before its next look."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_JOURNAL_STORE", store.url)
    journal = JournalBuilder("s1")
    root = journal.start("agent", "researcher")
    store.append(journal.events)
    ending = journal.end(root)
    ended: list[float] = []

    def end() -> None:
        ended.append(time.monotonic())  # before it can be seen
        store.append([ending] if not isinstance(ending, list) else ending)

    timer = Timer(2 + 3 * QUIET_S, end)
    timer.start()
    found = wait_for("s1", "COMPLETED", timeout_s=LONG_S, poll_s=LONG_S)
    assert time.monotonic() - ended[0] < LONG_S / 3
    assert found.status == "COMPLETED"
    timer.join()


def test_tail(store: PostgreSQLStore, tmp_path: Path) -> None:
    """`tail -f` prints what is there and what arrives."""
    store.append(events(2))
    command = [str(BIN / "agent-journal"), "--store", store.url, "tail", "-f", "s1"]
    with started(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as tail:
        killer = Timer(LONG_S, tail.kill)
        killer.start()
        assert tail.stdout is not None
        lines = [tail.stdout.readline() for _ in range(2)]
        time.sleep(1)
        writer = Thread(target=store.append, args=(events(2, first=2),))
        writer.start()
        lines += [tail.stdout.readline() for _ in range(2)]
        writer.join()
        tail.kill()
        killer.cancel()
    assert all(event.event_id in line for event, line in zip(events(4), lines, strict=True))
