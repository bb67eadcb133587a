"""Which events the messages of an agent's list are, when the list is no longer what it was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from otel_agent_journal.context.history import Ranges, ranges_of
from otel_agent_journal.context.messages import Message, key_of


class Known(NamedTuple):
    """A message of the list: the object, a copy of what it said, and its events: the first, and behind the last."""

    message: Message
    said: Message
    first: int
    last: int


def matched(live: Sequence[Message], known: Sequence[Known]) -> list[Known | None]:
    """Return for each message of a list what is known of it: the same object, or another that says the same."""
    by_object: dict[int, list[Known]] = {}
    for one in reversed(known):
        by_object.setdefault(id(one.message), []).append(one)
    found: list[Known | None] = []
    for message in live:
        same = by_object.get(id(message))
        found.append(same.pop() if same and same[-1].said == message else None)
    if all(found):
        return found
    taken = {one.first for one in found if one is not None}
    by_words: dict[bytes, list[Known]] = {}
    for one in reversed(known):
        if one.first not in taken:
            by_words.setdefault(key_of(one.said), []).append(one)
    for index, message in enumerate(live):
        if found[index] is None and (same := by_words.get(key_of(message))):
            found[index] = same.pop()._replace(message=message)
    return found


def new_at_the_end(found: Sequence[Known | None]) -> int:
    """Return how many messages at the end of a list are new."""
    count = 0
    for one in reversed(found):
        if one is not None:
            break
        count += 1
    return count


def view_of(kept: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]]) -> Ranges:
    """Return the ranges of a list's messages, those that others have written meanwhile behind what was before them."""
    order = list(kept)
    for first, last in others:
        before = [index for index, (begin, _) in enumerate(order) if begin < first]
        order.insert(before[-1] + 1 if before else 0, (first, last))
    return ranges_of(_numbers(order))


def _numbers(order: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in order:
        yield from range(first, last)
