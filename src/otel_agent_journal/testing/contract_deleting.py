"""The part of the contract about deleting named sessions: all that is theirs goes, and nothing of any other."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store import lineage
from otel_agent_journal.store.deleting import StandsUnder, delete, in_order
from otel_agent_journal.store.protocol import (
    BlobStore,
    Document,
    DocumentStore,
    JournalStore,
    SessionFilter,
    StoreAdmin,
    of_session,
)
from otel_agent_journal.store.rules import current, current_sessions
from otel_agent_journal.testing.builders import an_event, context_events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import ContractSetup, everything

DIGEST = "a" * 32


def _steps(session_id: str, *, ended: bool = True) -> list[JournalEvent]:
    fields: dict[str, Any] = {"session_id": session_id, "step_id": "root", "attempt": 1, "writer": "w1"}
    start = an_event(event_id="start", type="AGENT_START", timestamp_ns=EPOCH_2026_NS, **fields)
    end = an_event(
        event_id="end", type="AGENT_END", timestamp_ns=EPOCH_2026_NS + 5, outcome="ok", duration_ns=5, **fields
    )
    return [start, end] if ended else [start]


class DeletingContract(ContractSetup):
    """What is deleted leaves nothing behind but what others say of it, and may begin anew."""

    def _fill(self, store: JournalStore, session_id: str, *, head: bool = True) -> None:
        store.append(_steps(session_id))
        if store.capabilities.context:
            events = context_events(2, instance_id=f"{session_id}-instance", session_id=session_id)
            store.append_context(f"{session_id}-instance", 0, events)
        if isinstance(store, BlobStore) and store.capabilities.blobs:
            store.put_blob(session_id, DIGEST, b"1")
        if isinstance(store, DocumentStore) and store.capabilities.documents:
            store.put_document(Document(scope=of_session(session_id), name="state", data=b"{}"))
        if head:
            folded = current(store, session_id)
            assert folded is not None
            assert store.write_head(folded) is not None

    def _left_of(self, store: JournalStore, session_id: str) -> list[object]:
        left: list[object] = [*store.read(session_id), *store.instances(session_id)]
        left += [one for one in (store.head(session_id), store.tip(session_id)) if one is not None]
        left += [one for one in store.unsettled() if one == session_id]
        left += list(store.read_context(f"{session_id}-instance")) if store.capabilities.context else []
        if isinstance(store, BlobStore) and store.capabilities.blobs:
            left += list(store.get_blobs(session_id, [DIGEST]).values())
        if isinstance(store, DocumentStore) and store.capabilities.documents:
            left += list(store.documents(of_session(session_id)))
        return left

    def test_delete(self, store: JournalStore) -> None:
        """Events, head, contexts, blobs and documents go, whether a head was written or not; the others stay."""
        assert isinstance(store, StoreAdmin)
        if not store.capabilities.prune:
            with pytest.raises(UnsupportedByStore):
                delete(store, "s1")
            return
        for session_id, head in (("settled", True), ("unsettled", False), ("other", True)):
            self._fill(store, session_id, head=head)
        before = list(store.read("other"))
        for session_id in ("settled", "unsettled"):
            gone = delete(store, session_id)
            assert gone is not None
            assert gone.events == len(before)
            assert self._left_of(store, session_id) == []
            assert delete(store, session_id) is None
        assert delete(store, "nobody") is None
        assert list(store.read("other")) == before
        assert [one.session_id for one in current_sessions(store)] == ["other"]
        assert list(store.session_ids()) == ["other"]
        assert len(self._left_of(store, "other")) >= len(before)

    def test_delete_and_begin_anew(self, store: JournalStore) -> None:
        """A cursor from before goes on, and a session of that name is a new one."""
        assert isinstance(store, StoreAdmin)
        if not store.capabilities.prune:
            pytest.skip("the store deletes nothing")
        self._fill(store, "s1")
        _, cursor = everything(store)
        delete(store, "s1")
        again = _steps("s1", ended=False)
        store.append(again)
        assert list(store.read("s1")) == again
        assert [event.event_id for event in everything(store, cursor)[0]] == ["start"]
        head = current(store, "s1")
        assert head is not None
        assert head.events == 1

    def test_delete_with_parts(self, store: JournalStore) -> None:
        """The traces that are part of a session go with it, those of others stay."""
        assert isinstance(store, StoreAdmin)
        if not store.capabilities.prune:
            pytest.skip("the store deletes nothing")
        for session_id, part in (("s1", "t1"), ("s2", "t2")):
            details = {"session": session_id, "trace": part}
            for one in (session_id, part):
                self._fill(store, one, head=False)
                store.append([an_event(1, session_id=one, type="SESSION_LINKED", details=details)])
        gone = delete(store, "s1")
        assert gone is not None
        assert gone.parts == ("t1",)
        assert self._left_of(store, "t1") == self._left_of(store, "s1") == []
        left = [head.session_id for head in current_sessions(store, SessionFilter(parts=True))]
        assert sorted(left) == ["s2", "t2"]

    def test_delete_what_was_forked(self, store: JournalStore) -> None:
        """A session goes with its forks or after them, never under them: these are read through it."""
        assert isinstance(store, StoreAdmin)
        if not (store.capabilities.prune and store.capabilities.context):
            pytest.skip("the store deletes nothing, or forks nothing")
        self._fill(store, "base", head=False)
        for base, fork in (("base", "fork"), ("fork", "fork of it")):
            lineage.fork(store, f"{base}-instance", 1, f"{fork}-instance", fork, now_ns=EPOCH_2026_NS + 9)
        heads = [head for name in ("base", "fork") if (head := current(store, name)) is not None]
        with pytest.raises(StandsUnder) as refused:
            in_order(store, heads)
        assert refused.value.forks == ("fork of it",)
        names = [head.session_id for head in in_order(store, heads[:1], forks=True)]
        assert names == ["fork of it", "fork", "base"]
        assert [head.session_id for head in in_order(store, list(current_sessions(store)))] == names
        delete(store, "fork of it")
        assert [head.session_id for head in in_order(store, heads)] == ["fork", "base"]
        assert [event.seq for event in lineage.read_through(store, "fork-instance")] == [0, 0]
        for session_id in ("fork", "base"):
            delete(store, session_id)
        assert list(current_sessions(store)) == []

    def test_delete_and_go_on_by_another_client(self, store: JournalStore) -> None:
        """A writer that has heard of no deletion writes behind the cursors of those who follow, and says so."""
        assert isinstance(store, StoreAdmin)
        if not store.capabilities.prune:
            pytest.skip("the store deletes nothing")
        early = self.another(store)
        begun, ended = _steps("s1")
        early.append([begun])
        store.append([ended])
        assert early.write_head(self._head(store)) is not None  # which has all that it wrote
        for number in range(3):
            store.append([an_event(number, session_id="s1")])
        assert store.write_head(self._head(store)) is not None
        assert delete(store, "s1") is not None
        store.append([an_event(7, session_id="s1")])
        seen, cursor = everything(store, session_id="s1")
        assert len(seen) == 1
        late = an_event(8, session_id="s1")
        arrived = early.append([late])
        assert everything(store, cursor, session_id="s1")[0] == [late]
        where = arrived.get("s1") if arrived else None
        assert where is None or where.after == cursor
        early.close()

    def _head(self, store: JournalStore) -> SessionHead:
        head = current(store, "s1")
        assert head is not None
        return head
