"""What prints a list, or a line an event, never has a session's content in memory together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.store.rules import current
from otel_agent_journal.store.sqlite import SqliteStore, url_of
from otel_agent_journal.testing.builders import JournalBuilder

EVENTS = 2_000
CONTENT = "x" * 50_000
CONTENT_BYTES = EVENTS * len(CONTENT)
MIB = 1024 * 1024
BOUND_BYTES = 24 * MIB  # of 95: some pages of a store, and what is known of the steps

COMMANDS = (
    ("ls", "-o", "table"),
    ("status", "s1"),
    ("show", "s1"),
    ("show", "s1", "-o", "table"),
    ("show", "s1", "--errors"),
    ("show", "s1", "--events", "-o", "table"),
    ("show", "s1", "--events", "--errors"),
    ("show", "s1", "--messages", "-o", "table"),
    ("show", "s1/last"),
    ("tail", "-o", "table"),
    ("tail", "s1", "-o", "table"),
    ("tail", "s1", "-n", "10"),
    ("verify", "s1"),
)

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc"),
]


def seeded(path: Path, events: int) -> str:
    """Keep a session of tool calls, each with much content, of which the last failed and one runs; return its store."""
    store, journal = SqliteStore(path, synchronous="normal"), JournalBuilder()
    root = journal.start("AGENT", "helper")
    for number in range(events // 2):
        call = {"role": "tool", "content": CONTENT, "tool_call_id": f"c{number}"}
        tool = journal.start("TOOL", "last" if number == events // 2 - 1 else "search", parent=root)
        error = ErrorInfo(type="ValueError", message="no")
        journal.end(tool, "error", error=error, details={"output": call, "input": CONTENT})
        store.append(journal.events)
        journal.events.clear()
    journal.start("TOOL", "fetch", parent=root, step_id="open", details={"input": CONTENT})
    store.append(journal.events)
    head = current(store, "s1")
    assert head is not None
    assert store.write_head(head) is not None
    store.close()
    return url_of(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A small journal, and a large one."""
    folder = tmp_path_factory.mktemp("readers")
    return seeded(folder / "small.db", 10), seeded(folder / "large.db", EVENTS)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_content_is_dropped_as_it_is_read(stores: tuple[str, str], command: tuple[str, ...], tmp_path: Path) -> None:
    """The peak of a reader of 95 MiB of content is at most a quarter of that above the peak of one of a little."""
    small, large = ([*command, "--store", store] for store in stores)
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.reader", *small, "then", *large],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "AGENT_JOURNAL_SPOOL": str(tmp_path / "spool")},
    )
    grown = int(done.stderr.splitlines()[-1])
    print(f"{' '.join(command)}: {grown / MIB:.1f} MiB of {CONTENT_BYTES / MIB:.0f}")
    assert grown < BOUND_BYTES
