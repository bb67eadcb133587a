"""The embedded stores against the model, which has one order of arrival as they have; and that it finds faults."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore, Page
from otel_agent_journal.store.sqlite import SqliteStore
from tests.store_machine import StoreMachine


class MemoryMachine(StoreMachine):
    exact = True

    def make_store(self) -> JournalStore:
        return MemoryStore()


class SqliteMachine(StoreMachine):
    exact = True

    def make_store(self) -> JournalStore:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        return self.another()

    def another(self) -> JournalStore:
        return SqliteStore(self.folder / "journal.db", synchronous="normal")

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestMemoryMachine = MemoryMachine.TestCase
TestSqliteMachine = SqliteMachine.TestCase
EXAMPLES = settings().max_examples * 2 // 5
TestMemoryMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)
TestSqliteMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)


class Unconditional(MemoryStore):
    """A put without its condition: the last copy of an event stays."""

    def append(self, events: Sequence[JournalEvent]) -> None:
        for event in events:
            self._events.pop(event.key, None)
        super().append(events)


class Overwriting(MemoryStore):
    """An instance's sequence that is written wherever the writer thinks it is."""

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        sequence = self._instances.setdefault(instance_id, [])
        sequence[expected_seq:] = [self._add(event) for event in events]


class LexicographicSequence(MemoryStore):
    """An index over sequence numbers as text: 10 before 2."""

    def read_context(self, instance_id: str, from_seq: int = 0) -> Iterator[JournalEvent]:
        yield from sorted(super().read_context(instance_id, from_seq), key=lambda event: str(event.seq))


class LexicographicTime(MemoryStore):
    """An index over times whose zeros were dropped, as `datetime.isoformat` does it."""

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        def key(event: JournalEvent) -> str:
            return format_timestamp(event.timestamp_ns).removesuffix("Z").rstrip("0") + "Z" + event.event_id

        yield from sorted(super().read(session_id, after), key=key)


class Dropping(MemoryStore):
    """A batch of which the last was not taken, and nobody looked."""

    def append(self, events: Sequence[JournalEvent]) -> None:
        super().append(events[:-1] if len(events) > 3 else events)


class Half(MemoryStore):
    """A batch of context that is there in part when it is refused."""

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        if len(events) > 1:
            super().append_context(instance_id, expected_seq, events[:1])
        super().append_context(instance_id, expected_seq + len(events[:1]), events[1:])


class Skipping(MemoryStore):
    """A follower that goes by time: what comes late is never seen."""

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        page = super().follow(cursor, session_id=session_id, limit=limit)
        newest = max((event.timestamp_ns for event in self._arrived[: self._position(cursor)] if event), default=0)
        return Page(tuple(event for event in page.events if event.timestamp_ns >= newest), page.cursor)


@pytest.mark.parametrize(
    "fault", [Unconditional, Overwriting, LexicographicSequence, LexicographicTime, Dropping, Half, Skipping]
)
def test_the_model_finds_faults(fault: type[MemoryStore]) -> None:
    """A store with a fault is found out within the default number of examples."""

    class Faulty(StoreMachine):
        def make_store(self) -> JournalStore:
            return fault()

    found = settings(max_examples=40, stateful_step_count=30, phases=[Phase.generate], derandomize=True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Faulty, settings=found)
