"""What must not survive a fork: locks, maps and threads that a child inherits and must not use.

One hook for the process, objects held weakly. A child that inherits an flock keeps it alive for as long as it runs,
so its parent's death would go unnoticed: `FileLock` closes its copy here.
"""

from __future__ import annotations

import os
from typing import Any, Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """Something that knows what to drop in a forked child."""

    def after_fork(self) -> None:
        """Drop what was inherited. Called in the child, where no other thread exists; must not raise."""
        ...


class _Registry:
    def __init__(self) -> None:
        self._aware: WeakSet[Any] = WeakSet()
        self._hooked = False

    def add(self, aware: ForkAware) -> None:
        if not self._hooked:
            self._hooked = True
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._in_child)
        self._aware.add(aware)

    def _in_child(self) -> None:
        for aware in list(self._aware):
            aware.after_fork()


_registry = _Registry()


def tell_of_forks(aware: ForkAware) -> None:
    """Call `aware.after_fork()` in every child forked from now on, for as long as it is alive."""
    _registry.add(aware)
