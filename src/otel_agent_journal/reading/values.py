"""Walks over plain values, however deep these are: nothing here calls itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast


def rebuilt(value: Any, replacement: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Return a value with the mappings in it replaced; what stands in their place is taken as it is.

    Args:
        value: plain data; it is not changed.
        replacement: returns what goes in a mapping's place, or that mapping itself where it stays.
    """
    top: list[Any] = [value]
    pending: list[tuple[Any, Any]] = [(top, 0)]
    while pending:
        within, place = pending.pop()
        one = within[place]
        made: Any
        if isinstance(one, Mapping):
            mapping = cast("Mapping[str, Any]", one)
            within[place] = replacement(mapping)
            if within[place] is not mapping:
                continue
            made = dict(mapping)
            items: Any = made.items()
        else:
            made = list(cast("list[Any]", one)) if isinstance(one, list | tuple) else None
            items = enumerate(made or ())
        if made is not None:
            within[place] = made
            pending.extend((made, key) for key, item in items if isinstance(item, Mapping | list | tuple))
    return top[0]


def mappings_in(value: Any, within: Callable[[Mapping[str, Any]], bool]) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings in a value in their order, an outer one before what is in it.

    `within` says of each whether to look into it as well.
    """
    pending: list[Any] = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            mapping = cast("Mapping[str, Any]", one)
            yield mapping
            if within(mapping):
                pending.extend(reversed(list(mapping.values())))
        elif isinstance(one, list | tuple):
            pending.extend(reversed(cast("list[Any]", one)))
