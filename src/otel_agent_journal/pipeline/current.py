"""What this process journals with: one object, filled by `bootstrap` alone, asked by instrumentors and `session()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from otel_agent_journal.delivered import Delivered
    from otel_agent_journal.pipeline.recorder import Recorder


class Flush(NamedTuple):
    """How what was recorded is delivered before a runtime may freeze this process.

    `deliver` is called with seconds, waits at most that long and returns what the store has; it never raises.
    `timeout_s` is how long a response may wait in all.
    """

    deliver: Callable[[float], Delivered]
    timeout_s: float


@dataclass(slots=True)
class ProcessState:
    """All that outlives a call and is the process's own.

    `agent` and `exporting` are `bootstrap`'s: what records here, and what journals spans that others export. `earlier`
    are the spool folders that this process has left with something in them. `idle` takes what is recorded where nothing
    is configured. `adopted_scopes` are those whose spans are taken for our steps'.
    """

    recorder: Recorder | None = None
    flush: Flush | None = None
    agent: Any = None
    exporting: Any = None
    earlier: list[Path] = field(default_factory=list["Path"])
    idle: Recorder | None = None
    adopted_scopes: frozenset[str] = frozenset()


STATE: Final = ProcessState()


def get_recorder() -> Recorder | None:
    """Return the process's recorder, or None where nothing is configured."""
    return STATE.recorder


def set_recorder(recorder: Recorder | None) -> None:
    """Make a recorder the process's own."""
    STATE.recorder = recorder


def get_flush() -> Flush | None:
    """Return how the process's journal is flushed, or None where nothing is configured."""
    return STATE.flush


def set_flush(flush: Flush | None) -> None:
    """Make this the way the process's journal is flushed."""
    STATE.flush = flush


def adopt_scope(name: str, *, adopted: bool = True) -> None:
    """Take spans of this scope for those of our steps, or leave them again."""
    known = STATE.adopted_scopes
    STATE.adopted_scopes = known | {name} if adopted else known - {name}


def is_adopted(scope: str) -> bool:
    """Tell whether the spans of a scope are taken for those of our steps."""
    return scope in STATE.adopted_scopes
