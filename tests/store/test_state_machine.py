"""Every store against a model of a few lines of plain Python, in orders of calls that nobody would write down."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from otel_agent_journal.codec import digest
from otel_agent_journal.errors import ConflictError, StoreError, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.sqlite import SqliteStore

SESSIONS = ("s1", "s2", "é%_")
INSTANCES = ("i1", "i2")
STATUSES = ("PENDING", "PROCESSING", "COMPLETED", "ERROR", "INTERRUPTED")

# Few ids and times, so that repetitions, late events and conflicts are common.
session_events = st.builds(
    JournalEvent,
    session_id=st.sampled_from(SESSIONS),
    event_id=st.sampled_from([f"{number:032x}" for number in range(6)]),
    type=st.sampled_from(["NOTE", "TOOL_START"]),
    timestamp_ns=st.integers(0, 4),
    details=st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
)
heads = st.builds(
    SessionHead,
    session_id=st.sampled_from(SESSIONS),
    status=st.sampled_from(STATUSES),
    agent=st.sampled_from([None, "a", "b"]),
    updated_ns=st.integers(0, 5),
    writers=st.dictionaries(st.sampled_from(["w1", "w2"]), st.integers(0, 9)),
    version=st.integers(0, 4),
)
filters = st.builds(
    SessionFilter,
    statuses=st.lists(st.sampled_from(STATUSES), max_size=2, unique=True).map(tuple),
    agent=st.sampled_from([None, "a", "b"]),
    since_ns=st.none() | st.integers(0, 5),
    until_ns=st.none() | st.integers(0, 5),
    id_prefix=st.sampled_from([None, "", "s", "s1", "é%"]),
    limit=st.none() | st.integers(0, 3),
)


class StoreMachine(RuleBasedStateMachine):
    """The store and its model, step by step."""

    cursors = Bundle("cursors")

    def make_store(self) -> JournalStore:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.arrived: list[JournalEvent] = []
        self.instances: dict[str, list[JournalEvent]] = {}
        self.heads: dict[str, SessionHead] = {}

    @initialize(target=cursors)
    def beginning(self) -> Any:
        return multiple((None, 0), (self.store.tip(), 0))

    @rule(batch=st.lists(session_events, max_size=5))
    def append(self, batch: list[JournalEvent]) -> None:
        self.store.append(batch)
        for event in batch:
            self.add(event)

    @rule(
        instance=st.sampled_from(INSTANCES),
        session=st.sampled_from(SESSIONS[:2]),
        expected=st.integers(0, 4),
        ids=st.lists(st.integers(0, 9), min_size=1, max_size=3),
        text=st.sampled_from("xy"),
    )
    def append_context(self, instance: str, session: str, expected: int, ids: list[int], text: str) -> None:
        batch = [
            JournalEvent(
                session_id=session,
                event_id=f"c{instance}{number}",
                type="USER_MESSAGE",
                timestamp_ns=number % 5,
                instance_id=instance,
                seq=seq,
                details={"content": text},
            )
            for seq, number in enumerate(ids, expected)
        ]
        outcome = self.judged(instance, expected, batch)
        refused = None
        try:
            self.store.append_context(instance, expected, batch)
        except StoreError as error:
            refused = type(error)
        assert refused == (None if outcome in ("written", "repeated") else outcome)
        if outcome == "written":
            self.instances.setdefault(instance, []).extend(batch)
            self.arrived.extend(batch)

    def judged(self, instance: str, expected: int, batch: list[JournalEvent]) -> Any:
        """What must come of a context append, by the words of the contract."""
        sequence = self.instances.get(instance, [])
        if sequence and sequence[0].session_id != batch[0].session_id:
            return StoreError
        if expected != len(sequence):
            there = sequence[expected : expected + len(batch)]
            pairs = list(zip(there, batch, strict=False))
            if any(one.event_id == two.event_id and digest(one) != digest(two) for one, two in pairs):
                return ConflictError
            return "repeated" if there == batch else WrongExpectedSequence
        taken = [event.event_id for event in [*sequence, *batch]]
        return ConflictError if len(set(taken)) < len(taken) else "written"

    @rule(target=cursors, start=cursors, limit=st.integers(1, 4), session=st.sampled_from([None, *SESSIONS]))
    def follow(self, start: tuple[str | None, int], limit: int, session: str | None) -> Any:
        cursor, position = start
        page = self.store.follow(cursor, session_id=session, limit=limit)
        ahead = [
            (place, event)
            for place, event in enumerate(self.arrived[position:], position + 1)
            if session in (None, event.session_id)
        ]
        assert list(page.events) == [event for _, event in ahead[:limit]]
        return page.cursor, ahead[limit - 1][0] if len(ahead) >= limit else len(self.arrived)

    @rule(target=cursors)
    def tip(self) -> Any:
        return self.store.tip(), len(self.arrived)

    @rule(
        session=st.sampled_from(SESSIONS), after=st.tuples(st.integers(0, 5), st.sampled_from(["", f"{3:032x}", "z"]))
    )
    def read_after(self, session: str, after: tuple[int, str]) -> None:
        assert list(self.store.read(session, after)) == [
            event for event in self.in_order(session) if (event.timestamp_ns, event.event_id) > after
        ]

    @rule(head=heads)
    def write_head(self, head: SessionHead) -> None:
        stored = self.heads.get(head.session_id)
        written = self.store.write_head(head)
        if head.version != (stored.version if stored else 0):
            assert written is None
            return
        known = dict(stored.writers) if stored else {}
        writers = {
            writer: max(head.writers.get(writer, 0), known.get(writer, 0)) for writer in {**known, **head.writers}
        }
        self.heads[head.session_id] = msgspec.structs.replace(head, writers=writers, version=head.version + 1)
        assert written == self.heads[head.session_id]

    @rule(wanted=filters)
    def listing(self, wanted: SessionFilter) -> None:
        expected = [
            head
            for head in self.heads.values()
            if head.status in (wanted.statuses or STATUSES)
            and wanted.agent in (None, head.agent)
            and (wanted.since_ns is None or wanted.since_ns <= head.updated_ns)
            and (wanted.until_ns is None or wanted.until_ns >= head.updated_ns)
            and head.session_id.startswith(wanted.id_prefix or "")
        ]
        expected.sort(key=lambda head: head.session_id)
        expected.sort(key=lambda head: head.updated_ns, reverse=True)
        assert list(self.store.sessions(wanted)) == expected[: wanted.limit]

    @rule()
    def reopen(self) -> None:
        """Nothing to reopen in memory."""

    @invariant()
    def sessions_read_as_the_model_says(self) -> None:
        for session in SESSIONS:
            assert list(self.store.read(session)) == self.in_order(session)
            assert self.store.head(session) == self.heads.get(session)
        for instance in INSTANCES:
            assert list(self.store.read_context(instance)) == self.instances.get(instance, [])

    def teardown(self) -> None:
        self.store.close()

    def add(self, event: JournalEvent) -> None:
        if all(event.key != there.key for there in self.arrived):
            self.arrived.append(event)

    def in_order(self, session: str) -> list[JournalEvent]:
        found = [event for event in self.arrived if event.session_id == session]
        return sorted(found, key=lambda event: (event.timestamp_ns, event.event_id))


class MemoryMachine(StoreMachine):
    def make_store(self) -> JournalStore:
        return MemoryStore()


class SqliteMachine(StoreMachine):
    def make_store(self) -> JournalStore:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        return SqliteStore(self.folder / "journal.db", synchronous="normal")

    @rule()
    def reopen(self) -> None:
        """All is as it was when the file is opened again."""
        self.store.close()
        self.store = SqliteStore(self.folder / "journal.db", synchronous="normal")

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestMemoryMachine = MemoryMachine.TestCase
TestSqliteMachine = SqliteMachine.TestCase
EXAMPLES = settings().max_examples * 2 // 5
TestMemoryMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)
TestSqliteMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)
