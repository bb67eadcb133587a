"""Lists, stored as what was added: which elements of a list are those that were there at the last look, and where.

A channel's list is written as parts, in their order: slices of the list that the channel had in an earlier event, and
runs of values, new or stored before. So a list that grows costs what was added, and so does one whose beginning is
trimmed or whose middle is replaced.

An element is known again by its identity, and by being still what it was. A message of LangChain is where its content
is the same object; of the last ones a copy is kept, and all that they have is compared. So it is with what is made of
plain values. Anything else is written each time, and known by what it became.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import is_, itemgetter
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage

from otel_agent_journal.frameworks.langgraph.checkpoints.values import OWN, Ref

_ATOMS: Final = frozenset((str, int, float, bool, bytes, type(None)))
_MESSAGES: Final = "langchain_core.messages."
_UNSTEADY: Final = object()
_DEPTH: Final = 32
_content: Final = itemgetter("content")
WATCHED: Final = 64  # messages at the end of a list that are compared in all that they have

Part = list[int]  # [first, last] of the earlier list, the last not included; or [event's number, first place, count]


class KnownList:
    """The elements of a list as a program holds it, each with what it was, and where it is stored.

    Args:
        elements: the list's.
        refs: where they are.
        number: of the event that the list is in.
    """

    def __init__(self, elements: Iterable[Any], refs: Sequence[Ref], number: int) -> None:
        self.number = number
        self._elements: list[Any] = []
        self._looked_at: list[Any] | None = None  # a list that was found to begin with these elements
        self.refs: list[Ref] = []
        self._messages: list[dict[str, Any]] = []  # the fields of each, what their content was, and their places
        self._contents: list[Any] = []
        self._message_at: list[int] = []
        self._watched: deque[tuple[int, Any, Any]] = deque(maxlen=WATCHED)  # of the last ones all that they were
        self._plain_at: list[int] = []  # of what is no message: its place, itself, and how it was
        self._plain_now: list[Any] = []
        self._plain_then: list[Any] = []
        self._unsteady: list[int] = []
        self._add(list(elements), refs)

    def refs_of(self, given: list[Any], store: Callable[[Any], Ref]) -> list[Ref] | None:
        """Return where the elements of a list are stored, those that are new by storing them; None: none is known.

        A list that goes on where this one ended is looked at as a whole; of another one each element.
        """
        new = self._changed()
        if self.goes_on_in(given):
            refs = list(self.refs)
            for index in sorted(new):
                refs[index] = store(given[index])
            refs += map(store, given[len(refs) :])
            return refs
        places = {id(element): index for index, element in enumerate(self._elements)}
        if not any(id(element) in places for element in given):
            return None
        found: list[Ref] = []
        for element in given:
            index = places.get(id(element))
            found.append(store(element) if index is None or index in new else self.refs[index])
        return found

    def goes_on_in(self, given: list[Any]) -> bool:
        """Tell whether a list begins with these very elements."""
        if given is not self._looked_at:
            if len(self._elements) > len(given) or not all(map(is_, self._elements, given)):
                return False
            self._looked_at = given
        return True

    def became(self, given: list[Any], refs: Sequence[Ref], number: int) -> None:
        """Know a list as it is now, and that it is in an event of that number."""
        size = len(self._elements)
        self.number = number
        if self.refs == refs[:size] and self.goes_on_in(given):
            self._looked_at = None
            self._add(given[size:], refs[size:])
        else:
            self.__init__(given, refs, number)

    def _add(self, elements: list[Any], refs: Sequence[Ref]) -> None:
        first = len(self._elements)
        self._elements += elements
        self.refs += refs
        watched_from = len(self._elements) - WATCHED
        for index, element in enumerate(elements, first):
            kind = cast("type[Any]", type(element))
            if kind in _ATOMS:
                continue
            if isinstance(element, BaseMessage) and kind.__module__.startswith(_MESSAGES):
                fields = cast("dict[str, Any]", element.__dict__)
                self._messages.append(fields)
                self._contents.append(fields["content"])
                self._message_at.append(index)
                if index < watched_from:
                    continue
                then = _copy(fields)
                if then is not _UNSTEADY:
                    self._watched.append((index, fields, then))
                    continue
            elif (then := _copy(element)) is not _UNSTEADY:
                self._plain_at.append(index)
                self._plain_now.append(element)
                self._plain_then.append(then)
                continue
            self._unsteady.append(index)

    def _changed(self) -> set[int]:
        """Return the places of elements that are others by now, or may be."""
        found = set(self._unsteady)
        if not all(map(is_, map(_content, self._messages), self._contents)):
            now = zip(self._message_at, self._messages, self._contents, strict=True)
            found |= {index for index, fields, then in now if fields["content"] is not then}
        found |= {index for index, now, then in self._watched if now != then}
        if self._plain_now != self._plain_then:
            now = zip(self._plain_at, self._plain_now, self._plain_then, strict=True)
            found |= {index for index, now, then in now if now != then}
        return found


def parts_of(refs: Sequence[Ref], earlier: Sequence[Ref]) -> list[Part]:
    """Return a list as slices of an earlier one and runs of values."""
    size = len(earlier)
    if size <= len(refs) and refs[:size] == earlier:
        return [*([[0, size]] if size else []), *_runs(refs[size:])]
    places = {ref: index for index, ref in enumerate(earlier)}
    parts: list[Part] = []
    new: list[Ref] = []
    for ref in refs:
        place = places.get(ref)
        if place is None:
            new.append(ref)
            continue
        if new:
            parts += _runs(new)
            new = []
        if parts and len(parts[-1]) == 2 and parts[-1][1] == place:
            parts[-1][1] = place + 1
        else:
            parts.append([place, place + 1])
    return [*parts, *_runs(new)]


def refs_in(parts: Iterable[Part], number: int, earlier: list[Ref]) -> list[Ref]:
    """Return the list that parts amount to; `earlier` may be changed.

    Args:
        parts: as an event of that number has them.
        number: of the event.
        earlier: the list that slices are of.
    """
    left = list(parts)
    if left and left[0] == [0, len(earlier)] and not any(len(part) == 2 for part in left[1:]):
        found = earlier
        del left[0]
    else:
        found = []
    for part in left:
        if len(part) == 2:
            found += earlier[part[0] : part[1]]
        else:
            event, first, count = part
            event = number if event == OWN else event
            found += [(event, place) for place in range(first, first + count)]
    return found


def _runs(refs: Iterable[Ref]) -> list[Part]:
    runs: list[Part] = []
    for number, place in refs:
        if runs and runs[-1][0] == number and runs[-1][1] + runs[-1][2] == place:
            runs[-1][2] += 1
        else:
            runs.append([number, place, 1])
    return runs


def _copy(value: Any, depth: int = 0) -> Any:
    """Return a copy of what is made of plain values, else `_UNSTEADY`."""
    kind = cast("type[Any]", type(value))
    if kind in _ATOMS:
        return value
    if depth > _DEPTH:
        return _UNSTEADY
    if kind is dict:
        mapping: dict[Any, Any] = {}
        for key, one in value.items():
            copied = one if type(one) in _ATOMS else _copy(one, depth + 1)
            if copied is _UNSTEADY or type(key) not in _ATOMS:
                return _UNSTEADY
            mapping[key] = copied
        return mapping
    if kind is list or kind is tuple:
        items: list[Any] = [_copy(one, depth + 1) for one in value]
        copied = items if kind is list else tuple(items)
        return _UNSTEADY if any(one is _UNSTEADY for one in items) else copied
    return _UNSTEADY
