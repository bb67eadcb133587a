"""What a part of a response stream asks of the journal: steps begun and ended, and events within them. Pure.

Made by `traces.py` and `flows.py`, done by `invocation.py`. Steps are known by a number within their invocation; the
root is 0.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from otel_agent_journal.event import ErrorInfo, Usage

ROOT: Final = 0


class Begin(NamedTuple):
    """A step begins below another. `identity`: what it is known by in a later invocation too.

    `prompt` and `params`: what a model is asked, the latter None for all other steps.
    """

    key: int
    parent: int
    kind: str
    name: str
    details: dict[str, Any]
    attributes: dict[str, Any]
    identity: str | None = None
    prompt: str | None = None
    params: dict[str, Any] | None = None


class End(NamedTuple):
    """A step ends."""

    key: int
    outcome: str = "ok"
    details: dict[str, Any] | None = None
    error: ErrorInfo | None = None
    usage: Usage | None = None
    attributes: dict[str, Any] | None = None


class Note(NamedTuple):
    """An event within a step."""

    key: int
    type: str
    details: dict[str, Any]
    level: str = "INFO"


class Text(NamedTuple):
    """Streamed text of the root."""

    text: str


class Stage(NamedTuple):
    """The session has reached a stage."""

    key: int
    name: str


Action = Begin | End | Note | Text | Stage


class Ending(NamedTuple):
    """How an invocation whose stream ended in order ended."""

    outcome: str
    details: dict[str, Any]
    error: ErrorInfo | None = None
