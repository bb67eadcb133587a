"""Which checkpoints of a LangGraph thread there are after each of its events, and which is the newest. Pure.

A thread is one agent instance: the checkpoints of all its namespaces are events of one sequence (CHECKPOINT_SAVED), and
so are the writes that tasks leave on a checkpoint (CHECKPOINT_WRITES). A checkpoint in a subgraph's namespace says in
`parents` on which ones of the graphs around it its task ran. What is newest is what came last, never what has the
greatest id: clocks differ.

CONTEXT_REWOUND and CONTEXT_FORKED may name in `checkpoint` the one that a namespace goes on from: what ran on that one
before, writes and checkpoints of subgraphs, does not count any more. What is not in view is found by its id still, as
long as nobody deleted it (CHECKPOINTS_DELETED).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.event import (
    CHECKPOINT_SAVED,
    CHECKPOINT_WRITES,
    CHECKPOINTS_DELETED,
    CONTEXT_FORKED,
    CONTEXT_REWOUND,
    EMPTY,
    JournalEvent,
)

Key = tuple[str, str]  # namespace, and the checkpoint's id
NOW: Final = 1 << 62  # behind all numbers


class Saved(NamedTuple):
    """A checkpoint: the number of its event, and what that says plainly."""

    number: int
    ns: str
    id: str
    parent: str | None
    parents: Mapping[str, str]  # by namespace, the checkpoints of the graphs around that its task ran on
    step: int | None = None
    run_id: str | None = None

    @property
    def key(self) -> Key:
        """Its namespace and id."""
        return self.ns, self.id


class _Cut(NamedTuple):
    """An event from which on some namespaces go on from a checkpoint that is named."""

    number: int
    to: int  # how many events counted of those before it
    goes_on_from: Mapping[str, str]


class _Deletion(NamedTuple):
    number: int
    keep: Mapping[str, str]
    run_ids: frozenset[str] | None  # None: whichever run it was of

    def takes(self, key: Key, number: int) -> bool:
        """Tell whether a write on a checkpoint is gone, whoever made the checkpoint."""
        return self.run_ids is None and number < self.number and self.keep.get(key[0]) != key[1]


class Checkpoints:
    """The fold of a thread's events. Mutable: `apply` moves it. Total over all types, known or not."""

    def __init__(self) -> None:
        self.next_number = 0
        self._saved: dict[Key, Saved] = {}
        self._in_namespace: dict[str, list[Saved]] = defaultdict(list)  # in their order
        self._writes: dict[Key, list[int]] = defaultdict(list)
        self._views: list[tuple[int, tuple[tuple[int, int], ...]]] = [(0, ())]  # that are no growth of the one before
        self._cuts: list[_Cut] = []
        self._deletions: list[_Deletion] = []

    def apply(self, event: JournalEvent) -> None:
        """Move by the next event."""
        number, details = self.next_number, event.details
        self.next_number = number + 1
        if event.type == CHECKPOINT_SAVED:
            self._save(number, details)
        elif event.type == CHECKPOINT_WRITES:
            self._writes[_text(details, "ns"), _text(details, "checkpoint")].append(number)
        elif event.type == CONTEXT_REWOUND:
            to = details.get("to")
            if type(to) is int and 0 <= to <= number:
                self._views.append((number + 1, (*self._view(to), (number, number + 1))))
                self._cuts.append(_Cut(number, to, _texts(details.get("checkpoint"))))
        elif event.type == CONTEXT_FORKED and _texts(details.get("checkpoint")):
            self._cuts.append(_Cut(number, number, _texts(details.get("checkpoint"))))
        elif event.type == CHECKPOINTS_DELETED:
            runs = details.get("run_ids")
            run_ids = frozenset(map(str, cast("list[Any]", runs))) if isinstance(runs, list | tuple) else None
            self._deletions.append(_Deletion(number, _texts(details.get("keep")), run_ids))

    # --- what there is ---

    def get(self, ns: str, checkpoint_id: str) -> Saved | None:
        """Return a checkpoint that was not deleted, in view or not."""
        saved = self._saved.get((ns, checkpoint_id))
        return None if saved is None or self._is_deleted(saved) else saved

    def even_deleted(self, ns: str, checkpoint_id: str) -> Saved | None:
        """Return a checkpoint, deleted or not: what others are rebuilt from is there still."""
        return self._saved.get((ns, checkpoint_id))

    def newest(self, ns: str) -> Saved | None:
        """Return the checkpoint that a namespace stands at."""
        return next(self.listed(ns), None)

    def namespaces(self) -> list[str]:
        """Return the namespaces that ever had a checkpoint, in order of their first one."""
        return list(self._in_namespace)

    def listed(self, ns: str | None = None) -> Iterator[Saved]:
        """Yield the checkpoints in view, the last one first, of one namespace or of all."""
        if ns is None:
            found = sorted(self._saved.values(), reverse=True)
        else:
            found = reversed(self._in_namespace.get(ns, ()))
        return (saved for saved in found if self._is_live(saved))

    def all(self) -> Iterator[Saved]:
        """Yield the checkpoints that were not deleted, in view or not, in any order."""
        return (saved for saved in self._saved.values() if not self._is_deleted(saved))

    def is_before(self, saved: Saved, ns: str, checkpoint_id: str) -> bool:
        """Tell whether a checkpoint was there when another one was made, of the same namespace or one around it.

        A subgraph's may be stored before that of the graph around it that it ran on: there `parents` decide.
        """
        other = self._saved.get((ns, checkpoint_id)) or next(
            (one for one in self._saved.values() if one.id == checkpoint_id), None
        )
        if other is None:
            return saved.id < checkpoint_id
        ran_on = saved.parents.get(other.ns)
        if ran_on is None or saved.ns == other.ns:
            return saved.number < other.number
        below = self._saved.get((other.ns, ran_on))
        return below is not None and below.number < other.number

    def writes(self, ns: str, checkpoint_id: str, child: Saved | None = None) -> list[int]:
        """Return the numbers of the events whose writes on a checkpoint count.

        Args:
            ns: the checkpoint's namespace.
            checkpoint_id: the checkpoint.
            child: the checkpoint that was made of them; None for those that are waiting.
        """
        key, until = (ns, checkpoint_id), NOW if child is None else child.number
        found = self._writes.get(key)
        if not found:
            return []
        saved = self._saved.get(key)
        cuts = [cut for cut in self._cuts if cut.number < until and (child is not None or self._in_view(cut.number))]
        return [
            number
            for number in found
            if not any(_drops(cut, key, saved, number) for cut in cuts)
            and not (child is None and any(one.takes(key, number) for one in self._deletions))
        ]

    def point_of(self, saved: Saved) -> int:
        """Return how many events a fork needs that goes on from a checkpoint: with all that it was made of.

        Writes on the checkpoints before it may have been stored after it.
        """
        last, one = saved.number, saved
        while (parent := self.parent_of(one)) is not None:
            last = max(last, *self.writes(*parent.key, child=one), -1)
            one = parent
        return last + 1

    def parent_of(self, saved: Saved) -> Saved | None:
        """Return the checkpoint that one was made from, deleted or not."""
        parent = None if saved.parent is None else self._saved.get((saved.ns, saved.parent))
        return parent if parent is not None and parent.number < saved.number else None

    # --- what counts ---

    def _save(self, number: int, details: Mapping[str, Any]) -> None:
        step, run_id, parent = details.get("step"), details.get("run_id"), details.get("parent")
        saved = Saved(
            number,
            _text(details, "ns"),
            _text(details, "checkpoint"),
            parent if isinstance(parent, str) else None,
            _texts(details.get("parents")),
            step if isinstance(step, int) else None,
            run_id if isinstance(run_id, str) else None,
        )
        self._saved[saved.key] = saved
        self._in_namespace[saved.ns].append(saved)

    def _is_live(self, saved: Saved) -> bool:
        return (
            self._saved.get(saved.key) is saved
            and self._in_view(saved.number)
            and not self._is_deleted(saved)
            and not any(self._in_view(cut.number) and self._abandons(cut, saved) for cut in self._cuts)
        )

    def _abandons(self, cut: _Cut, saved: Saved) -> bool:
        """Tell whether a checkpoint came after the one that its namespace, or one around it, goes on from."""
        if saved.number > cut.number:
            return False
        goes_on_from = cut.goes_on_from.get(saved.ns)
        if goes_on_from is not None:
            known = self._saved.get((saved.ns, goes_on_from))
            return goes_on_from != saved.id and known is not None and known.number < saved.number
        return any(saved.parents.get(ns) == checkpoint for ns, checkpoint in cut.goes_on_from.items())

    def _is_deleted(self, saved: Saved) -> bool:
        return any(
            saved.number < one.number
            and one.keep.get(saved.ns) != saved.id
            and (one.run_ids is None or saved.run_id in one.run_ids)
            for one in self._deletions
        )

    def _in_view(self, number: int) -> bool:
        return any(first <= number < last for first, last in self._view(self.next_number))

    def _view(self, at: int) -> tuple[tuple[int, int], ...]:
        """Return the ranges of numbers that count after so many events."""
        since, ranges = self._views[bisect_right(self._views, at, key=lambda one: one[0]) - 1]
        return (*ranges, (since, at)) if since < at else ranges


def _drops(cut: _Cut, key: Key, saved: Saved | None, number: int) -> bool:
    """Tell whether a write on a checkpoint that was there before a cut, or was named by it, is behind the point."""
    if number > cut.number:
        return False
    if cut.goes_on_from.get(key[0]) == key[1]:
        return True
    return number >= cut.to and saved is not None and saved.number < cut.to


def _text(details: Mapping[str, Any], key: str) -> str:
    value = details.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        return EMPTY
    mapping = cast("Mapping[Any, Any]", value)
    return {str(key): one for key, one in mapping.items() if isinstance(one, str)}
