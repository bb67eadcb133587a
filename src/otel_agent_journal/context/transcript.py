"""An agent's own list of messages, as events: an append costs itself, and whatever else was done to it is seen.

The agent's framework and its conversation manager change the list as they like: append, trim, put a summary in front,
cut a result short. The transcript knows which events each message of the list is, and writes what differs: messages
behind the end as they are, anything else as CONTEXT_REPLACED, by ranges. Knows no framework.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from otel_agent_journal.context.alignment import Known, matched, new_at_the_end, view_of
from otel_agent_journal.context.blocks import copied, drafts_of_blocks
from otel_agent_journal.context.held import Held
from otel_agent_journal.context.history import MESSAGES, REDACTED, REPLACED, USER, numbers_in, state_after
from otel_agent_journal.context.holding import Holding, staged
from otel_agent_journal.context.log import ContextLog
from otel_agent_journal.context.messages import Draft, Message, Placed, drafts_of_state, placed
from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import derived_id
from otel_agent_journal.store.protocol import JournalStore

Look = Literal["end", "some", "all"]

_MAX_TRIES: Final = 100  # of one append, where others are always first
_TOGETHER: Final = 256  # events of one append
_LOOKED_AT: Final = 128  # messages whose inside `some` compares, at the end and as many before it in turn


class _Plan(NamedTuple):
    """What an append writes, and what is known once it is there: of messages of the list, by their places, and new."""

    drafts: list[Draft]
    settled: dict[int, Known]
    new: list[Known]
    held: Held | None
    joins: bool = True  # the new ones are the next of the list
    order: list[Known] | None = None  # the whole list, where it is another one from then on


class Transcript:
    """The messages and the state of one agent. Not thread-safe.

    Args:
        store: where the journal lives; it must keep contexts.
        instance_id: the agent instance.
        session_id: the session of an instance that is not there yet.
        agent: what its first event says of it.
    """

    def __init__(self, store: JournalStore, instance_id: str, session_id: str, agent: Mapping[str, str]) -> None:
        self._log = ContextLog(store, instance_id, session_id, agent)
        self._known: list[Known] = []
        self._objects: list[Message] = []  # those of `_known`, which the list is compared with at once
        self._state: dict[str, Any] = {}
        self._holding = Holding(self._log)
        self._name = os.urandom(10).hex()
        self._appends = 0
        self._unsure: tuple[int, _Plan] | None = None  # an append whose answer was lost, and where it would be
        self._turn = 0

    # --- reading ---

    def load(self) -> bool:
        """Read what is there; return whether the instance has events."""
        self._log.refresh()
        history = self._log.history
        self._state = state_after(details for _, _, details in self._log.said(history.changes()))
        self._known = [self._as_known(one) for one in self._in_view()]
        self._objects = [one.message for one in self._known]
        self._log.forget()
        return self.is_there

    @property
    def is_there(self) -> bool:
        """Whether the instance has events, as far as is known."""
        return self._log.count > 0

    @property
    def messages(self) -> list[Message]:
        """The messages in view, as they were given; they are the list's own from here on."""
        return list(self._objects)

    @property
    def state(self) -> dict[str, Any]:
        """The state, as it was last written or read."""
        return cast("dict[str, Any]", copied(self._state))

    @property
    def point(self) -> dict[str, Any]:
        """Where the context is: its instance, and how many events there are, those of its bases among them."""
        return {"instance": self._log.instance_id, "seq": self._log.count}

    @property
    def session_id(self) -> str:
        """The session that the instance is in."""
        return self._log.session_id

    def _in_view(self) -> Iterator[Placed]:
        numbers = numbers_in(self._log.history.view())
        return placed(one for one in self._log.said(numbers) if one[1] in MESSAGES)

    def _as_known(self, one: Placed) -> Known:
        by = self._log.history.redactions.get(one.first)
        for _, _, redaction in self._log.said(() if by is None else (by,)):
            one.message["content"] = redaction.get("content")
        return Known(cast("Message", copied(one.message)), one.message, one.first, one.last)

    # --- writing ---

    def follow(self, live: list[Message], state: Mapping[str, Any] | None = None, look: Look = "end") -> None:
        """Write how the list and the state differ from what is there, durably.

        Args:
            live: the list as it is now; it is not changed.
            state: as it is now; None: as it was.
            look: whose inside is looked at of the messages that are the same objects as before: of the last alone; of
                those at the end and some others, which take turns; of all.

        Raises:
            StoreError: it may be that nothing was written; the next call writes what is missing.
        """
        self._make_sure()
        changes = self._changes(state)
        if not self._same(live, look):
            self._replace(live, changes)
            changes = []
        for new in self._batches(live[len(self._known) :]):
            self._extend(new, changes)
            changes = []
        if changes:
            self._append(lambda: _Plan(changes, {}, [], self._holding.held))
        if state is not None:
            self._state = _plain(state)

    def redact_last(self, message: Message) -> bool:
        """Put this in the place of the last message; return whether what it said before is nowhere any more.

        Raises:
            StoreError: call again.
        """
        self._make_sure()
        said, last = cast("Message", copied(message)), self._known[-1]
        erased = self._holding.erase(self._known, said)
        same = [at for at, one in enumerate(self._known) if one is last or one.message is message]
        drafts = [Draft(REDACTED, {"number": self._known[at].first, "content": said.get("content")}) for at in same]
        self._append(lambda: _Plan(drafts, {}, [], self._holding.held))
        for at in same:
            if self._known[at].message is message:  # else the list goes on with what was redacted here
                self._known[at] = self._known[at]._replace(said=said)
        return erased

    def close(self) -> None:
        """Let go of the document of a body that an event has by now."""
        self._holding.close()

    # --- what differs ---

    def _same(self, live: list[Message], look: Look) -> bool:
        """Tell whether the list begins with the messages that are known, as they were."""
        known, count = self._known, len(self._known)
        if count and len(live) >= count and live[count - 1] is not self._objects[-1]:
            self._hold_changed(live, count)
        if not self._begins_as_known(live, count):
            return False
        if count and live[count - 1] is not self._objects[-1]:  # copies that say the same
            self._known = [one._replace(message=message) for one, message in zip(known, live, strict=False)]
            self._objects = live[:count]
        if count and live[count - 1] != self._known[-1].said:
            self._hold_changed(live, count)
        looked_at = self._looked_at(count, look)
        return all(live[at:to] == [one.said for one in self._known[at:to]] for at, to in looked_at)

    def _begins_as_known(self, live: list[Message], count: int) -> bool:
        """Compare the objects of two lists of one length: that looks at no object which is the same in both."""
        if len(live) < count:
            return False
        self._objects += live[count:]
        same = live == self._objects
        del self._objects[count:]
        return same

    def _looked_at(self, count: int, look: Look) -> Iterator[tuple[int, int]]:
        if look == "end":
            yield max(0, count - 1), count
        elif look == "all" or count <= 2 * _LOOKED_AT:
            yield 0, count
        else:
            yield count - _LOOKED_AT, count
            yield self._turn, min(self._turn + _LOOKED_AT, count)
            self._turn = (self._turn + _LOOKED_AT) % count

    def _hold_changed(self, live: list[Message], count: int) -> None:
        """Where the last message is held, and was changed or replaced since, put what it says now in its document."""
        held, last = self._holding.held, self._known[-1]
        if held is None or held.numbers != (last.first,) or live[: count - 1] != self._objects[:-1]:
            return
        if last.first in self._log.history.redactions:  # which says what the message is, whatever the document has
            return
        message = live[count - 1]
        if message.get("role") != "user" or message.get("tracking_id") != last.said.get("tracking_id"):
            return
        said = cast("Message", copied(message))
        self._holding.replace(said)
        self._known[-1] = last._replace(message=message, said=said)
        self._objects[-1] = message

    def _changes(self, state: Mapping[str, Any] | None) -> list[Draft]:
        if state is None:
            return []
        return drafts_of_state(self._state, _plain(state), len(self._log.history.changes()))

    # --- what is written ---

    def _batches(self, new: list[Message]) -> Iterator[list[Message]]:
        """Yield messages in lists whose events fit into one append."""
        most = min(self._log.store.capabilities.max_context_events or _TOGETHER, _TOGETHER) // 2
        batch: list[Message] = []
        events = 0
        for message in new:
            size = 1 + len(cast("list[Any]", message.get("content") or ()))
            if batch and events + size > most:
                yield batch
                batch, events = [], 0
            batch.append(message)
            events += size
        if batch:
            yield batch

    def _extend(self, new: list[Message], changes: list[Draft]) -> None:
        """Append messages behind those that are known."""
        last, said, held = new[-1], [cast("Message", copied(message)) for message in new], None
        if self._holding.possible and last.get("role") == "user":
            asked_again = len(new) == 1 and self._holding.has(self._known) and last is self._objects[-1]
            if self._holding.held is not None and not asked_again:  # one document has one body
                self._append(lambda: self._grown([], [], None, []))
            held = self._holding.begun(said[-1])
        self._append(lambda: self._grown(new, said, held, changes))

    def _grown(self, new: list[Message], said: list[Message], held: Held | None, changes: list[Draft]) -> _Plan:
        """Plan that messages come behind those that are known; that before them is settled, but where it is held on."""
        start, drafts, known = self._log.count, list[Draft](), list[Known]()
        goes_on = held is not None and self._holding.held is not None
        settled = {} if goes_on else self._holding.settle(self._known, start, drafts)
        drafts += changes
        for message, its in zip(new, said, strict=True):
            first = start + len(drafts)
            if held is not None and its is held.message:
                named = {"document": held.document, "body": held.body}
                drafts.append(Draft(USER, {"held": named, "role": "user"}))
                held = held._replace(numbers=(*held.numbers, first))
            else:
                drafts += drafts_of_blocks(its)
            known.append(Known(message, its, first, start + len(drafts)))
        return _Plan(drafts, settled, known, held)

    def _replace(self, live: list[Message], changes: list[Draft]) -> None:
        """Make the messages of a list that are known, or stand before such, what is in view; others' stay."""
        self._log.refresh()
        found = matched(live, self._known)
        kept = live[: len(live) - new_at_the_end(found)]
        made: dict[int, Known] = {}
        unknown = [index for index in range(len(kept)) if found[index] is None]
        for batch in self._batches([live[index] for index in unknown]):
            said = [cast("Message", copied(message)) for message in batch]
            for one in self._append(lambda batch=batch, said=said: self._staged(batch, said)).new:
                made[unknown[len(made)]] = one
        order = [one if (one := found[index]) is not None else made[index] for index in range(len(kept))]
        self._append(lambda: self._seen(order, changes))

    def _staged(self, batch: list[Message], said: list[Message]) -> _Plan:
        start, drafts, known = self._log.count, list[Draft](), list[Known]()
        for message, its in zip(batch, said, strict=True):
            first = start + len(drafts)
            drafts += map(staged, drafts_of_blocks(its))
            known.append(Known(message, its, first, start + len(drafts)))
        return _Plan(drafts, {}, known, self._holding.held, joins=False)

    def _seen(self, order: list[Known], changes: list[Draft]) -> _Plan:
        ours = [*self._known, *order]
        numbers = {number for one in ours for number in range(one.first, one.last)}
        others: list[tuple[int, int]] = []
        if not numbers.issuperset(numbers_in(self._log.history.view())):
            firsts = {one.first for one in ours}
            others = [(one.first, one.last) for one in self._in_view() if one.first not in firsts]
        view = view_of(((one.first, one.last) for one in order), others)
        replaced = Draft(REPLACED, {"view": [list(one) for one in view]})
        return _Plan([*changes, replaced], {}, [], self._holding.held, order=order)

    # --- appending ---

    def _append(self, plan: Callable[[], _Plan]) -> _Plan:
        """Append what is planned, anew whenever another writer was first."""
        for _ in range(_MAX_TRIES):
            made, start = plan(), self._log.count
            if not made.drafts:
                return made
            try:
                done = self._log.append(made.drafts, {0: self._id()})
            except StoreError:
                self._unsure = (start, made)
                raise
            if done:
                self._take(made)
                self._log.forget()
                return made
            self._log.refresh()
        raise StoreError(
            f"instance {self._log.instance_id}: others were first {_MAX_TRIES} times; nothing was written: call again"
        )

    def _id(self) -> str:
        return derived_id(f"{self._name}:{self._appends}")

    def _take(self, plan: _Plan) -> None:
        self._appends += 1
        self._holding.held = plan.held
        for index, one in plan.settled.items():
            self._known[index] = one
        if plan.order is not None:
            self._known = plan.order
            self._objects = [one.message for one in plan.order]
        if plan.joins:
            self._known += plan.new
            self._objects += [one.message for one in plan.new]

    def _make_sure(self) -> None:
        """Find out whether an append whose answer was lost is there."""
        if self._unsure is None:
            return
        start, plan = self._unsure
        self._log.refresh()
        for _, event in self._log.events(start, start + 1):
            if event.event_id == self._id():
                self._take(plan)
        self._unsure = None


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state as every process will read it: bytes stay bytes."""
    return cast("dict[str, Any]", copied(dict(state)))
