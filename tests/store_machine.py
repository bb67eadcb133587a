"""Every store against a model of a few lines of plain Python, in orders of calls that nobody would write down.

The invariants, for any number of clients: an instance's sequence is gapless, and of several writers at one place one
wins (`append_next`, `append_context`, `race`); the same event again changes nothing, the same id with another content
is refused; a batch of context is there whole or not at all; nothing that was written ever changes; what was
acknowledged is read, in order of time, and listed, whether or not its head was written; a follower with a cursor gets
each event once, however late it came; heads are replaced over the version that was read, and those that drains keep are
replays, however many drain; what is deleted is gone, and nothing else is. All of it is compared by full reads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from otel_agent_journal.codec import digest
from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.errors import ConflictError, StoreError, StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import JournalStore, SessionFilter, StoreAdmin
from otel_agent_journal.store.rules import current, current_sessions, fold_from_beginning, repair, same_head

SESSIONS = ("s1", "s2", "é%_")
INSTANCES = ("i1", "i2", "long")
STATUSES = ("PENDING", "PROCESSING", "COMPLETED", "ERROR", "INTERRUPTED")
MAX_TRIES = 60  # of one call to a store behind a proxy that fails some of them
SECOND = 1_000_000_000
# Close together and far apart; as text of no fixed width they would stand in another order.
TIMES = (0, 1, 2, 9, 10, SECOND, SECOND + 5, 10 * SECOND, 1_767_225_600 * SECOND)
UPDATED = (0, 1, 2, 5, 10 * SECOND, 30 * SECOND)

Result = TypeVar("Result")

# Few ids and times, so that repetitions, late events and conflicts are common.
session_events = st.builds(
    JournalEvent,
    session_id=st.sampled_from(SESSIONS),
    event_id=st.sampled_from([f"{number:032x}" for number in range(6)]),
    type=st.sampled_from(["NOTE", "TOOL_START"]),
    timestamp_ns=st.sampled_from(TIMES),
    details=st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
)
heads = st.builds(
    SessionHead,
    session_id=st.sampled_from(SESSIONS),
    status=st.sampled_from(STATUSES),
    agent=st.sampled_from([None, "a", "b"]),
    updated_ns=st.sampled_from(UPDATED),
    writers=st.dictionaries(st.sampled_from(["w1", "w2"]), st.integers(0, 9)),
    version=st.integers(0, 4),
)
filters = st.builds(
    SessionFilter,
    statuses=st.lists(st.sampled_from(STATUSES), max_size=2, unique=True).map(tuple),
    agent=st.sampled_from([None, "a", "b"]),
    since_ns=st.none() | st.sampled_from(UPDATED),
    until_ns=st.none() | st.sampled_from(UPDATED),
    id_prefix=st.sampled_from([None, "", "s", "s1", "é%"]),
    limit=st.none() | st.integers(0, 3),
)
Cursors: Bundle[Any] = Bundle("cursors")


class Cursor(NamedTuple):
    """A cursor, of which session it is, and the places in the model of all that lies before it."""

    text: str | None
    session: str | None
    behind: frozenset[int]


class StoreMachine(RuleBasedStateMachine):
    """The store and its model, step by step. A subclass says where the store comes from."""

    exact = False  # whether arrival and listing are in one total order, as in a store that counts them
    compared_every = 1  # steps, and at the end; more where a full read is many requests
    reopenings = 1000  # at most, in one example; fewer where opening takes long
    keeps_what_others_write = False  # whether a session stays while another client that wrote to it may be at work

    def make_store(self) -> JournalStore:
        """Return an empty store."""
        raise NotImplementedError

    def another(self) -> JournalStore:
        """Return a second client of the same journal; the store itself where there is no other."""
        return self.store

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.rival = self.another()
        self.arrived: list[JournalEvent | None] = []  # None where it was deleted
        self.calls: list[int] = []  # the number of the call by which each arrived
        self.call = 0
        self.made = 0
        self.steps = 0
        self.reopened = 0
        self.instances: dict[str, list[JournalEvent]] = {}
        self.heads: dict[str, SessionHead] = {}
        self.keepers = self.new_keepers()

    def new_keepers(self) -> dict[bool, HeadKeeper]:
        """Return what keeps heads in two drains: of the store, and of its rival."""
        return {
            False: HeadKeeper(self.store, self.done),
            True: HeadKeeper(self.rival, self.done),
        }

    @initialize(target=Cursors)
    def beginning(self) -> Any:
        return multiple(Cursor(None, None, frozenset()), self.tip_of_now())

    @initialize()
    def a_long_sequence(self) -> None:
        """One instance is beyond ten from the beginning, where text would order 10 before 2, and was raced for."""
        self.append_next("long", "s2", 11)
        self.race("long", "s2", 2)

    @rule(batch=st.lists(session_events, max_size=5), by_rival=st.booleans())
    def append(self, batch: list[JournalEvent], by_rival: bool) -> None:
        self.done(lambda: (self.rival if by_rival else self.store).append(batch))
        self.add(batch)

    @rule(batch=st.lists(session_events, min_size=1, max_size=5), by_rival=st.booleans())
    def deliver(self, batch: list[JournalEvent], by_rival: bool) -> None:
        """A drain appends and keeps heads: each is then what a replay gives, whoever else delivers and writes."""
        keeper, client = self.keepers[by_rival], self.rival if by_rival else self.store
        keeper.note(batch, self.done(lambda: client.append(batch)))
        self.add(batch)
        keeper.write()
        for session in {event.session_id for event in batch}:
            head = self.done(lambda session=session: self.store.head(session))
            replayed = self.done(lambda session=session: fold_from_beginning(self.store, session))
            assert head is not None
            told = replayed.head(session)
            assert same_head(head, told), f"{head}\n{told}"
            assert head.cursor == replayed.cursor
            self.heads[session] = head

    @rule(session=st.sampled_from(SESSIONS))
    def repair(self, session: str) -> None:
        """A head that is missing, or says what is not so, is put right."""
        self.done(lambda: repair(self.store, session))
        head = self.done(lambda: self.store.head(session))
        if self.in_order(session):
            assert head is not None
            assert head.events == len(self.in_order(session))
            self.heads[session] = head

    @rule(session=st.sampled_from(SESSIONS), by_rival=st.booleans())
    def delete(self, session: str, by_rival: bool) -> None:
        """A session that nothing happened in since it was judged is deleted whole."""
        client = self.rival if by_rival else self.store
        head = self.done(lambda: current(client, session))
        if head is None:
            return
        if not self.deleted(client, head):
            return  # and all of it is looked for after this step, as after any other
        self.arrived = [None if event is None or event.session_id == session else event for event in self.arrived]
        for instance, events in list(self.instances.items()):
            if events[0].session_id == session:
                del self.instances[instance]
        self.heads.pop(session, None)

    def deleted(self, client: JournalStore, head: SessionHead) -> bool:
        """Delete a session that is as it was judged; return whether it went."""
        assert isinstance(client, StoreAdmin)
        gone = client.delete_session(head.session_id, head.cursor, head.version)
        assert gone or self.keeps_what_others_write
        return gone

    @rule(session=st.sampled_from(SESSIONS))
    def delete_too_late(self, session: str) -> None:
        """One in which something happened since stays as it is."""
        head = self.done(lambda: current(self.store, session))
        if head is None or self.heads.get(session) is None or head.version == 0:
            return
        store = self.store
        assert isinstance(store, StoreAdmin)
        assert not self.done(lambda: store.delete_session(session, head.cursor, head.version - 1))

    @rule(number=st.integers(0, 50), details=st.dictionaries(st.sampled_from("ab"), st.integers(3, 4), min_size=1))
    def append_again(self, number: int, details: dict[str, int]) -> None:
        """What has the key of an event that is there is not written, whatever it says."""
        there = [event for event in self.arrived if event is not None and event.seq is None]
        if there:
            again = msgspec.structs.replace(there[number % len(there)], details=details)
            self.done(lambda: self.rival.append([again]))

    @rule(batch=st.lists(session_events, min_size=1, max_size=3, unique_by=lambda event: event.key))
    def append_at_once(self, batch: list[JournalEvent]) -> None:
        """Two clients bring the same events, as two drainers of one spool may."""
        if any(there and event.key == there.key and event != there for event in batch for there in self.arrived):
            return
        self.both(lambda client: client.append(batch))
        self.add(batch)

    @rule(
        instance=st.sampled_from(INSTANCES),
        session=st.sampled_from(SESSIONS[:2]),
        expected=st.integers(0, 4),
        ids=st.lists(st.integers(0, 9), min_size=1, max_size=3),
        text=st.sampled_from("xy"),
    )
    def append_context(self, instance: str, session: str, expected: int, ids: list[int], text: str) -> None:
        """Any batch at any place: mostly refused, and rightly so."""
        batch = messages(instance, session, expected, [f"c{instance}{number}" for number in ids], text)
        outcome = self.judged(instance, expected, batch)
        refused = None
        try:
            self.done(lambda: self.store.append_context(instance, expected, batch))
        except StoreError as error:
            refused = type(error)
        assert refused == (None if outcome in ("written", "repeated") else outcome)
        if outcome == "written":
            self.add_context(batch)

    @rule(instance=st.sampled_from(INSTANCES), session=st.sampled_from(SESSIONS[:2]), count=st.integers(1, 5))
    def append_next(self, instance: str, session: str, count: int) -> None:
        """A batch at the end of a sequence, so that it grows beyond ten; and the same again, which changes nothing."""
        batch = self.next_messages(instance, session, count)
        for _ in range(2):
            self.done(lambda: self.rival.append_context(instance, batch[0].seq or 0, batch))
        self.add_context(batch)

    @rule(instance=st.sampled_from(INSTANCES), session=st.sampled_from(SESSIONS[:2]), count=st.integers(1, 3))
    def race(self, instance: str, session: str, count: int) -> None:
        """Two clients at one place of a sequence: one wins, the other is told, and nothing of it is there."""
        batches = {id(client): self.next_messages(instance, session, count) for client in (self.store, self.rival)}
        if len(batches) == 1:
            return

        def one(client: JournalStore) -> bool:
            batch = batches[id(client)]
            try:
                self.done(lambda: client.append_context(instance, batch[0].seq or 0, batch))
            except WrongExpectedSequence:
                return False
            return True

        won = self.both(one)
        assert sorted(won) == [False, True]
        self.add_context(batches[id((self.store, self.rival)[won.index(True)])])

    @rule(target=Cursors, start=Cursors, limit=st.integers(1, 4), session=st.sampled_from([None, *SESSIONS]))
    def follow(self, start: Cursor, limit: int, session: str | None) -> Any:
        session = start.session or session
        page = self.done(lambda: self.store.follow(start.text, session_id=session, limit=limit))
        ahead = [
            place
            for place, event in enumerate(self.arrived)
            if event is not None and place not in start.behind and session in (None, event.session_id)
        ]
        found = [self.arrived.index(event) for event in page.events]
        assert set(found) <= set(ahead), "followed twice, or of another session"
        assert len(set(found)) == len(found) <= limit
        assert found or not ahead, "skipped, or not yet there"
        for one in SESSIONS:
            calls = [self.calls[self.arrived.index(event)] for event in page.events if event.session_id == one]
            assert calls == sorted(calls), "not in order of arrival"
        if self.exact:
            assert found == ahead[:limit]
        return Cursor(page.cursor, session, start.behind.union(found))

    @rule(target=Cursors)
    def tip(self) -> Any:
        return self.tip_of_now()

    def tip_of_now(self) -> Cursor:
        return Cursor(self.done(self.store.tip), None, frozenset(range(len(self.arrived))))

    @rule(
        session=st.sampled_from(SESSIONS),
        after=st.tuples(st.sampled_from(TIMES), st.sampled_from(["", f"{3:032x}", "z"])),
    )
    def read_after(self, session: str, after: tuple[int, str]) -> None:
        found = self.done(lambda: list(self.store.read(session, after)))
        assert found == [event for event in self.in_order(session) if (event.timestamp_ns, event.event_id) > after]

    @rule(instance=st.sampled_from(INSTANCES), first=st.integers(0, 15))
    def read_context_from(self, instance: str, first: int) -> None:
        found = self.done(lambda: list(self.store.read_context(instance, first)))
        assert found == self.instances.get(instance, [])[first:]

    @rule(head=heads)
    def write_head(self, head: SessionHead) -> None:
        stored = self.heads.get(head.session_id)
        if head.version != (stored.version if stored else 0):
            assert self.done(lambda: self.store.write_head(head)) is None
            return
        known = dict(stored.writers) if stored else {}
        writers = {
            writer: max(head.writers.get(writer, 0), known.get(writer, 0)) for writer in {**known, **head.writers}
        }
        self.heads[head.session_id] = msgspec.structs.replace(head, writers=writers, version=head.version + 1)
        assert self.written_head(head) == self.heads[head.session_id]

    def written_head(self, head: SessionHead) -> SessionHead | None:
        """Return what a write of a head that nothing stands against returns."""
        return self.store.write_head(head)

    @rule(wanted=filters)
    def listing(self, wanted: SessionFilter) -> None:
        expected = [
            msgspec.structs.replace(head, snapshot=b"")
            for head in self.heads.values()
            if head.status in (wanted.statuses or STATUSES)
            and wanted.agent in (None, head.agent)
            and (wanted.since_ns is None or wanted.since_ns <= head.updated_ns)
            and (wanted.until_ns is None or wanted.until_ns >= head.updated_ns)
            and head.session_id.startswith(wanted.id_prefix or "")
        ]
        expected.sort(key=lambda head: head.session_id)
        expected.sort(key=lambda head: head.updated_ns, reverse=True)
        found = self.done(lambda: list(self.store.sessions(wanted)))
        assert [head.updated_ns for head in found] == [head.updated_ns for head in expected[: wanted.limit]]
        assert all(head in expected for head in found)
        assert len({head.session_id for head in found}) == len(found)
        if self.exact:
            assert found == expected[: wanted.limit]

    @precondition(lambda self: self.reopened < self.reopenings)
    @rule()
    def reopen(self) -> None:
        """All is as it was to a client that was just opened."""
        self.reopened += 1
        if self.rival is not self.store:
            self.store.close()
            self.store, self.rival = self.rival, self.another()
            self.keepers = self.new_keepers()

    @invariant()
    def compare(self) -> None:
        """Now and then, or after every step: everything is as it was written."""
        self.steps += 1
        if self.steps % self.compared_every == 0:
            self.compare_all()

    def compare_all(self) -> None:
        for session in SESSIONS:
            assert self.done(lambda session=session: list(self.store.read(session))) == self.in_order(session)
            assert self.done(lambda session=session: self.store.head(session)) == self.heads.get(session)
        self.compare_listing()
        for instance in INSTANCES:
            found = self.done(lambda instance=instance: list(self.store.read_context(instance)))
            assert found == self.instances.get(instance, [])

    def compare_listing(self) -> None:
        """Compare what is listed with what there is: but for heads that a test made up, which claim no cursor."""
        unsettled = set(self.done(lambda: list(self.store.unsettled())))
        listed = {head.session_id: head for head in self.done(lambda: list(current_sessions(self.store)))}
        for session in SESSIONS:
            events, stored = self.in_order(session), self.heads.get(session)
            if events and (session in unsettled or stored is None or stored.cursor is not None):
                assert listed[session].events == len(events)

    def teardown(self) -> None:
        try:
            self.compare_all()
        finally:
            self.store.close()
            self.rival.close()

    def done(self, call: Callable[[], Result]) -> Result:
        """Return what a call returns."""
        return call()

    def both(self, work: Callable[[JournalStore], Result]) -> list[Result]:
        """Have both clients do something at the same time."""

        def one(client: JournalStore) -> Result:
            return self.done(lambda: work(client))

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(one, (self.store, self.rival)))

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

    def next_messages(self, instance: str, session: str, count: int) -> list[JournalEvent]:
        """Return new messages for the end of an instance's sequence, in its session where it has one."""
        sequence = self.instances.get(instance, [])
        first = self.made
        self.made += count
        return messages(
            instance,
            sequence[0].session_id if sequence else session,
            len(sequence),
            [f"n{number}" for number in range(first, self.made)],
            "z",
        )

    def add(self, batch: list[JournalEvent]) -> None:
        self.call += 1
        for event in batch:
            if all(there is None or event.key != there.key for there in self.arrived):
                self.arrived.append(event)
                self.calls.append(self.call)

    def add_context(self, batch: list[JournalEvent]) -> None:
        self.instances.setdefault(batch[0].instance_id or "", []).extend(batch)
        self.add(batch)

    def in_order(self, session: str) -> list[JournalEvent]:
        found = [event for event in self.arrived if event is not None and event.session_id == session]
        return sorted(found, key=lambda event: (event.timestamp_ns, event.event_id))


class PatientMachine(StoreMachine):
    """The same behind a proxy that fails some calls: what could not be reached is tried again, as the drain does."""

    def done(self, call: Callable[[], Result]) -> Result:
        for _ in range(MAX_TRIES - 1):
            try:
                return call()
            except StoreUnreachable:
                pass
        return call()

    def deleted(self, client: JournalStore, head: SessionHead) -> bool:
        """Delete a session; who repeats that after a lost answer may be told that it is not there."""
        assert isinstance(client, StoreAdmin)
        for _ in range(MAX_TRIES):
            if self.done(lambda head=head: client.delete_session(head.session_id, head.cursor, head.version)):
                return True
            left = self.done(lambda head=head: current(client, head.session_id))
            if left is None or head.session_id not in self.heads or left.version:
                break
            head = left  # it was broken off behind the head, which goes first: what is left is judged anew
        if self.keeps_what_others_write and self.done(lambda: list(client.read(head.session_id))):
            return False
        assert not self.done(lambda: list(client.read(head.session_id)))
        assert self.done(lambda: client.head(head.session_id)) is None
        return True

    def written_head(self, head: SessionHead) -> SessionHead | None:
        """Return the head as it was written; whose answer was lost may be told that another was first."""
        written = self.done(lambda: self.store.write_head(head))
        return written or self.done(lambda: self.store.head(head.session_id))


def messages(instance: str, session: str, first: int, ids: list[str], text: str) -> list[JournalEvent]:
    """Return context events with these ids, numbered from `first` on; their times depend on their ids alone."""
    return [
        JournalEvent(
            session_id=session,
            event_id=event_id,
            type="USER_MESSAGE",
            timestamp_ns=TIMES[sum(event_id.encode()) % len(TIMES)],
            instance_id=instance,
            seq=seq,
            details={"content": text},
        )
        for seq, event_id in enumerate(ids, first)
    ]
