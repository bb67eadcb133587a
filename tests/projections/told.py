"""Events of one session in few words, made as the recorder makes them: through facts."""

from __future__ import annotations

from typing import Any

from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage, derived_id
from otel_agent_journal.mapping.facts import SessionNoted, StepEnded, StepNoted, StepStarted, events_of

SESSION = "s1"


def start(step: str, at: int, *, under: str | None = None, **more: Any) -> JournalEvent:
    """The START of an attempt at `step`."""
    fact = StepStarted(
        session_id=SESSION,
        kind=more.pop("kind", "NODE" if under else "AGENT"),
        name=more.pop("name", step),
        step_id=step,
        parent_step_id=under,
        attempt=more.pop("attempt", 1),
        start_ns=at,
        trace_id=more.pop("trace_id", None),
        span_id=more.pop("span_id", None),
        details=more.pop("details", {}),
    )
    (event,) = events_of(fact, more.pop("writer", "w1"))
    assert not more
    return event


def end(step: str, begun: int, at: int, outcome: str = "ok", *, under: str | None = None, **more: Any) -> JournalEvent:
    """The ending, at `at`, of the attempt at `step` that began at `begun`."""
    fact = StepEnded(
        session_id=SESSION,
        kind=more.pop("kind", "NODE" if under else "AGENT"),
        name=more.pop("name", step),
        step_id=step,
        parent_step_id=under,
        attempt=more.pop("attempt", 1),
        start_ns=begun,
        trace_id=more.pop("trace_id", None),
        span_id=more.pop("span_id", None),
        end_ns=at,
        outcome=outcome,
        error=ErrorInfo(type="ValueError", message="no") if outcome == "error" else None,
        usage=Usage(**more.pop("usage")) if "usage" in more else None,
        details=more.pop("details", {}),
    )
    (event,) = events_of(fact, more.pop("writer", "w1"))
    assert not more
    return event


def noted(event_type: str, at: int, step: str, begun: int, *, attempt: int = 1, writer: str = "w1") -> JournalEvent:
    """Something that happened during the attempt at `step` that began at `begun`."""
    fact = StepNoted(SESSION, event_type, "INFO", step, step, None, attempt, begun, None, None, at, at)
    (event,) = events_of(fact, writer)
    return event


def said(event_type: str, at: int, *, step: str | None = None, writer: str = "w1", **details: Any) -> JournalEvent:
    """An event of the session itself."""
    event_id = derived_id(f"{event_type}:{at}:{writer}:{sorted(details.items())}")
    fact = SessionNoted(SESSION, event_id, event_type, "INFO", at, step_id=step, details=details)
    (event,) = events_of(fact, writer)
    return event


def interrupted(writer: str, at: int, reason: str = "killed") -> JournalEvent:
    """What `run`'s parent or `sweep` writes of a writer that is gone."""
    fact = SessionNoted(
        SESSION,
        derived_id(f"{SESSION}:{writer}:{at}:{reason}"),
        "SESSION_INTERRUPTED",
        "WARNING",
        at,
        details={"writer": writer, "reason": reason},
    )
    (event,) = events_of(fact, writer)
    return event


def foreign(event_type: str, at: int, **fields: Any) -> JournalEvent:
    """An event of another program, which has ids of its own and need not say how long a step took."""
    event_id = derived_id(f"foreign:{event_type}:{at}:{sorted(fields.items(), key=str)}")
    return JournalEvent(session_id=SESSION, event_id=event_id, type=event_type, timestamp_ns=at, **fields)
