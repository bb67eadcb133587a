"""Lists, stored as what was added: which elements of a list are those that were there at the last look, and where.

A channel's list is written as parts, in their order: slices of the list that the channel had in an earlier event, and
runs of values, new or stored before. So a list that grows costs what was added, and so does one whose beginning is
trimmed or whose middle is replaced.

An element is known again by its identity, and by being still equal to what it was: of what is made of plain values, or
is a message of LangChain, a copy is kept beside it. Anything else is written each time, and known by what it became.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage

from otel_agent_journal.frameworks.langgraph.checkpoints.values import OWN, Ref

_ATOMS: Final = frozenset((str, int, float, bool, bytes, type(None)))
_MESSAGES: Final = "langchain_core.messages."
_UNSTEADY: Final = object()
_DEPTH: Final = 32

Part = list[int]  # [first, last] of the earlier list, the last not included; or [event's number, first place, count]


class KnownList:
    """The elements of a list as a program holds it, each with what it was, and where it is stored.

    Args:
        number: of the event that the list is in; None where it is in none.
    """

    def __init__(self, elements: Iterable[Any], refs: Sequence[Ref], number: int | None) -> None:
        self.number = number
        self._elements: list[Any] = []
        self._now: list[Any] = []  # what may have been changed in each
        self._then: list[Any] = []  # and how that was
        self._unsteady: list[int] = []
        self.refs: list[Ref] = []
        self._add(elements, refs)

    def refs_of(self, given: list[Any], store: Callable[[Any], Ref]) -> list[Ref] | None:
        """Return where the elements of a list are stored, those that are new by storing them; None: none is known.

        A list that goes on where this one ended is looked at as a whole; of another one each element.
        """
        size = len(self._elements)
        if self.goes_on_in(given):
            refs = list(self.refs)
            if self._now != self._then:
                for index in self._changed():
                    refs[index] = store(given[index])
            for index in self._unsteady:
                refs[index] = store(given[index])
            refs += map(store, given[size:])
            return refs
        places = {id(element): index for index, element in enumerate(self._elements)}
        if not any(id(element) in places for element in given):
            return None
        new = {*self._changed(), *self._unsteady}
        found: list[Ref] = []
        for element in given:
            index = places.get(id(element))
            found.append(store(element) if index is None or index in new else self.refs[index])
        return found

    def goes_on_in(self, given: list[Any]) -> bool:
        """Tell whether a list begins with these very elements."""
        return len(self._elements) <= len(given) and all(map(is_, self._elements, given))

    def became(self, given: list[Any], refs: Sequence[Ref], number: int) -> None:
        """Know a list as it is now, and that it is in an event of that number."""
        size = len(self._elements)
        self.number = number
        if self.refs == refs[:size] and self.goes_on_in(given):
            self._add(given[size:], refs[size:])
        else:
            self.__init__(given, refs, number)

    def _add(self, elements: Iterable[Any], refs: Sequence[Ref]) -> None:
        self.refs += refs
        for element in elements:
            now, then = _looked_at(element)
            if then is _UNSTEADY:
                self._unsteady.append(len(self._elements))
                now = then = None
            self._elements.append(element)
            self._now.append(now)
            self._then.append(then)

    def _changed(self) -> Iterable[int]:
        return [index for index, now in enumerate(self._now) if now != self._then[index]]


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


def _looked_at(element: Any) -> tuple[Any, Any]:
    """Return what of an element may change, and a copy of it as it is."""
    kind = cast("type[Any]", type(element))
    if kind in _ATOMS:
        return element, element
    if isinstance(element, BaseMessage) and kind.__module__.startswith(_MESSAGES):
        return element.__dict__, _copy(element.__dict__)
    return element, _copy(element)


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
