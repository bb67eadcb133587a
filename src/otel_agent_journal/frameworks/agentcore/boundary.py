"""What everything of this framework shares: no failure of ours reaches the app, and a step is current for a while."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import context as context_api

from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.step import Step

UNNAMED: Final = "unknown"


@contextmanager
def kept_from_app(what: str) -> Generator[None]:
    """Let no exception of the block out: it is counted as a loss."""
    try:
        yield
    except Exception:  # noqa: BLE001 - the one boundary: the app must not feel it
        recorder = get_recorder()
        if recorder is not None:
            recorder.failed(f"{what} could not be journaled")


@contextmanager
def current(step: Step) -> Generator[None]:
    """Make a step and its span the current ones within the block. What the block raises passes."""
    token = context_api.attach(step.context())
    try:
        yield
    finally:
        restore(token)


def restore(token: Any) -> None:
    """Undo an `attach`, quietly where its context is gone: it was entered in another one."""
    try:
        token.var.reset(token)
    except ValueError:
        pass


def name_of(function: Any) -> str:
    """Return the name of what the user decorated: a function, a partial of one, or an object that can be called."""
    for _ in range(8):  # partials of partials end
        name = getattr(function, "__name__", None)
        if isinstance(name, str) and name:
            return name
        inner = getattr(function, "func", None)
        if inner is None:
            return type(function).__name__
        function = inner
    return UNNAMED
