"""The replay that this process runs, if it does: what every recorder asks, and so as little as can be."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_agent_journal.replays.replaying import Replay


_current: list[Replay] = []


def replaying() -> Replay | None:
    """Return the replay that this process runs, or None where everything is called. Programs may ask it, too."""
    return _current[-1] if _current else None


def begin_replay(one: Replay) -> None:
    """Have this process be replayed."""
    _current.append(one)


def end_replay(one: Replay) -> None:
    """Be done with it."""
    if one in _current:
        _current.remove(one)


@contextmanager
def replayed(one: Replay) -> Generator[Replay]:
    """Have this process be replayed while the block runs."""
    begin_replay(one)
    try:
        yield one
    finally:
        end_replay(one)
