"""The part of the contract about what an operator does: preparing a store, looking at it, deleting what is old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import ROLES, BlobStore, Compacts, JournalStore, SessionFilter, StoreAdmin
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import ContractSetup, everything, ids, in_order

LIMIT_NS = EPOCH_2026_NS + 10**12
BEFORE_NS = LIMIT_NS - 1
DAY_NS = 86_400 * 10**9


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
            begins.append(lambda client: client.prune(1))
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
        store.compact()
        store.compact("s1")
        assert list(store.read("s1")) == made
        assert ids(everything(store, cursor)[0]) == ids(made[20:])

    def test_prune(self, store: JournalStore) -> None:
        """Sessions last updated before the time go with all that is theirs, and may begin anew; the others stay."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: store.prune(LIMIT_NS))
        for session_id, updated_ns in (("old", BEFORE_NS), ("new", LIMIT_NS)):
            store.append(events(3, session_id=session_id))
            store.append_context(f"{session_id}-instance", 0, _context(session_id))
            store.write_head(a_head(session_id, updated_ns=updated_ns, status="COMPLETED"))
            if isinstance(store, BlobStore) and store.capabilities.blobs:
                store.put_blob(session_id, "a" * 32, b"1")
        before = list(store.read("new"))
        assert store.prune(LIMIT_NS) == 1
        assert store.head("old") is None
        assert [head.session_id for head in store.sessions()] == ["new"]
        assert list(store.read("old")) == []
        assert list(store.read_context("old-instance")) == []
        assert list(store.read("new")) == before
        assert len(list(store.read_context("new-instance"))) == 2
        if isinstance(store, BlobStore) and store.capabilities.blobs:
            assert store.get_blob("old", "a" * 32) is None
            assert store.get_blob("new", "a" * 32) == b"1"
        assert store.prune(LIMIT_NS) == 0
        store.append_context("old-instance", 0, _context("old"))
        assert list(store.read_context("old-instance")) == _context("old")

    def test_prune_dry_run(self, store: JournalStore) -> None:
        """A dry run says how many sessions would go, and deletes none."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: store.prune(LIMIT_NS, dry_run=True))
        store.append(events(3))
        store.write_head(a_head(updated_ns=BEFORE_NS, status="COMPLETED"))
        assert store.prune(LIMIT_NS, dry_run=True) == 1
        assert list(store.read("s1")) == events(3)
        assert store.head("s1") is not None

    def test_prune_spares_the_living(self, store: JournalStore) -> None:
        """A session in progress stays however old its last event, while a writer with an open step was heard of."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: store.prune(LIMIT_NS))
        for session_id, seen_ns in (
            ("waiting", LIMIT_NS + 1),
            ("maybe", LIMIT_NS - 10**9),
            ("lost", BEFORE_NS - DAY_NS),
        ):
            store.append(events(1, session_id=session_id))
            writers = {"w1": seen_ns, "w2": LIMIT_NS + DAY_NS}
            head = a_head(session_id, updated_ns=BEFORE_NS, status="PROCESSING", writers=writers, open_writers=("w1",))
            store.write_head(head)
        assert store.prune(LIMIT_NS) == 1
        assert sorted(head.session_id for head in store.sessions()) == ["maybe", "waiting"]

    def test_prune_parts(self, store: JournalStore) -> None:
        """A part goes with its session, never before it, and is not counted; one without its session goes by age."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: store.prune(LIMIT_NS))
        heads = {
            "old": (BEFORE_NS, None),
            "of-old": (BEFORE_NS - 1, "old"),
            "new": (LIMIT_NS, None),
            "of-new": (BEFORE_NS, "new"),
            "of-nothing": (BEFORE_NS, "gone"),
        }
        for session_id, (updated_ns, part_of) in heads.items():
            store.append(events(2, session_id=session_id))
            store.write_head(a_head(session_id, updated_ns=updated_ns, status="COMPLETED", part_of=part_of))
        assert store.prune(LIMIT_NS, dry_run=True) == 1
        assert store.prune(LIMIT_NS) == 1
        left = [head.session_id for head in store.sessions(SessionFilter(parts=True))]
        assert left == ["new", "of-new"]
        assert [len(list(store.read(session_id))) for session_id in heads] == [0, 0, 2, 2, 0]

    def test_prune_and_followers(self, store: JournalStore) -> None:
        """A cursor from before a prune goes on, and a pruned session can begin anew."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: store.prune(LIMIT_NS))
        store.append(events(3, session_id="old"))
        store.write_head(a_head("old", updated_ns=BEFORE_NS, status="COMPLETED"))
        _, cursor = everything(store)
        store.append(events(2, session_id="new"))
        assert store.prune(LIMIT_NS) == 1
        assert ids(everything(store, cursor)[0]) == ids(events(2, session_id="new"))
        assert ids(everything(store)[0]) == ids(events(2, session_id="new"))
        again = an_event(session_id="old", timestamp_ns=LIMIT_NS)
        store.append([again, *events(3, session_id="old")])
        assert list(store.read("old")) == in_order([again, *events(3, session_id="old")])
