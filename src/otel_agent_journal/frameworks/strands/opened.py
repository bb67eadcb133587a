"""What is open of each owner: the invocations of an agent, or the runs of a graph or swarm, the latest one last.

Owners are known by their identity, for one that runs is held by its caller. Finalizers may end what is open while the
table is looked at, so nothing here goes over its items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

_One = TypeVar("_One")


class Opened(Generic[_One]):
    """A table of what is open."""

    def __init__(self) -> None:
        self._by_owner: dict[int, list[_One]] = {}

    def __len__(self) -> int:
        return sum(map(len, list(self._by_owner.values())))

    def add(self, owner: Any, one: _One) -> None:
        """Remember what was opened for an owner."""
        self._by_owner.setdefault(id(owner), []).append(one)

    def of(self, owner: Any) -> list[_One]:
        """Return what is open of an owner, the latest one last."""
        return list(self._by_owner.get(id(owner), ()))

    def remove(self, owner: Any, one: Any) -> bool:
        """Forget one of an owner's; tell whether it was still known."""
        return self._remove(id(owner), one)

    def pop(self, owner: Any) -> _One | None:
        """Forget what was opened last for an owner, and return it."""
        latest = self.of(owner)[-1:]
        return latest[0] if latest and self.remove(owner, latest[0]) else None

    def take(self, which: Callable[[_One], bool]) -> list[_One]:
        """Forget what `which` tells of all that is open, and return it."""
        found: list[_One] = []
        for key in list(self._by_owner):
            found += [one for one in list(self._by_owner.get(key, ())) if which(one) and self._remove(key, one)]
        return found

    def _remove(self, key: int, one: Any) -> bool:
        known = self._by_owner.get(key, [])
        try:
            known.remove(one)
        except ValueError:
            return False
        if not known:
            self._by_owner.pop(key, None)
        return True
