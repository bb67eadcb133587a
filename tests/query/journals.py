"""Journals that SQL is asked about, and stores that count what is read of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.query import query
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock

HOUR_NS = 3_600 * 10**9
EACH = 9  # events of such a session


def a_session(number: int) -> JournalBuilder:
    """Return session `number`, which begins so many hours after the epoch: an agent, a model, a tool retried once."""
    clock = SteppingClock(EPOCH_2026_NS + number * HOUR_NS)
    journal = JournalBuilder(f"s{number}", clock=clock)
    root = journal.start("AGENT", "researcher", details={"input": f"question {number}"})
    model = journal.start("MODEL", "scripted", parent=root, details={"messages": [{"role": "user", "content": "hi"}]})
    journal.end(model, usage=Usage(input_tokens=100 + number, output_tokens=20), details={"output": "let me look"})
    first = journal.start("TOOL", "search", parent=root, details={"input": {"query": f"q{number}"}})
    journal.end(first, "error", error=ErrorInfo(type="TimeoutError", message="no answer", code="Slow"))
    again = journal.start("TOOL", "search", parent=root, step_id=first.step_id, attempt=2)
    journal.note(again, "PROGRESS", details={"message": "half"})
    journal.end(again, details={"output": ["a page"]})
    journal.end(root, "error" if number % 3 == 2 else "ok", details={"output": "done"})
    return journal


def keep(store: JournalStore, events: Sequence[JournalEvent], *, head: bool = True) -> None:
    """Write events, of one session, as the drain would."""
    store.append(events)
    if head:
        head_now = current(store, events[0].session_id)
        assert head_now is not None
        assert store.write_head(head_now) is not None


def rows_of(store: JournalStore, sql: str, **options: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with query(store, sql, **options) as result:
        return list(result)


class Counted(MemoryStore):
    """A store in memory that notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__("memory://counted")
        self.reads: list[tuple[str, tuple[int, str] | None]] = []
        self.listings: list[SessionFilter | None] = []
        self.events_read = 0
        self.heads_read = 0

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        self.reads.append((session_id, after))
        for event in super().read(session_id, after):
            self.events_read += 1
            yield event

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        self.listings.append(wanted)
        for head in super().sessions(wanted):
            self.heads_read += 1
            yield head

    def forget(self) -> None:
        """Begin counting anew."""
        self.reads, self.listings, self.events_read, self.heads_read = [], [], 0, 0
