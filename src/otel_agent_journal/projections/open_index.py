"""Which open attempts an ending means that does not say when its attempt began, without looking at all that are open.

Our own endings say it, so a fold makes these when the first comes that does not. Attempts are known by their key.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from typing import Final

_AFTER_ANY_KEY: Final = 1 << 64


class OpenByName:
    """The open attempts of each step, number and writer, by when they began. Not thread-safe.

    Args:
        attempts: name, start in nanoseconds and key of those that are open by now.
    """

    __slots__ = ("_names",)

    def __init__(self, attempts: Iterable[tuple[int, int, int]]) -> None:
        self._names: dict[int, list[tuple[int, int]]] = {}
        for name, start_ns, key in sorted(attempts):
            self._names.setdefault(name, []).append((start_ns, key))

    def add(self, name: int, start_ns: int, key: int) -> None:
        """Take an attempt in that is not there."""
        insort(self._names.setdefault(name, []), (start_ns, key))

    def remove(self, name: int, start_ns: int, key: int) -> None:
        """Take an attempt out that is there."""
        attempts = self._names[name]
        del attempts[bisect_left(attempts, (start_ns, key))]
        if not attempts:
            del self._names[name]

    def begun_by(self, name: int, at_ns: int) -> list[int]:
        """Return the keys of those that began no later than a time."""
        attempts = self._names.get(name, [])
        return [key for _, key in attempts[: bisect_right(attempts, (at_ns, _AFTER_ANY_KEY))]]


class OpenByEnding:
    """The attempts by the id that their ending should have, which takes long to make: of each once, when asked for.

    Those that have ended stay; `size` says how many there are, so that they can be dropped for new ones. Not
    thread-safe.

    Args:
        attempts: number (hash of step and attempt), start in nanoseconds and key of those that are open by now.
    """

    __slots__ = ("_ids", "_waiting", "size")

    def __init__(self, attempts: Iterable[tuple[int, int, int]]) -> None:
        self._ids: dict[str, tuple[int, int]] = {}
        self._waiting: dict[int, list[tuple[int, int]]] = {}
        self.size = 0
        for one in attempts:
            self.add(*one)

    def add(self, number: int, start_ns: int, key: int) -> None:
        """Take an attempt in."""
        self._waiting.setdefault(number, []).append((start_ns, key))
        self.size += 1

    def find(self, number: int, ending_id: str, ending_id_of: Callable[[int], str]) -> tuple[int, int] | None:
        """Return start and key of the attempt of a number whose ending has this id.

        `ending_id_of` makes the id of an ending of this number from the start of its attempt.
        """
        for start_ns, key in self._waiting.pop(number, ()):
            self._ids[ending_id_of(start_ns)] = (start_ns, key)
        return self._ids.get(ending_id)
