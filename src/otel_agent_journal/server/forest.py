"""Who ran in whom: attempts hung below each other, cycles cut, and each put into its row. Rows have keys and revisions.

A step that was taken up again by another invocation has a row under each. A row is named by its step: the one with the
step's first attempt by its id, others with which of the attempts is their first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Final

from otel_agent_journal.projections.steps import by_start
from otel_agent_journal.server.nodes import Node, Place, StepState

GONE_KEPT: Final = 10_000  # keys of rows that are no more, for readers that come back


class Forest:
    """The rows of a session, and the attempts in them."""

    def __init__(self) -> None:
        self.revision = 0
        self.tops: dict[str, Place] = {}
        self.gone: deque[tuple[int, str]] = deque(maxlen=GONE_KEPT)
        self.by_key: dict[str, Place] = {}
        self._recent: OrderedDict[Place, None] = OrderedDict()  # in order of their revisions
        self._touched: dict[Place, None] = {}

    def touch(self, places: Iterable[Place]) -> None:
        """Hold rows for changed."""
        self._touched.update(dict.fromkeys(places))

    def stamp(self) -> None:
        """Give each row that has changed a new revision."""
        for place in self._touched:
            if place.nodes:
                self.revision += 1
                place.revision = self.revision
                self._recent[place] = None
                self._recent.move_to_end(place)
        self._touched.clear()

    def since(self, revision: int) -> tuple[list[Place], list[str]] | None:
        """Return the rows that changed since a revision, and the keys of those that are gone; None: it is too old."""
        gone = [key for at, key in self.gone if at > revision and key not in self.by_key]
        if len(self.gone) == GONE_KEPT and self.gone[0][0] > revision:
            return None
        changed: list[Place] = []
        for place in reversed(self._recent):
            if place.revision <= revision:
                break
            changed.append(place)
        return changed[::-1], gone

    # --- who is below whom ---

    def set_raw(self, node: Node, above: Node | None) -> None:
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

    @staticmethod
    def _in_cycle(node: Node) -> bool:
        """Tell whether going up from an attempt leads back to it."""
        at, passed = node.raw, set[int]()
        while at is not None and at is not node and id(at) not in passed:
            passed.add(id(at))
            at = at.raw
        return at is node

    @staticmethod
    def _cycle_of(node: Node) -> Iterator[Node]:
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

    def tell_above(self, node: Node, told: tuple[bool, bool]) -> None:
        """Count anew above an attempt what tells and what calls; `told`: what it did before."""
        if node.above is not None:
            tells, calls = int(node.tells) - int(told[0]), int(node.calls) - int(told[1])
            self._count(node.above, tells=tells, calls=calls)

    def touch_beneath(self, node: Node) -> None:
        """Hold the rows of what is beneath an attempt for changed."""
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
                self.leave(one)
            if target is None:
                target = siblings[one.step.step_id] = Place(one.step, above)
                one.step.places.append(target)
            one.place = target
            target.nodes.append(one)
            target.nodes.sort(key=lambda node: by_start(node.attempt))
            self._touched[target] = None
            self.rename(one.step)
            pending += one.below.values()

    def _move(self, place: Place, above: Place | None) -> None:
        before = self.tops if place.above is None else place.above.below
        before.pop(place.step.step_id, None)
        place.above = above
        (self.tops if above is None else above.below)[place.step.step_id] = place
        self._touched[place] = None

    def leave(self, node: Node) -> None:
        """Take an attempt out of its row; a row without any is gone."""
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

    def rename(self, step: StepState) -> None:
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
                self.by_key[key] = place
                self._touched[place] = None
                self._touched.update(dict.fromkeys(place.below.values()))

    def _drop_key(self, place: Place) -> None:
        if place.key and self.by_key.get(place.key) is place:
            del self.by_key[place.key]
            self.revision += 1
            self.gone.append((self.revision, place.key))
        place.key = ""
