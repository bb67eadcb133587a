"""A long listing, read at several places at once.

A listing goes on from the last name of its page before, so that a hundred pages are a hundred answers to wait for.
Names here begin with a number, in folders of 10,000 numbers, since a server that keeps objects on a file system reads
the names of a folder all at once. How far one page goes tells about where those behind it begin. What is between two
such numbers is a part, read to its end whatever is in it: a wrong guess costs a request, and leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_agent_journal.threads import side_by_side
from otel_agent_journal_s3.answers import Item
from otel_agent_journal_s3.objects import AT_ONCE, PAGE, Bucket

DIGITS: Final = 12
_OF_FOLDER: Final = 8  # digits
_FIRST: Final = 4  # pages that are read one after the other: more is a long listing
_PAGES: Final = 4  # that a part should have


def written(number: int) -> str:
    """Return a number below 10 ** `DIGITS` as names begin with it."""
    digits = f"{number:0{DIGITS}d}"
    return f"{digits[:_OF_FOLDER]}/{digits[_OF_FOLDER:]}"


def number_in(name: str) -> int | None:
    """Return the number that a name begins with; None for what somebody else put there."""
    digits = name[:_OF_FOLDER] + name[_OF_FOLDER + 1 : DIGITS + 1]
    is_one = len(digits) == DIGITS and digits.isdecimal() and name[_OF_FOLDER] == "/"
    return int(digits) if is_one else None


def in_parts(bucket: Bucket, folder: str, after: str, until: str, size: int = PAGE) -> Iterator[Item]:
    """Yield the objects below a folder whose names begin with a number, in order, behind one name and up to another.

    Args:
        bucket: where they are.
        folder: with its slash.
        after: the name behind which they are.
        until: a name before which they are; some behind it may be given.
        size: how many a page has.
    """
    first = 0
    for _ in range(_FIRST):
        items, more, _ = bucket.page(folder, after, size)
        yield from items
        if not more or not items or items[-1].name >= until:
            return
        first, after = first or number_in(items[0].name.removeprefix(folder)) or 0, items[-1].name
    last = number_in(after.removeprefix(folder))
    if last is None:
        yield from bucket.list(folder, after)
        return
    parts = _Parts(bucket, folder, after, until, size)
    for items in side_by_side(parts.read, parts.following(last, max(1, last - first)), AT_ONCE):
        yield from items


class _Parts:
    def __init__(self, bucket: Bucket, folder: str, after: str, until: str, size: int) -> None:
        self._bucket = bucket
        self._folder = folder
        self._after = after
        self._until = until
        self._size = size
        self._next = 0  # the number up to which nothing is left to be found
        self._width = 1
        self._is_over = False

    def following(self, number: int, width: int) -> Iterator[tuple[str, str]]:
        """Yield the names between which parts are, as long as there is more."""
        begin, self._width = self._after, width
        while not self._is_over and begin < self._until:
            number = max(number, self._next) + self._width
            end = f"{self._folder}{written(number)}" if number < 10**DIGITS else self._until
            yield begin, end
            begin = end

    def read(self, part: tuple[str, str]) -> list[Item]:
        """Return what is in a part, and learn how wide the next ones should be."""
        after, end = part
        found: list[Item] = []
        pages = 0
        while True:
            items, more, _ = self._bucket.page(self._folder, after, self._size)
            pages += 1
            within = [item for item in items if item.name < end]
            found += within
            if len(within) < len(items):
                self._next = max(self._next, number_in(items[len(within)].name.removeprefix(self._folder)) or 0)
            elif more and items:
                after = items[-1].name
                continue
            else:
                self._is_over = True
            break
        if pages > 2 * _PAGES:
            self._width = max(1, self._width // 2)
        elif 2 * len(found) < self._size:
            self._width *= 2
        return found
