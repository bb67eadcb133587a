"""The requests and answers of a recording's model calls, as readers rebuild them from its journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.reading.answers import answer_of
from otel_agent_journal.reading.blobs import Blobs
from otel_agent_journal.reading.prompts import prompt_of


def prompts_of(store: Any, session_id: str, events: Sequence[JournalEvent] | None = None) -> list[dict[str, Any]]:
    """Return what `show SESSION/STEP --prompt` says of every model call of a session, in the order of their start."""
    listed = list(store.read(session_id)) if events is None else events
    calls = [step for step in fold_steps(listed).steps if step.kind == "MODEL"]
    resolved = Blobs(store).resolved
    found = [prompt_of(lambda: listed, session_id, step, resolved) for step in calls]
    assert all(found)
    return [one for one in found if one is not None]


def answers_of(store: Any, session_id: str, events: Sequence[JournalEvent]) -> list[dict[str, Any]]:
    """Return the answers of every attempt at a model call of a session that did not fail."""
    calls = [step for step in fold_steps(events).steps if step.kind == "MODEL"]
    ended = [(step, one) for step in calls for one in step.attempts if one.outcome not in (None, "error")]
    found = [answer_of(session_id, step, Blobs(store).resolved, one) for step, one in ended]
    return [one for one in found if one is not None]
