"""The checkpointer that graphs without one are given: set by `bootstrap`, asked for by a framework."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple


class Checkpointing(NamedTuple):
    """What gives the checkpointer of this process, and the session of all that nothing around it names."""

    saver: Callable[[], Any]
    session_id: str | None


_current: list[Checkpointing] = []


def provide_checkpointer(make: Callable[[], Any], session_id: str | None) -> None:
    """Have graphs that were made without a checkpointer use one, made when the first of them runs."""
    _current[:] = [Checkpointing(lru_cache(maxsize=1)(make), session_id)]


def checkpointing() -> Checkpointing | None:
    """Return what graphs without a checkpointer are given, or None where they are left as they are."""
    return _current[0] if _current else None
