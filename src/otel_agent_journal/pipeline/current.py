"""The recorder of this process and its flush. Set by `bootstrap` alone; asked by instrumentors and by `session()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from otel_agent_journal.pipeline.recorder import Recorder


class Flush(NamedTuple):
    """How what was recorded is delivered before a runtime may freeze this process.

    `deliver` is called with seconds, waits at most that long and returns whether the store has everything; it never
    raises. `timeout_s` is how long a response may wait in all.
    """

    deliver: Callable[[float], bool]
    timeout_s: float


class _Current:
    recorder: Recorder | None = None
    flush: Flush | None = None


def get_recorder() -> Recorder | None:
    """Return the process's recorder, or None where nothing is configured."""
    return _Current.recorder


def set_recorder(recorder: Recorder | None) -> None:
    """Make a recorder the process's own."""
    _Current.recorder = recorder


def get_flush() -> Flush | None:
    """Return how the process's journal is flushed, or None where nothing is configured."""
    return _Current.flush


def set_flush(flush: Flush | None) -> None:
    """Make this the way the process's journal is flushed."""
    _Current.flush = flush
