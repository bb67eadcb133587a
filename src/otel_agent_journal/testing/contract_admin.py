"""The part of the contract about what an operator does: preparing a store, looking at it, deleting what is old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import ROLES, BlobStore, Compacts, JournalStore, SessionFilter, StoreAdmin
from otel_agent_journal.store.rules import current, current_sessions, prune
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import ContractSetup, everything, ids, in_order
from otel_agent_journal.threads import side_by_side

LIMIT_NS = EPOCH_2026_NS + 10**12
BEFORE_NS = LIMIT_NS - 1
DAY_NS = 86_400 * 10**9


def _ended(session_id: str, at_ns: int) -> list[JournalEvent]:
    """Return what a session has that ended at a time."""
    fields: dict[str, Any] = {"session_id": session_id, "step_id": "root", "attempt": 1, "writer": "w1"}
    return [
        an_event(event_id="start", type="AGENT_START", timestamp_ns=at_ns - 5, **fields),
        an_event(event_id="end", type="AGENT_END", timestamp_ns=at_ns, outcome="ok", duration_ns=5, **fields),
    ]


def _context(session_id: str) -> list[JournalEvent]:
    return context_events(2, instance_id=f"{session_id}-instance", session_id=session_id)


class AdminContract(ContractSetup):
    """A store is prepared once, says what it holds, and deletes whole sessions or none."""

    def test_init(self, store: JournalStore) -> None:
        """A prepared store has nothing to prepare, and preparing it again changes nothing that is there."""
        assert isinstance(store, StoreAdmin)
        store.init()
        assert store.init_plan() == []
        store.append(events(3))
        store.init()
        assert store.init_plan() == []
        assert list(store.read("s1")) == events(3)

    def test_info(self, store: JournalStore) -> None:
        """What a store says it holds is exact, or absent."""
        assert isinstance(store, StoreAdmin)
        store.append(events(3))
        store.append(events(3))
        store.write_head(a_head())
        info = store.info()
        assert info.url == store.url
        assert info.backend
        assert info.events in (3, None)
        assert info.sessions in (1, None)

    def test_first_calls(self, store: JournalStore) -> None:
        """A client may begin with any call: none stands on another having been made before."""
        assert isinstance(store, StoreAdmin)
        store.append(events(1))
        store.write_head(a_head())
        begins: list[Callable[[Any], object]] = [
            lambda client: client.info(),
            lambda client: client.init_plan(),
            lambda client: client.write_head(a_head("s2")),
            lambda client: client.append(events(2)),
            lambda client: list(client.read("s1")),
            lambda client: client.follow(None),
            lambda client: list(client.sessions()),
        ]
        if store.capabilities.context:
            begins.append(lambda client: client.append_context("i1", 0, context_events(1)))
        if store.capabilities.prune:
            begins.append(lambda client: prune(client, 1))
        begins.append(lambda client: list(client.unsettled()))
        for begin in begins:
            client = self.another(store)
            begin(client)
            if client is not store:
                client.close()

    def test_iam_policy(self, store: JournalStore) -> None:
        """Each role has a policy document of its own, or the store has no policies at all."""
        assert isinstance(store, StoreAdmin)
        try:
            documents = [store.iam_policy(role) for role in ROLES]
        except UnsupportedByStore:
            for role in ROLES:
                with pytest.raises(UnsupportedByStore):
                    store.iam_policy(role)
            return
        for document in documents:
            assert document["Version"] == "2012-10-17"
            assert all(statement["Effect"] == "Allow" for statement in document["Statement"])
        assert documents[0] != documents[1] != documents[2]

    def test_compact(self, store: JournalStore) -> None:
        """Compacting, twice and between appends, changes nothing of what is read."""
        if not isinstance(store, Compacts):
            pytest.skip("the store has nothing to compact")
        made = events(30)
        store.append(made[:20])
        _, cursor = everything(store)
        store.compact("s1")
        store.append(made[15:])
        looked_at: list[int] = []
        store.compact(progress=looked_at.append)
        assert looked_at == sorted(looked_at)
        store.compact("s1")
        assert list(store.read("s1")) == made
        assert ids(everything(store, cursor)[0]) == ids(made[20:])

    def test_prune(self, store: JournalStore) -> None:
        """Sessions last updated before the time go with all that is theirs, and may begin anew; the others stay."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: prune(store, LIMIT_NS))
        for session_id, updated_ns in (("old", BEFORE_NS), ("new", LIMIT_NS)):
            store.append(_ended(session_id, updated_ns))
            store.append_context(f"{session_id}-instance", 0, _context(session_id))
            if isinstance(store, BlobStore) and store.capabilities.blobs:
                store.put_blob(session_id, "a" * 32, b"1")
        before = list(store.read("new"))
        assert prune(store, LIMIT_NS, dry_run=True) == 1
        assert len(list(store.read("old"))) == 4
        assert prune(store, LIMIT_NS) == 1
        assert store.head("old") is None
        assert [head.session_id for head in current_sessions(store)] == ["new"]
        assert list(store.read("old")) == []
        assert list(store.read_context("old-instance")) == []
        assert list(store.read("new")) == before
        assert len(list(store.read_context("new-instance"))) == 2
        if isinstance(store, BlobStore) and store.capabilities.blobs:
            assert store.get_blob("old", "a" * 32) is None
            assert store.get_blob("new", "a" * 32) == b"1"
        assert prune(store, LIMIT_NS) == 0
        store.append_context("old-instance", 0, _context("old"))
        assert list(store.read_context("old-instance")) == _context("old")

    def test_prune_spares_the_living(self, store: JournalStore) -> None:
        """A session in progress stays however old its last event, while a writer with an open step was heard of."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: prune(store, LIMIT_NS))
        for session_id, seen_ns in (
            ("waiting", LIMIT_NS + 1),
            ("maybe", LIMIT_NS - 10**9),
            ("lost", BEFORE_NS - DAY_NS),
        ):
            store.append(_ended(session_id, BEFORE_NS - DAY_NS)[:1])
            head = current(store, session_id)
            assert head is not None
            store.write_head(msgspec.structs.replace(head, writers={"w1": seen_ns, "w2": LIMIT_NS + DAY_NS}))
        assert prune(store, LIMIT_NS) == 1
        assert sorted(head.session_id for head in store.sessions()) == ["maybe", "waiting"]

    def test_prune_parts(self, store: JournalStore) -> None:
        """A part goes with its session, never before it, and is not counted; one without its session goes by age."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: prune(store, LIMIT_NS))
        times = {"old": BEFORE_NS, "of-old": BEFORE_NS - 1, "new": LIMIT_NS, "of-new": BEFORE_NS, "of-gone": BEFORE_NS}
        for session_id, updated_ns in times.items():
            store.append(_ended(session_id, updated_ns))
        for part in ("of-old", "of-new", "of-gone"):
            details = {"session": part.removeprefix("of-"), "trace": part}
            for session_id in (part, part.removeprefix("of-")):
                if session_id != "gone":
                    store.append([an_event(1, session_id=session_id, type="SESSION_LINKED", details=details)])
        assert prune(store, LIMIT_NS, dry_run=True) == 1
        assert prune(store, LIMIT_NS) == 1
        left = [head.session_id for head in current_sessions(store, SessionFilter(parts=True))]
        assert left == ["new", "of-new"]
        assert [len(list(store.read(session_id))) for session_id in times] == [0, 0, 3, 3, 0]

    def test_prune_many(self, store: JournalStore) -> None:
        """Many sessions go side by side, whether their heads know all or were never written, and it is said how far."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: prune(store, LIMIT_NS))
        for number in range(40):
            session_id = f"{'old' if number < 30 else 'new'}-{number}"
            store.append(_ended(session_id, BEFORE_NS if number < 30 else LIMIT_NS))
            head = current(store, session_id) if number % 4 else None
            assert head is None or store.write_head(head) is not None
        told: list[tuple[int, int]] = []
        assert prune(store, LIMIT_NS, dry_run=True) == 30
        assert prune(store, LIMIT_NS, progress=lambda done, total: told.append((done, total))) == 30
        assert told == [(done, 30) for done in range(1, 31)]
        left = sorted(f"new-{number}" for number in range(30, 40))
        assert sorted(head.session_id for head in current_sessions(store)) == left == sorted(store.session_ids())
        assert [len(list(store.read(session_id))) for session_id in left] == [2] * 10

    def test_threads(self, store: JournalStore) -> None:
        """One object serves as many threads at once as it says, each in sessions of its own."""

        def live(number: int) -> list[int]:
            counts: list[int] = []
            for turn in range(3):
                session_id = f"s{number}-{turn}"
                store.append(_ended(session_id, BEFORE_NS))
                if store.capabilities.read and store.capabilities.heads:
                    head = current(store, session_id)
                    assert head is not None
                    written = store.write_head(head)
                    assert written is not None
                    counts.append(len(list(store.read(session_id))))
                    if store.capabilities.prune and turn:
                        assert isinstance(store, StoreAdmin)
                        assert store.delete_session(session_id, written.cursor, written.version)
            return counts

        threads = store.capabilities.threads
        assert threads >= 1
        found = list(side_by_side(live, range(2 * threads), threads))
        if store.capabilities.read and store.capabilities.heads:
            assert found == [[2, 2, 2]] * 2 * threads
            left = {f"s{number}-{turn}" for number in range(2 * threads) for turn in range(3)}
            if store.capabilities.prune:
                left = {session_id for session_id in left if session_id.endswith("-0")}
            assert {head.session_id for head in current_sessions(store)} == left

    def test_prune_and_followers(self, store: JournalStore) -> None:
        """A cursor from before a prune goes on, and a pruned session can begin anew."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: prune(store, LIMIT_NS))
        store.append(_ended("old", BEFORE_NS))
        _, cursor = everything(store)
        new = _ended("new", LIMIT_NS)
        store.append(new)
        assert prune(store, LIMIT_NS) == 1
        assert ids(everything(store, cursor)[0]) == ids(new)
        assert ids(everything(store)[0]) == ids(new)
        again = an_event(session_id="old", timestamp_ns=LIMIT_NS)
        store.append([again, *events(3, session_id="old")])
        assert list(store.read("old")) == in_order([again, *events(3, session_id="old")])
