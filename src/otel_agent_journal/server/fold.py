"""A session's rows, folded event by event: what an event touches is paired anew, and nothing else.

The tree is the one that `fold_steps` makes of all events, whatever their order. Content does not stay: of each step its
outline, a few words, and the end of the text that it streams. Used under its owner's lock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import starmap
from typing import Final, NamedTuple

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
from otel_agent_journal.server.streamed import STREAMED, Streamed

GONE_KEPT: Final = 10_000  # keys of rows that are no more, for readers that come back
_WARNED: Final = ("WARNING", "ERROR")


class Noted(NamedTuple):
    """Something that was noted at a step: a warning, or what a model was asked."""

    at_ns: int
    event_id: str
    attempt: int
    writer: str | None
    warned: bool
    asked: str


class Node:
    """An attempt in the tree. `raw`: the one that it ran in; `above`: the same, where no cycle was cut there."""

    __slots__ = ("above", "attempt", "below", "calling", "cut", "own", "place", "raw", "step", "telling")

    def __init__(self, attempt: Attempt, step: StepState) -> None:
        self.attempt = attempt
        self.step = step
        self.raw: Node | None = None
        self.cut = False
        self.above: Node | None = None
        self.below: dict[str, Node] = {}
        self.place: Place | None = None
        self.own = call_of_attempt(attempt)
        self.telling = 0  # of those below: in how many something tells what it used
        self.calling = 0

    @property
    def tells(self) -> bool:
        """Whether it, or something beneath it, tells what was used."""
        return self.telling > 0 or (self.own is not None and self.own.is_told)

    @property
    def calls(self) -> bool:
        """Whether it, or something beneath it, is a call."""
        return self.own is not None or self.calling > 0


class StepState:
    """What is known of a step: the events that pair, what was noted, its attempts in order of their start."""

    __slots__ = ("events", "named", "nodes", "noted", "number", "order", "places", "spans", "step_id", "streamed")

    def __init__(self, step_id: str) -> None:
        self.step_id = step_id
        self.events: list[JournalEvent] = []
        self.noted: list[Noted] = []
        self.streamed: dict[tuple[int, str | None], Streamed] = {}
        self.nodes: list[Node] = []
        self.places: list[Place] = []
        self.named: dict[str, Node] = {}  # the attempts that name this step as their parent
        self.spans: tuple[str, ...] = ()
        self.order: tuple[int, str] | None = None
        self.number = 0

    def under_way(self, at_ns: int, own: list[Node] | None = None) -> Node | None:
        """Return the attempt begun last by then, else the first; `own`: those of one's own, where there are any."""
        ones = self.nodes
        if len(ones) > 1 and own:
            ones = own
        if not ones:
            return None
        return ones[max(0, bisect_right(ones, at_ns, key=lambda one: one.attempt.start_ns) - 1)]


class Place:
    """A row: a step at one place, with the attempts made there."""

    __slots__ = ("above", "below", "key", "nodes", "revision", "step")

    def __init__(self, step: StepState, above: Place | None) -> None:
        self.step = step
        self.above = above
        self.below: dict[str, Place] = {}
        self.nodes: list[Node] = []
        self.key = ""
        self.revision = 0

    def seen(self) -> Step:
        """Return it as the step that it is in the tree."""
        last = self.nodes[-1].attempt
        return Step(
            step_id=self.step.step_id,
            parent_step_id=last.parent_step_id,
            kind=last.kind,
            name=last.name,
            attempts=tuple(one.attempt for one in self.nodes),
            orphan=self.above is None and last.parent_step_id is not None,
            number=self.step.number,
        )


class SessionFold:
    """The rows of one session.

    Args:
        session_id: whose they are.
        price: says what calls are billed at.
    """

    def __init__(self, session_id: str, price: Price = lambda _billed: None) -> None:
        self.session_id = session_id
        self.status = StatusState()
        self.revision = 0
        self.running: dict[str, Node] = {}  # attempts that have no ending, by their keys
        self.tops: dict[str, Place] = {}
        self.gone: deque[tuple[int, str]] = deque(maxlen=GONE_KEPT)
        self._price = price
        self._steps: dict[str, StepState] = {}
        self._nodes: dict[str, Node] = {}
        self._by_key: dict[str, Place] = {}
        self._recent: OrderedDict[Place, None] = OrderedDict()  # in order of their revisions
        self._touched: dict[Place, None] = {}
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
        if event.type in START_TYPES or event.type in END_TYPES:
            self._pairs(self._step(step_id), event, new=new)
        elif new:
            self._note(self._step(step_id), event)

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
                self._touched.update(dict.fromkeys(step.places))
            return
        warned = event.level in _WARNED
        if not warned and event.type != REQUEST:
            return
        gist = str(with_gist(event).details.get("gist", "")) if event.type == REQUEST else ""
        insort(step.noted, Noted(event.timestamp_ns, event.event_id, event.attempt or 1, event.writer, warned, gist))
        self._touched.update(dict.fromkeys(step.places))

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
        for place in self._touched:
            if place.nodes:
                self.revision += 1
                place.revision = self.revision
                self._recent[place] = None
                self._recent.move_to_end(place)
        self._touched.clear()

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
            self._touched[place] = None
        if changed:
            self._rename(step)
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
            self._tell_above(node, told)
            if was != (node.own is not None and node.own.is_told) and node.calling:
                self._touch_beneath(node)
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
        self._set_raw(node, None)
        for child in list(node.below.values()):
            self._set_raw(child, None)
        self._leave(node)
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
        self._set_raw(node, above)

    def _set_raw(self, node: Node, above: Node | None) -> None:
        """Change what an attempt ran in; of a cycle that this closes the earliest member is the top."""
        if node.raw is above and node.place is not None:
            return
        if self._in_cycle(node):
            for member in self._cycle_of(node):
                if member.cut:
                    member.cut = False
                    if member is not node:
                        self._set_above(member, member.raw)
        node.raw = above
        node.cut = False
        if above is not None and (node.below or above is node) and self._in_cycle(node):
            top = min(self._cycle_of(node), key=lambda one: by_start(one.attempt))
            top.cut = True
            if top is not node:
                self._set_above(top, None)
        self._set_above(node, None if node.cut else above)

    def _in_cycle(self, node: Node) -> bool:
        """Tell whether going up from an attempt leads back to it."""
        at, steps = node.raw, 0
        while at is not None and at is not node and steps <= len(self._nodes):
            at, steps = at.raw, steps + 1
        return at is node

    def _cycle_of(self, node: Node) -> Iterator[Node]:
        members = [node]
        at = node.raw
        while at is not None and at is not node:
            members.append(at)
            at = at.raw
        return iter(members)

    def _set_above(self, node: Node, above: Node | None) -> None:
        before = node.above
        if before is not above:
            if before is not None:
                before.below.pop(node.attempt.key, None)
                self._count(before, tells=-int(node.tells), calls=-int(node.calls))
            node.above = above
            if above is not None:
                above.below[node.attempt.key] = node
                self._count(above, tells=int(node.tells), calls=int(node.calls))
        self._settle_in(node)

    def _count(self, node: Node, *, tells: int, calls: int) -> None:
        """Count below an attempt what tells and what calls, and so on above it as far as that changes anything."""
        at: Node | None = node
        while at is not None and (tells or calls):
            told = at.tells, at.calls
            at.telling += tells
            at.calling += calls
            if at.place is not None:
                self._touched[at.place] = None
            tells, calls = int(at.tells) - int(told[0]), int(at.calls) - int(told[1])
            at = at.above

    def _tell_above(self, node: Node, told: tuple[bool, bool]) -> None:
        if node.above is not None:
            tells, calls = int(node.tells) - int(told[0]), int(node.calls) - int(told[1])
            self._count(node.above, tells=tells, calls=calls)

    def _touch_beneath(self, node: Node) -> None:
        pending = list(node.below.values())
        while pending:
            one = pending.pop()
            if one.place is not None:
                self._touched[one.place] = None
            pending += one.below.values()

    # --- rows ---

    def _settle_in(self, node: Node) -> None:
        """Put an attempt, and those beneath it, at the places where they belong."""
        pending = [node]
        while pending:
            one = pending.pop()
            above = None if one.above is None else one.above.place
            if one.above is not None and above is None:
                continue  # which is about to be put in its place, and its own with it
            old = one.place
            if old is not None and old.above is above:
                continue
            siblings = self.tops if above is None else above.below
            target = siblings.get(one.step.step_id)
            if target is None and old is not None and len(old.nodes) == 1:
                self._move(old, above)
                continue
            if old is not None:
                self._leave(one)
            if target is None:
                target = siblings[one.step.step_id] = Place(one.step, above)
                one.step.places.append(target)
            one.place = target
            target.nodes.append(one)
            target.nodes.sort(key=lambda node: by_start(node.attempt))
            self._touched[target] = None
            self._rename(one.step)
            pending += one.below.values()

    def _move(self, place: Place, above: Place | None) -> None:
        before = self.tops if place.above is None else place.above.below
        before.pop(place.step.step_id, None)
        place.above = above
        (self.tops if above is None else above.below)[place.step.step_id] = place
        self._touched[place] = None

    def _leave(self, node: Node) -> None:
        place = node.place
        if place is None:
            return
        place.nodes.remove(node)
        node.place = None
        self._touched[place] = None
        if not place.nodes:
            before = self.tops if place.above is None else place.above.below
            if before.get(place.step.step_id) is place:
                del before[place.step.step_id]
            place.step.places.remove(place)
            self._recent.pop(place, None)
            self._touched.pop(place, None)
            self._drop_key(place)

    def _rename(self, step: StepState) -> None:
        """Name the rows of a step by it: the one with its first attempt by its id, others with which is their first."""
        for place in step.places:
            if not place.nodes:
                continue
            ordinal = place.nodes[0].attempt.ordinal
            name = step.step_id.replace("~", "~~")
            key = name if place.nodes[0] is (step.nodes[0] if step.nodes else None) else f"{name}~{ordinal}"
            if key != place.key:
                self._drop_key(place)
                place.key = key
                self._by_key[key] = place
                self._touched[place] = None
                self._touched.update(dict.fromkeys(place.below.values()))

    def _drop_key(self, place: Place) -> None:
        if place.key and self._by_key.get(place.key) is place:
            del self._by_key[place.key]
            self.revision += 1
            self.gone.append((self.revision, place.key))
        place.key = ""

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
                self._touched.update(dict.fromkeys(step.places))
        self._moved_from = None

    # --- rows out ---

    @property
    def places(self) -> Iterator[Place]:
        """Every row, in order of their numbers."""
        for _, _, step_id in self._order:
            yield from self._steps[step_id].places

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._by_key)

    def place(self, key: str) -> Place | None:
        """Return the row with a key."""
        return self._by_key.get(key)

    def step(self, step_id: str) -> StepState | None:
        """Return what is known of a step."""
        found = self._steps.get(step_id)
        return found if found is not None and found.nodes else None

    def since(self, revision: int) -> tuple[list[Place], list[str]] | None:
        """Return the rows that changed since a revision, and the keys of those that are gone; None: it is too old."""
        gone = [key for at, key in self.gone if at > revision and key not in self._by_key]
        if len(self.gone) == GONE_KEPT and self.gone[0][0] > revision:
            return None
        changed: list[Place] = []
        for place in reversed(self._recent):
            if place.revision <= revision:
                break
            changed.append(place)
        return changed[::-1], gone

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
