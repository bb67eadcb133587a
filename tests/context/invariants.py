"""What holds of every store that keeps contexts, whoever writes, forks and deletes: ten invariants, as one machine.

The machine of `machine.py` knows what a context is (replay equals live, snapshots are caches, forks begin as their
base); here is what the events below it are: gapless, conditional, idempotent, atomic, immutable, and well formed.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from otel_agent_journal.codec import encode_line, intact, sealed
from otel_agent_journal.errors import ConflictError, StoreError, WrongExpectedSequence
from otel_agent_journal.event import SESSION_FORKED, JournalEvent
from otel_agent_journal.store.lineage import base_of
from otel_agent_journal.store.protocol import StoreAdmin
from otel_agent_journal.store.rules import current
from tests.context.machine import ContextMachine, Model


class InvariantsMachine(ContextMachine):
    """Instances and their forks, and what is done to a store past those who keep a context."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_of: dict[str, list[bytes]] = {}  # of each instance, all that was ever read
        self.cursors: dict[str, str | None] = {}
        self.followed: dict[str, set[str]] = {}

    def own(self, name: str) -> list[JournalEvent]:
        return list(self.store.read_context(name))

    # --- past the service: what another writer may do ---

    @rule(name=ContextMachine.instances)
    def comes_too_early_or_late(self, name: str) -> None:
        """Who expects another number than the next one is refused, and nothing is written."""
        own = self.own(name)
        for number in (len(own) - 1, len(own) + 1) if own else ():
            with pytest.raises(WrongExpectedSequence) as refused:
                self.store.append_context(name, number, [_behind(own[-1], number)])
            assert (refused.value.expected, refused.value.actual) == (number, len(own))
        assert self.own(name) == own

    @rule(name=ContextMachine.instances, data=st.data())
    def repeats_itself(self, name: str, data: st.DataObject) -> None:
        """A batch whose answer was lost is repeated: the same is there, once."""
        own = self.own(name)
        if own:
            first = data.draw(st.integers(0, len(own) - 1))
            self.store.append_context(name, first, own[first : first + data.draw(st.integers(1, 3))])

    @rule(name=ContextMachine.instances, data=st.data())
    def says_another_thing_by_the_same_id(self, name: str, data: st.DataObject) -> None:
        """What is there stays as it is: the same id with another content is refused, wherever it is put."""
        own = self.own(name)
        if not own:
            return
        known = data.draw(st.sampled_from(own))
        number = data.draw(st.sampled_from([known.seq or 0, len(own)]))
        other = sealed(msgspec.structs.replace(known, seq=number, details={"forged": True}))
        with pytest.raises((ConflictError, WrongExpectedSequence)):
            self.store.append_context(name, number, [other])

    @rule(name=ContextMachine.instances)
    def brings_a_batch_of_which_one_is_refused(self, name: str) -> None:
        """A batch is there as a whole, or nothing of it."""
        own = self.own(name)
        if not own:
            return
        batch = [_behind(own[-1], len(own) + place) for place in range(3)]
        batch[2] = sealed(msgspec.structs.replace(batch[2], event_id=own[0].event_id))
        with pytest.raises(StoreError):
            self.store.append_context(name, len(own), batch)
        assert self.own(name) == own

    # --- what is deleted ---

    def is_forked(self, name: str) -> bool:
        return any(
            (first := next(self.store.read_context(other, limit=1), None)) is not None
            and (base := base_of(first)) is not None
            and base[0] == name
            for other in self.models
            if other != name
        )

    @precondition(lambda self: isinstance(self.store, StoreAdmin) and self.store.capabilities.prune)
    @rule(name=ContextMachine.instances)
    def is_deleted(self, name: str) -> None:
        """A session that nothing was forked from goes with its instance, and another one of that name begins anew."""
        assert isinstance(self.store, StoreAdmin)
        tip = self.store.context_tip(name)
        if tip is None or self.is_forked(name):
            return
        head = self.store.head(tip.session_id)
        version = 0 if head is None else head.version
        assert self.store.delete_session(tip.session_id, self.store.tip(tip.session_id), version)
        assert self.own(name) == []
        assert self.store.context_tip(name) is None
        assert list(self.store.instances(tip.session_id)) == []
        assert list(self.store.read(tip.session_id)) == []
        self.models[name] = Model()
        for known in (self.bytes_of, self.cursors, self.followed):
            known.pop(name, None)
        for handle in (0, 1):
            self.handles.pop((name, handle), None)

    # --- what always holds ---

    def everything_holds(self) -> None:
        for name in self.models:
            own = self.own(name)
            self._numbered(name, own)
            self._unchanged(name, own)
            self._followed(name, own)
            self._known_by_its_session(name, own)
        self._well_formed()

    def _numbered(self, name: str, own: list[JournalEvent]) -> None:
        """Numbers have no gap, and their order is that of time."""
        assert [event.seq for event in own] == list(range(len(own)))
        times = [event.timestamp_ns for event in own]
        assert times == sorted(times)
        tip = self.store.context_tip(name)
        assert (0 if tip is None else tip.next_seq) == len(own)
        backwards = list(self.store.read_context(name, newest_first=True))
        assert backwards == own[::-1]
        assert list(self.store.read_context(name, len(own) // 2)) == own[len(own) // 2 :]

    def _unchanged(self, name: str, own: list[JournalEvent]) -> None:
        """What was read once is read again, byte for byte, and before whatever came since."""
        now, before = [encode_line(event) for event in own], self.bytes_of.get(name, [])
        assert now[: len(before)] == before
        assert all(map(intact, own[len(before) :]))
        self.bytes_of[name] = now

    def _followed(self, name: str, own: list[JournalEvent]) -> None:
        """Who follows the session gets what who reads it gets, each event once."""
        if not own:
            return
        cursor, seen = self.cursors.get(name), self.followed.setdefault(name, set())
        while True:
            page = self.store.follow(cursor, session_id=own[0].session_id)
            for event in page.events:
                assert event.event_id not in seen
                seen.add(event.event_id)
            cursor = page.cursor
            if not page.events:
                break
        self.cursors[name] = cursor
        assert seen == {event.event_id for event in self.store.read(own[0].session_id)}
        assert {event.event_id for event in own} <= seen

    def _known_by_its_session(self, name: str, own: list[JournalEvent]) -> None:
        """An instance is of its session; a fork and its base say so of each other."""
        if not own:
            return
        session_id = own[0].session_id
        assert name in list(self.store.instances(session_id))
        base = base_of(own[0])
        if base is not None:
            tip = self.store.context_tip(base[0])
            assert tip is not None
            assert base[1] <= tip.next_seq
            for one in (session_id, tip.session_id):
                links = [event for event in self.store.read(one) if event.type == SESSION_FORKED]
                assert any(link.details["fork_instance"] == name for link in links)
            head = current(self.store, session_id)
            assert head is not None
            assert head.forked_from == tip.session_id

    def _well_formed(self) -> None:
        """Every list of messages is one that a model takes: a tool's answer is to a call right before it, once."""
        for name in self.models:
            waiting: list[Any] = []
            for message in self.context(name, 0).get_messages():
                if message["role"] == "tool":
                    assert message["tool_call_id"] in waiting
                    waiting.remove(message["tool_call_id"])
                else:
                    assert waiting == []
                    waiting = [call["id"] for call in message.get("tool_calls", ())]

    def teardown(self) -> None:
        try:
            self.everything_holds()
        finally:
            super().teardown()

    @rule()
    def is_looked_at(self) -> None:
        """All that holds is looked at now and then, and at the end: it reads everything."""
        self.everything_holds()


def _behind(event: JournalEvent, number: int) -> JournalEvent:
    """Return a message of the same instance under another number."""
    return sealed(
        msgspec.structs.replace(
            event,
            event_id=f"{number:032x}",
            seq=number,
            type="USER_MESSAGE",
            timestamp_ns=event.timestamp_ns + 1,
            details={"message": {"role": "user", "content": "by another hand"}},
        )
    )
