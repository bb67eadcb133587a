"""The contract of `append_context` and `read_context`: one gapless sequence an instance, one winner a number."""

from __future__ import annotations

from threading import Barrier

import msgspec
import pytest

from otel_agent_journal.errors import ConflictError, StoreError, WrongExpectedSequence
from otel_agent_journal.store.lineage import base_of, fork, read_through
from otel_agent_journal.store.protocol import ContextTip, JournalStore
from otel_agent_journal.store.rules import current, prune
from otel_agent_journal.testing.builders import an_event, context_events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import THREADS, ContractSetup, everything, in_order


class ContextContract(ContractSetup):
    """The sequence of an instance has no gap, no fork and no second copy."""

    @pytest.fixture(autouse=True)
    def _context_store(self, request: pytest.FixtureRequest) -> None:
        if "store" in request.fixturenames and request.function.__name__.startswith("test_context"):
            store = request.getfixturevalue("store")
            self.needs(store, "context", lambda: store.append_context("i1", 0, context_events(1)))

    def test_context_sequence(self, store: JournalStore) -> None:
        """Context events are read back by their number, and as part of their session."""
        made = context_events(7)
        store.append_context("i1", 0, made[:1])
        store.append_context("i1", 1, made[1:4])
        store.append_context("i1", 4, made[4:])
        store.append([an_event(99)])
        assert list(store.read_context("i1")) == made
        assert list(store.read("s1")) == in_order([*made, an_event(99)])

    def test_context_from(self, store: JournalStore) -> None:
        """Reading may start at any number; beyond the end there is nothing."""
        made = context_events(5)
        store.append_context("i1", 0, made)
        for number in range(6):
            assert list(store.read_context("i1", number)) == made[number:]
        assert list(store.read_context("i1", 100)) == []
        assert list(store.read_context("nobody")) == []

    def test_context_of_strange_text(self, store: JournalStore) -> None:
        """What JSON cannot hold is kept in context events as in others."""
        (event,) = context_events(1, text="\udc80")
        store.append_context("i1", 0, [msgspec.structs.replace(event, name="tool-\udc80")])
        (read,) = store.read_context("i1")
        assert (read.name, read.details) == ("tool-\\udc80", {"content": "\\udc80 0"})

    def test_context_order_is_the_number(self, store: JournalStore) -> None:
        """In an instance the number is the order, and not the time."""
        made = [msgspec.structs.replace(event, timestamp_ns=1_000 - seq) for seq, event in enumerate(context_events(5))]
        store.append_context("i1", 0, made)
        assert [event.seq for event in store.read_context("i1")] == [0, 1, 2, 3, 4]
        assert [event.seq for event in store.read("s1")] == [4, 3, 2, 1, 0]

    def test_context_long_instance(self, store: JournalStore) -> None:
        """An instance longer than any page is read whole."""
        made = context_events(1_300)
        for start in range(0, 1_300, 20):
            store.append_context("i1", start, made[start : start + 20])
        assert [event.seq for event in store.read_context("i1")] == list(range(1_300))
        assert [event.seq for event in store.read_context("i1", 700)] == list(range(700, 1_300))
        assert [event.seq for event in store.read_context("i1", -5)] == list(range(1_300))

    def test_context_instances_apart(self, store: JournalStore) -> None:
        """Instances count for themselves, in one session or in many."""
        for instance, session in (("i1", "s1"), ("i2", "s1"), ("i3", "s2")):
            store.append_context(instance, 0, context_events(3, instance_id=instance, session_id=session))
        assert [event.seq for event in store.read_context("i2")] == [0, 1, 2]
        assert len(list(store.read("s1"))) == 6

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_context_limited(self, store: JournalStore, newest_first: bool) -> None:
        """Of an instance one may ask for the first few from a number on, or for the last few down to it."""
        made = context_events(45)
        store.append_context("i1", 0, made)
        for first in (0, 7, 44, 45, 60):
            wanted = made[first:][::-1] if newest_first else made[first:]
            for limit in (None, -1, 0, 1, 10, 45, 100):
                found = list(store.read_context("i1", first, limit=limit, newest_first=newest_first))
                assert found == (wanted if limit is None else wanted[: max(0, limit)]), (first, limit)

    def test_context_long_instance_from_its_end(self, store: JournalStore) -> None:
        """The last events of an instance longer than any page come in order, down to any number."""
        made = context_events(1_300)
        for start in range(0, 1_300, 20):
            store.append_context("i1", start, made[start : start + 20])
        assert [event.seq for event in store.read_context("i1", newest_first=True)] == list(range(1_299, -1, -1))
        assert [event.seq for event in store.read_context("i1", 150, limit=1_100, newest_first=True)] == list(
            range(1_299, 199, -1)
        )

    def test_context_tip(self, store: JournalStore) -> None:
        """The tip of an instance is its session and its next number; what is not there has none."""
        assert store.context_tip("i1") is None
        for session_id in ("s1", "s/2 é", "long" * 200):
            instance_id = f"of {session_id}"
            store.append_context(instance_id, 0, context_events(3, instance_id=instance_id, session_id=session_id))
            assert store.context_tip(instance_id) == ContextTip(session_id, 3)
            store.append_context(
                instance_id, 3, context_events(2, first=3, instance_id=instance_id, session_id=session_id)
            )
            assert store.context_tip(instance_id) == ContextTip(session_id, 5)
        assert store.context_tip("of s1 not") is None

    def test_context_instances_of_a_session(self, store: JournalStore) -> None:
        """A session's instances are those that have events in it."""
        assert list(store.instances("s1")) == []
        store.append([an_event(1, session_id="s3", instance_id="named")])
        wanted = {"s1": {"i1", "i/2 é", "long" * 300}, "s2": {"i3"}, "s3": set[str]()}
        for session_id, instances in wanted.items():
            for instance_id in instances:
                store.append_context(instance_id, 0, context_events(2, instance_id=instance_id, session_id=session_id))
        for session_id, instances in wanted.items():
            assert sorted(store.instances(session_id)) == sorted(instances)

    @pytest.mark.parametrize("expected", [0, 2, 4, 9])
    def test_context_wrong_sequence(self, store: JournalStore, expected: int) -> None:
        """Where the next number is not the expected one nothing is written, and the error says both."""
        store.append_context("i1", 0, context_events(3))
        others = [msgspec.structs.replace(event, event_id=f"{event.seq:032x}") for event in
                  context_events(2, first=expected)]  # fmt: skip
        with pytest.raises(WrongExpectedSequence) as refused:
            store.append_context("i1", expected, others)
        assert (refused.value.instance_id, refused.value.expected, refused.value.actual) == ("i1", expected, 3)
        assert list(store.read_context("i1")) == context_events(3)
        assert len(everything(store)[0]) == 3

    def test_context_repetition(self, store: JournalStore) -> None:
        """Repeating a call whose events are all there succeeds and changes nothing."""
        made = context_events(6)
        store.append_context("i1", 0, made[:3])
        store.append_context("i1", 3, made[3:])
        tip = store.tip()
        store.append_context("i1", 0, made[:3])
        store.append_context("i1", 3, made[3:])
        store.append_context("i1", 1, made[1:5])
        assert list(store.read_context("i1")) == made
        assert store.follow(tip).events == ()

    def test_context_half_a_repetition(self, store: JournalStore) -> None:
        """A call whose events are partly there is refused whole."""
        store.append_context("i1", 0, context_events(3))
        with pytest.raises(WrongExpectedSequence):
            store.append_context("i1", 1, context_events(4, first=1))
        assert list(store.read_context("i1")) == context_events(3)

    def test_context_conflict(self, store: JournalStore) -> None:
        """The same id with another content is a conflict, and nothing is written."""
        store.append_context("i1", 0, context_events(3))
        with pytest.raises(ConflictError) as refused:
            store.append_context("i1", 1, context_events(2, first=1, text="another"))
        assert refused.value.event_id == context_events(1, first=1)[0].event_id
        assert list(store.read_context("i1")) == context_events(3)

    def test_context_id_used_before(self, store: JournalStore) -> None:
        """An id that the instance has at another number is a conflict, and the whole call is taken back."""
        made = context_events(3)
        store.append_context("i1", 0, made)
        again = msgspec.structs.replace(made[1], seq=4, timestamp_ns=made[1].timestamp_ns + 1)
        with pytest.raises(ConflictError):
            store.append_context("i1", 3, [*context_events(1, first=3), again])
        assert list(store.read_context("i1")) == made
        assert list(store.read("s1")) == made
        store.append_context("i1", 3, context_events(1, first=3))

    def test_context_key_of_a_session_event(self, store: JournalStore) -> None:
        """A context event with the key of a session event is a conflict."""
        (message,) = context_events(1)
        store.append([an_event(event_id=message.event_id, timestamp_ns=message.timestamp_ns)])
        with pytest.raises(ConflictError):
            store.append_context("i1", 0, [message])
        assert list(store.read_context("i1")) == []

    def test_context_malformed_call(self, store: JournalStore) -> None:
        """Events with a gap, of another instance, of two sessions or without a number are refused, none written."""
        made = context_events(3)
        for events in (
            [made[0], made[2]],
            [made[1]],
            [made[0], msgspec.structs.replace(made[1], instance_id="i2")],
            [made[0], msgspec.structs.replace(made[1], session_id="s2")],
            [an_event()],
        ):
            with pytest.raises(StoreError):
                store.append_context("i1", 0, events)
        with pytest.raises(StoreError):
            store.append_context("i1", -1, [msgspec.structs.replace(made[0], seq=-1)])
        assert list(store.read_context("i1")) == []
        assert everything(store)[0] == []

    def test_context_forked(self, store: JournalStore) -> None:
        """A fork begins as another instance's first events, copies none, and is no other for being made twice."""
        made = context_events(6)
        store.append_context("i1", 0, made)
        for _ in range(2):
            fork(store, "i1", 4, "i2", "s2", now_ns=EPOCH_2026_NS)
        store.append_context("i1", 6, context_events(1, first=6))
        own = context_events(2, first=1, instance_id="i2", session_id="s2")
        store.append_context("i2", 1, own)
        fork(store, "i2", 2, "i3", "s3", now_ns=EPOCH_2026_NS)
        through = list(read_through(store, "i2"))
        assert [*through[:4], *through[5:]] == [*made[:4], *own]
        assert (through[4].type, through[4].seq, base_of(through[4])) == ("CONTEXT_FORKED", 0, ("i1", 4))
        assert list(read_through(store, "i3"))[:-1] == through[:6]
        assert store.context_tip("i2") == ContextTip("s2", 3)
        for instance, seq, new, session in (("i1", 9, "i4", "s4"), ("no", 0, "i4", "s4"), ("i1", 3, "i2", "s2")):
            with pytest.raises(StoreError):
                fork(store, instance, seq, new, session, now_ns=EPOCH_2026_NS)
        assert store.context_tip("i4") is None

    def test_context_lineage(self, store: JournalStore) -> None:
        """A session and its fork name one another, and what a fork is read through stays while that is there."""
        store.append_context("i1", 0, context_events(3))
        fork(store, "i1", 2, "i2", "s2", now_ns=EPOCH_2026_NS)
        base, made = current(store, "s1"), current(store, "s2")
        assert base is not None
        assert made is not None
        assert (base.forks, base.forked_from, made.forks, made.forked_from) == (("s2",), None, (), "s1")
        for head in (base, made):
            assert store.write_head(head) is not None
            stored = store.head(head.session_id)
            assert stored is not None
            assert (stored.forks, stored.forked_from) == (head.forks, head.forked_from)
        if not store.capabilities.prune:
            return
        store.append([an_event(0, session_id="s2", timestamp_ns=2 * EPOCH_2026_NS)])
        assert prune(store, 2 * EPOCH_2026_NS) == 0
        assert len(list(read_through(store, "i2"))) == 3
        assert sum(prune(store, 3 * EPOCH_2026_NS) for _ in range(2)) == 2
        assert list(store.instances("s1")) == list(store.read("s2")) == []

    def test_context_one_session(self, store: JournalStore) -> None:
        """An instance stays in the session it began in."""
        store.append_context("i1", 0, context_events(1))
        with pytest.raises(StoreError):
            store.append_context("i1", 1, context_events(1, first=1, session_id="s2"))
        (first,) = context_events(1, session_id="s2")
        with pytest.raises(StoreError) as refused:  # the same id twice is a conflict, but not what is to be said
            store.append_context("i1", 0, [first, msgspec.structs.replace(first, seq=1)])
        assert not isinstance(refused.value, ConflictError)
        assert list(store.read("s2")) == []

    def test_context_nothing(self, store: JournalStore) -> None:
        """Appending nothing to an instance does nothing."""
        store.append_context("i1", 0, [])
        assert list(store.read_context("i1")) == []

    def test_context_one_winner(self, store: JournalStore) -> None:
        """Of eight writers of one number one wins; the others are told, and nothing of theirs is written."""
        together = Barrier(THREADS)

        def append(client: JournalStore, number: int) -> list[bool]:
            won: list[bool] = []
            for seq in range(10):
                (event,) = context_events(1, first=seq)
                event = msgspec.structs.replace(event, event_id=f"{number:016x}{seq:016x}", digest=None)
                together.wait(30)
                try:
                    client.append_context("i1", seq, [event])
                    won.append(True)
                except WrongExpectedSequence:
                    won.append(False)
            return won

        outcomes = self.in_threads(store, append)
        assert [sum(won) for won in zip(*outcomes, strict=True)] == [1] * 10
        read = list(store.read_context("i1"))
        assert [event.seq for event in read] == list(range(10))
        assert all(outcomes[int(event.event_id[:16], 16)][event.seq or 0] for event in read)
        assert len(list(store.read("s1"))) == 10
