"""What happens around a fork: one ordered list for the whole process, from which what is closed is taken again.

A child inherits locks, maps, connections, pools of random numbers and the belief in threads that are not there. Whoever
owns such a thing joins the list with its place in it: ids first, since whatever starts over takes new ones, threads
last, since they use all the rest. What is on the list is held weakly. A child that inherits an flock keeps it alive for
as long as it runs, so its parent's death would go unnoticed: `FileLock` closes its copy here.
"""

from __future__ import annotations

import itertools
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Final

_log = logging.getLogger("otel_agent_journal.forks")


class Place(IntEnum):
    """When somebody's turn is, in the child; before the fork it is the other way round."""

    IDS = 0
    LOCKS = 1
    STORES = 2
    SPOOL = 3
    RECORDING = 4
    DELIVERY = 5
    THREADS = 6


class _Registry:
    """The list. An owner is told by `before_fork`, `after_fork_in_parent` and `after_fork`, those that it has."""

    def __init__(self) -> None:
        self._owners: dict[int, tuple[Place, int, weakref.ref[Any]]] = {}
        self._numbers = itertools.count()
        self._hooked = False
        self.lineage = ""

    def add(self, owner: Any, place: Place) -> None:
        if not self._hooked and hasattr(os, "register_at_fork"):
            self._hooked = True
            os.register_at_fork(
                before=lambda: self._tell("before_fork", backwards=True),
                after_in_parent=lambda: self._tell("after_fork_in_parent"),
                after_in_child=self._begin_child,
            )
        key = id(owner)
        gone: Callable[[Any], object] = lambda _: self._owners.pop(key, None)  # noqa: E731
        self._owners[key] = (place, next(self._numbers), weakref.ref(owner, gone))

    def _begin_child(self) -> None:
        self.lineage = os.urandom(8).hex()
        self._tell("after_fork")

    def remove(self, owner: Any) -> None:
        self._owners.pop(id(owner), None)

    def _tell(self, moment: str, *, backwards: bool = False) -> None:
        for owner in self._in_turn(backwards=backwards):
            tell = getattr(owner, moment, None)
            if tell is not None:
                try:
                    tell()
                except Exception:  # noqa: BLE001 - the others are told all the same, and the program's fork goes on
                    _log.debug("owner=<%s>, moment=<%s> | failed", type(owner).__name__, moment, exc_info=True)

    def _in_turn(self, *, backwards: bool) -> Iterator[Any]:
        for _, _, reference in sorted(self._owners.values(), key=lambda entry: entry[:2], reverse=backwards):
            if (owner := reference()) is not None:
                yield owner


_registry: Final = _Registry()


def join(owner: Any, place: Place) -> None:
    """Tell `owner` of every fork from now on, for as long as it is alive and has not left.

    Args:
        owner: has some of `before_fork()`, `after_fork_in_parent()` and `after_fork()`. The last is called in the
            child, where no other thread exists; none of them takes long.
        place: when its turn is.
    """
    _registry.add(owner, place)


def leave(owner: Any) -> None:
    """Tell `owner` of no more forks: it is closed. May be called twice."""
    _registry.remove(owner)


def lineage() -> str:
    """Return what tells a forked child from its parent, and from all the others: random, and empty where none forked.

    What was counted before a fork goes on in both, so a number that a child inherits is only with this an identity.
    """
    return _registry.lineage


def is_main_interpreter() -> bool:
    """Tell whether this is the interpreter that the process began with, not one within it (PEP 684, mod_wsgi).

    Those within have no forks, may have no daemon threads, and load few extension modules: nothing of ours runs there.
    """
    for name in ("_interpreters", "_xxsubinterpreters"):  # by their version of Python
        try:
            interpreters: Any = __import__(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True
