"""A session's rows, folded event by event: what an event touches is paired anew, and nothing else.

The tree is the one that `fold_steps` makes of all events, whatever their order. Content does not stay: of each step its
outline, a few words, and the end of the text that it streams. Used under its owner's lock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import starmap
from typing import Final

import msgspec

from otel_agent_journal.event import END_TYPES, REQUEST, START_TYPES, JournalEvent, step_of_span
from otel_agent_journal.pairing import paired
from otel_agent_journal.projections.cost import NO_CALLS, Cost, Price, cost_of, summed
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.paid import call_of_attempt
from otel_agent_journal.projections.status import StatusState, apply, heard
from otel_agent_journal.projections.steps import Attempt, Step, attempt_of, by_start, closed
from otel_agent_journal.projections.verdict import head_of, writers_of
from otel_agent_journal.reading.gists import with_gist
from otel_agent_journal.server.forest import Forest
from otel_agent_journal.server.nodes import Node, Noted, Place, StepState
from otel_agent_journal.server.streamed import STREAMED, Streamed

_WARNED: Final = ("WARNING", "ERROR")


class SessionFold:
    """The rows of one session.

    Args:
        session_id: whose they are.
        price: says what calls are billed at.
    """

    def __init__(self, session_id: str, price: Price = lambda _billed: None) -> None:
        self.session_id = session_id
        self.status = StatusState()
        self.forest = Forest()
        self.running: dict[str, Node] = {}  # attempts that have no ending, by their keys
        self._price = price
        self._steps: dict[str, StepState] = {}
        self._nodes: dict[str, Node] = {}
        self._dirty: dict[str, None] = {}
        self._order: list[tuple[int, str, str]] = []  # start, key and step of each step's first attempt
        self._moved_from: int | None = None
        self._of_span: dict[str, dict[str, None]] = {}
        self._waiting: dict[str, dict[str, None]] = {}  # steps that name a parent which is not there by its id
        self._open_of: dict[str, dict[str, None]] = {}  # writer to steps with an attempt that has no ending
        self._lost: frozenset[str] = frozenset()
        self._texts: dict[str, str] = {}  # equal strings once
        self._streaming: dict[tuple[str, int, str | None], None] = {}  # steps and attempts that streamed something new

    # --- events in ---

    def apply(self, event: JournalEvent) -> None:
        """Take in an event; `settle` works it in. One that was seen before changes nothing."""
        before = len(self.status.seen)
        apply(self.status, event)
        new = len(self.status.seen) > before
        self._wake_writers(event)
        step_id = event.step_id
        if step_id is None:
            return
        step = self._step(step_id)
        step.first_ns = min(step.first_ns, event.timestamp_ns)
        step.last_ns = max(step.last_ns, event.timestamp_ns)
        if event.type in START_TYPES or event.type in END_TYPES:
            self._pairs(step, event, new=new)
        elif new:
            self._note(step, event)

    def heard(self, writers: Mapping[str, int]) -> None:
        """Take in when writers were last seen alive."""
        for writer, at_ns in writers.items():
            heard(self.status, writer, at_ns)

    def lose(self, writers: Collection[str]) -> None:
        """Hold these writers, and no others, for gone: what they left open is interrupted."""
        lost = frozenset(writers)
        for writer in lost ^ self._lost:
            self._dirty.update(self._open_of.get(writer, {}))
        self._lost = lost

    def head(self) -> SessionHead:
        """Return the session's head as the events have it, not judged."""
        return head_of(self.status, self.session_id)

    @property
    def writers(self) -> Mapping[str, int]:
        """When each writer was last seen."""
        return writers_of(self.status)

    def _step(self, step_id: str) -> StepState:
        found = self._steps.get(step_id)
        if found is None:
            found = self._steps[step_id] = StepState(step_id)
        return found

    def _wake_writers(self, event: JournalEvent) -> None:
        """Look again at what a writer left open, where it is marked or held for gone, and this may change that."""
        for writer in (event.writer or "", event.details.get("writer")):
            if isinstance(writer, str) and (writer in self.status.interruptions or writer in self._lost):
                self._dirty.update(self._open_of.get(writer, {}))

    def _pairs(self, step: StepState, event: JournalEvent, *, new: bool) -> None:
        if new:
            step.events.append(self._kept(event))
        else:
            place = next((at for at, one in enumerate(step.events) if one.key == event.key), None)
            known = None if place is None else step.events[place]
            if place is None or known is None or not _comes_first(event, known):
                return
            step.events[place] = self._kept(event)
        self._dirty[step.step_id] = None

    def _note(self, step: StepState, event: JournalEvent) -> None:
        if event.type in STREAMED:
            of = (event.attempt or 1, event.writer)
            text = event.details.get("text")
            if isinstance(text, str):
                step.streamed.setdefault(of, Streamed()).add(event.timestamp_ns, event.event_id, text)
                self._streaming[step.step_id, *of] = None
                self.forest.touch(step.places)
            return
        warned = event.level in _WARNED
        if not warned and event.type != REQUEST:
            return
        gist = str(with_gist(event).details.get("gist", "")) if event.type == REQUEST else ""
        insort(step.noted, Noted(event.timestamp_ns, event.event_id, event.attempt or 1, event.writer, warned, gist))
        self.forest.touch(step.places)

    def _kept(self, event: JournalEvent) -> JournalEvent:
        """Return what stays of an event; strings that many have in common are kept once."""
        one = self._texts.setdefault
        shown = with_gist(event)
        return msgspec.structs.replace(
            shown,
            session_id=self.session_id,
            type=one(event.type, event.type),
            name=None if event.name is None else one(event.name, event.name),
            writer=None if event.writer is None else one(event.writer, event.writer),
            step_id=self._steps[event.step_id or ""].step_id,
            parent_step_id=None if event.parent_step_id is None else one(event.parent_step_id, event.parent_step_id),
            trace_id=None if event.trace_id is None else one(event.trace_id, event.trace_id),
            digest=None,
        )

    # --- working in ---

    def settle(self) -> None:
        """Work in what was applied: rows that changed have a new revision afterwards."""
        while self._dirty:
            step_id = next(iter(self._dirty))
            del self._dirty[step_id]
            self._repair(self._steps[step_id])
        self._renumber()
        self.forest.stamp()

    def _repair(self, step: StepState) -> None:
        """Pair the events of one step anew."""
        ordered = sorted(step.events, key=lambda one: (one.timestamp_ns, one.event_id))
        found = [closed(one, self.status, self._lost) for one in starmap(attempt_of, paired(ordered))]
        found = sorted(map(self._with_parent, found), key=by_start)
        found = [
            one if one.ordinal == ordinal else msgspec.structs.replace(one, ordinal=ordinal)
            for ordinal, one in enumerate(found, start=1)
        ]
        before = step.nodes
        shape = [(one.attempt.key, one.attempt.start_ns, one.attempt.writer) for one in before]
        known = {one.attempt.key: one for one in before}
        step.nodes = [self._updated(known.pop(one.key, None), one, step) for one in found]
        changed = shape != [(one.key, one.start_ns, one.writer) for one in found]
        for node in known.values():
            self._remove(node)
        if changed:
            self._ordered(step)
            for node in list(step.named.values()):
                self._link(node)
        for node in step.nodes:
            self._link(node)
        for place in {id(place): place for node in step.nodes if (place := node.place)}.values():
            place.nodes.sort(key=lambda node: by_start(node.attempt))
            self.forest.touch((place,))
        if changed:
            self.forest.rename(step)
        self._runs(step, before)
        self._spans(step, new=not before)

    def _updated(self, node: Node | None, attempt: Attempt, step: StepState) -> Node:
        """Return the node of an attempt with what is now known of it."""
        if node is None:
            node = Node(attempt, step)
            self._nodes[attempt.key] = node
            self._name(node, attempt.parent_step_id, added=True)
        else:
            told = node.tells, node.calls
            was = node.own is not None and node.own.is_told
            if node.attempt.parent_step_id != attempt.parent_step_id:
                self._name(node, node.attempt.parent_step_id, added=False)
                self._name(node, attempt.parent_step_id, added=True)
            node.attempt = attempt
            node.own = call_of_attempt(attempt)
            self.forest.tell_above(node, told)
            if was != (node.own is not None and node.own.is_told) and node.calling:
                self.forest.touch_beneath(node)
        return node

    def _runs(self, step: StepState, before: Iterable[Node]) -> None:
        """Keep in mind which attempts have no ending, and whose they are."""
        open_ = {
            one.attempt.writer or ""
            for one in step.nodes
            if one.attempt.outcome is None or one.attempt.reason is not None
        }
        for writer in {one.attempt.writer or "" for one in (*before, *step.nodes)}:
            if writer in open_:
                self._open_of.setdefault(writer, {})[step.step_id] = None
            elif writer in self._open_of:
                self._open_of[writer].pop(step.step_id, None)
        for node in step.nodes:
            if node.attempt.outcome is None:
                self.running[node.attempt.key] = node
            else:
                self.running.pop(node.attempt.key, None)

    def _name(self, node: Node, parent: str | None, *, added: bool) -> None:
        if parent is None:
            return
        if added:
            self._step(parent).named[node.attempt.key] = node
        else:
            self._step(parent).named.pop(node.attempt.key, None)

    def _remove(self, node: Node) -> None:
        """Take an attempt out that the events no longer tell of."""
        self._name(node, node.attempt.parent_step_id, added=False)
        self.forest.set_raw(node, None)
        for child in list(node.below.values()):
            self.forest.set_raw(child, None)
        self.forest.leave(node)
        self.running.pop(node.attempt.key, None)
        del self._nodes[node.attempt.key]

    def _with_parent(self, attempt: Attempt) -> Attempt:
        """Return an attempt with the step that it names as its parent by the span of that."""
        named = attempt.parent_step_id
        if named is None or (named in self._steps and self._steps[named].events):
            return attempt
        self._waiting.setdefault(named, {})[attempt.step_id] = None
        steps = self._of_span.get(named)
        return msgspec.structs.replace(attempt, parent_step_id=min(steps)) if steps else attempt

    def _spans(self, step: StepState, *, new: bool) -> None:
        """Tell those that wait for a step by its span, or by its id, that it is there."""
        if new:
            self._dirty.update(self._waiting.pop(step.step_id, {}))
        spans = tuple(
            dict.fromkeys(
                step_of_span(one.attempt.trace_id, one.attempt.span_id)
                for one in step.nodes
                if one.attempt.trace_id is not None and one.attempt.span_id is not None
            )
        )
        if spans == step.spans:
            return
        for name in step.spans:
            self._of_span[name].pop(step.step_id, None)
        for name in spans:
            self._of_span.setdefault(name, {})[step.step_id] = None
        for name in {*step.spans, *spans}:
            self._dirty.update(self._waiting.get(name, {}))
        step.spans = spans

    # --- who is below whom ---

    def _link(self, node: Node) -> None:
        """Hang an attempt below the one at its parent step that was under way when it began."""
        attempt = node.attempt
        step = None if attempt.parent_step_id is None else self._steps.get(attempt.parent_step_id)
        above = None
        if step is not None and step.nodes:
            own = [one for one in step.nodes if one.attempt.writer == attempt.writer] if len(step.nodes) > 1 else None
            above = step.under_way(attempt.start_ns, own)
        self.forest.set_raw(node, above)

    def _ordered(self, step: StepState) -> None:
        """Put a step where it stands among all, by its first attempt."""
        first = None if not step.nodes else (step.nodes[0].attempt.start_ns, step.nodes[0].attempt.key)
        if first == step.order:
            return
        if step.order is not None:
            at = bisect_left(self._order, (*step.order, step.step_id))
            del self._order[at]
            self._moved_from = at if self._moved_from is None else min(at, self._moved_from)
        step.order = first
        if first is not None:
            entry = (*first, step.step_id)
            at = bisect_left(self._order, entry)
            self._order.insert(at, entry)
            self._moved_from = at if self._moved_from is None else min(at, self._moved_from)

    def _renumber(self) -> None:
        if self._moved_from is None:
            return
        for number in range(self._moved_from, len(self._order)):
            step = self._steps[self._order[number][2]]
            if step.number != number + 1:
                step.number = number + 1
                self.forest.touch(step.places)
        self._moved_from = None

    # --- rows out ---

    @property
    def places(self) -> Iterator[Place]:
        """Every row, in order of their numbers."""
        for _, _, step_id in self._order:
            yield from self._steps[step_id].places

    @property
    def revision(self) -> int:
        """What grows with each change of a row."""
        return self.forest.revision

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.forest.by_key)

    def place(self, key: str) -> Place | None:
        """Return the row with a key."""
        return self.forest.by_key.get(key)

    def state(self, step_id: str) -> StepState | None:
        """Return what is known of a step."""
        found = self._steps.get(step_id)
        return found if found is not None and found.nodes else None

    def numbered(self, number: int) -> StepState | None:
        """Return what is known of the step with a number."""
        return self._steps[self._order[number - 1][2]] if 1 <= number <= len(self._order) else None

    def step(self, step_id: str) -> Step | None:
        """Return a step with all its attempts, wherever they were made, without their content; None: there is none."""
        found = self.state(step_id)
        if found is None:
            return None
        first, last = found.nodes[0], found.nodes[-1].attempt
        depth, above = 0, first.above
        while above is not None:
            depth, above = depth + 1, above.above
        return Step(
            step_id=step_id,
            parent_step_id=last.parent_step_id,
            kind=last.kind,
            name=last.name,
            attempts=tuple(node.attempt for node in found.nodes),
            depth=depth,
            orphan=depth == 0 and last.parent_step_id is not None,
            number=found.number,
        )

    def numbers(self) -> dict[str, int]:
        """Return the numbers of all steps, by their ids."""
        return {step_id: number for number, (_, _, step_id) in enumerate(self._order, start=1)}

    def costs(self, step_id: str) -> dict[str, Cost]:
        """Return what the attempts at a step cost themselves, by their keys."""
        found = self.state(step_id)
        return {} if found is None else {node.attempt.key: self._cost_of(node) for node in found.nodes}

    def noted_in(self, place: Place) -> list[Noted]:
        """Return what was noted during the attempts of a row."""
        step = place.step
        if len(step.places) == 1:
            return step.noted
        return [one for one in step.noted if (node := self._noted_at(step, one)) is not None and node.place is place]

    def streamed_by(self, place: Place) -> Streamed | None:
        """Return what the last attempt of a row streams."""
        last = place.nodes[-1].attempt
        return place.step.streamed.get((last.attempt, last.writer))

    def told(self) -> Iterator[tuple[Place, Attempt, int, str]]:
        """Yield what was streamed since this was last asked: row, attempt, offset and text."""
        streaming, self._streaming = self._streaming, {}
        for step_id, attempt, writer in streaming:
            step = self._steps[step_id]
            pieces = step.streamed[attempt, writer].told()
            nodes = [one for one in step.nodes if (one.attempt.attempt, one.attempt.writer) == (attempt, writer)]
            if nodes and (place := nodes[-1].place) is not None:
                for offset, text in pieces:
                    yield place, nodes[-1].attempt, offset, text

    def noted_by_last(self, place: Place) -> Iterable[Noted]:
        """Return what was noted during the last attempt of a row, the latest first."""
        last = place.nodes[-1]
        noted = reversed(place.step.noted)
        if len(place.step.nodes) == 1:
            return noted
        return (one for one in noted if self._noted_at(place.step, one) is last)

    @staticmethod
    def _noted_at(step: StepState, noted: Noted) -> Node | None:
        own = [one for one in step.nodes if (one.attempt.attempt, one.attempt.writer) == (noted.attempt, noted.writer)]
        return step.under_way(noted.at_ns, own)

    def cost(self, place: Place) -> Cost:
        """Return what the attempts of a row cost themselves."""
        return summed(map(self._cost_of, place.nodes))

    def _cost_of(self, node: Node) -> Cost:
        if node.own is None or node.telling:
            return NO_CALLS
        if not node.own.is_told:
            if node.calling:
                return NO_CALLS
            above = node.above
            while above is not None:
                if above.own is not None and above.own.is_told and not above.telling:
                    return NO_CALLS
                above = above.above
        return cost_of(node.own, self._price)


def _comes_first(event: JournalEvent, known: JournalEvent) -> bool:
    """Tell which of two copies that came through two doors stays, whichever came first."""
    return (event.writer or "") < (known.writer or "")
