"""Journals that are exported, and what is said of the lakes that this makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.lake.exporting import Export, Exported
from otel_agent_journal.lake.manifest import open_lake
from otel_agent_journal.lake.place import open_place
from otel_agent_journal.lake.schema import TABLES
from otel_agent_journal.lake.source import query_lake
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.cli.story import a_story
from tests.query.journals import a_session, keep

DAY_NS = 86_400 * 10**9
NOW_NS = EPOCH_2026_NS + 10 * DAY_NS
PRICE = {"scripted": 3.0}
NUMBERS = (0, 1, 2, 23, 25, 48)  # hours after the epoch at which a session begins: on three days


def a_journal() -> MemoryStore:
    """Return a store with sessions of several days, one of which has gone silent, and one of two turns."""
    store = MemoryStore("memory://lakes")
    for number in NUMBERS:
        keep(store, a_session(number).events)
    keep(store, silent().events)
    keep(store, a_story("tenant/kyoto").events)
    return store


def silent() -> JournalBuilder:
    """Return a session that began a minute before midnight, and was heard of no more after it."""
    clock = SteppingClock(EPOCH_2026_NS + DAY_NS - 60 * 10**9, 30 * 10**9)
    journal = JournalBuilder("silent", clock=clock)
    root = journal.start("AGENT", "researcher")
    for _ in range(2):
        tool = journal.start("TOOL", "search", parent=root)
        journal.end(tool)
    journal.start("TOOL", "search", parent=root)
    return journal


def export(store: JournalStore, folder: Path | str, *, now_ns: int = NOW_NS, **bounds: Any) -> Exported:
    """Export what has changed."""
    tables = bounds.pop("tables", ())
    return Export(store, open_place(str(folder)), tables=tables, now_ns=now_ns).run(**bounds)


def asked(folder: Path | str, sql: str, **options: Any) -> list[tuple[Any, ...]]:
    """Return the rows of SQL over a lake."""
    with query_lake(open_place(str(folder)), sql, **options) as result:
        return list(result)


def files(folder: Path) -> dict[str, bytes]:
    """Return every file of a lake, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def counts(folder: Path) -> dict[str, int]:
    """Return the rows of each table as any engine finds them that knows nothing of a manifest."""
    return {
        name: sum(pq.read_metadata(path).num_rows for path in (folder / name).rglob("*.parquet")) for name in TABLES
    }


def part_names(folder: Path) -> list[str]:
    """Return the parts of a lake."""
    return open_lake(open_place(str(folder))).names()


def more_of(number: int) -> list[JournalEvent]:
    """Return what comes of a session when its agent is called once more."""
    journal = a_session(number)
    before = len(journal.events)
    root = journal.start("AGENT", "researcher")
    journal.end(root)
    return journal.events[before:]
