"""What an agent's process writes to its spool: the bare facts, from which the drain derives the events.

An agent pays for nothing that can be computed later, so a fact holds no event id, no digest and no JSON. Facts are
msgpack arrays; their order of fields is their format, and `FACTS_VERSION`, kept in each spool segment, names it.
`events_of` turns a fact into the events of the journal, and is pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import plain, sealed
from otel_agent_journal.event import EMPTY, ErrorInfo, JournalEvent, Usage, step_event_id

FACTS_VERSION: Final = 1


class StepStarted(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=1):
    """An attempt at a step begins. `kind` is one of `event.STEP_KINDS`; `start_ns` is the span's start."""

    session_id: str
    kind: str
    name: str
    step_id: str
    parent_step_id: str | None
    attempt: int
    start_ns: int
    trace_id: str | None
    span_id: str | None
    details: Mapping[str, Any] = EMPTY


class StepEnded(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=2):
    """An attempt at a step is over. `error` is set when `outcome` is error, and may be when it is cancelled."""

    session_id: str
    kind: str
    name: str
    step_id: str
    parent_step_id: str | None
    attempt: int
    start_ns: int
    trace_id: str | None
    span_id: str | None
    end_ns: int
    outcome: str
    error: ErrorInfo | None = None
    usage: Usage | None = None
    details: Mapping[str, Any] = EMPTY


class StepNoted(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=3):
    """Something happened within a step: PROGRESS, CHUNK, ... `index` counts the events of one attempt, from 0."""

    session_id: str
    type: str
    level: str
    name: str
    step_id: str
    parent_step_id: str | None
    attempt: int
    start_ns: int
    trace_id: str | None
    span_id: str | None
    index: int
    timestamp_ns: int
    details: Mapping[str, Any] = EMPTY


class SessionNoted(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=4):
    """An event of the session itself, its id fixed when it was made."""

    session_id: str
    event_id: str
    type: str
    level: str
    timestamp_ns: int
    name: str | None = None
    step_id: str | None = None
    parent_step_id: str | None = None
    attempt: int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    details: Mapping[str, Any] = EMPTY


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=5):
    """The writer is alive and these sessions are open. Never an event: it moves `last_seen` in their heads."""

    timestamp_ns: int
    sessions: tuple[str, ...]


class BlobKept(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=6):
    """A value over the field limit, as JSON text; details refer to it by `{"$blob": digest, "bytes": n, ...}`."""

    session_id: str
    digest: str
    data: bytes


Fact = StepStarted | StepEnded | StepNoted | SessionNoted | Heartbeat | BlobKept

encode_fact: Final = msgspec.msgpack.Encoder().encode
decode_fact: Final = msgspec.msgpack.Decoder(Fact).decode


def events_of(fact: Fact, writer: str) -> tuple[JournalEvent, ...]:
    """Return the events, digests set, that a fact stands for: one, or none for heartbeats and blobs."""
    match fact:
        case StepStarted():
            event = _started(fact, writer)
        case StepEnded():
            event = _ended(fact, writer)
        case StepNoted():
            event = _noted(fact, writer)
        case SessionNoted():
            event = _of_session(fact, writer)
        case Heartbeat() | BlobKept():
            return ()
    try:
        return (sealed(event),)
    except (TypeError, ValueError, RecursionError):  # msgpack holds what JSON cannot, such as keys that are tuples
        return (sealed(msgspec.structs.replace(event, details=plain(event.details))),)


def _started(fact: StepStarted, writer: str) -> JournalEvent:
    return JournalEvent(
        session_id=fact.session_id,
        event_id=step_event_id(fact.step_id, fact.attempt, fact.start_ns, "START"),
        type=f"{fact.kind}_START",
        timestamp_ns=fact.start_ns,
        name=fact.name,
        writer=writer,
        step_id=fact.step_id,
        parent_step_id=fact.parent_step_id,
        attempt=fact.attempt,
        trace_id=fact.trace_id,
        span_id=fact.span_id,
        details=fact.details,
    )


def _ended(fact: StepEnded, writer: str) -> JournalEvent:
    failed = fact.outcome == "error"
    return JournalEvent(
        session_id=fact.session_id,
        event_id=step_event_id(fact.step_id, fact.attempt, fact.start_ns, "END"),
        type=f"{fact.kind}_ERROR" if failed else f"{fact.kind}_END",
        timestamp_ns=fact.end_ns,
        level="ERROR" if failed else "INFO",
        name=fact.name,
        writer=writer,
        step_id=fact.step_id,
        parent_step_id=fact.parent_step_id,
        attempt=fact.attempt,
        trace_id=fact.trace_id,
        span_id=fact.span_id,
        outcome=fact.outcome,
        duration_ns=max(0, fact.end_ns - fact.start_ns),
        error=fact.error,
        usage=fact.usage,
        details=fact.details,
    )


def _noted(fact: StepNoted, writer: str) -> JournalEvent:
    return JournalEvent(
        session_id=fact.session_id,
        event_id=step_event_id(fact.step_id, fact.attempt, fact.start_ns, fact.type, fact.index),
        type=fact.type,
        timestamp_ns=fact.timestamp_ns,
        level=fact.level,
        name=fact.name,
        writer=writer,
        step_id=fact.step_id,
        parent_step_id=fact.parent_step_id,
        attempt=fact.attempt,
        trace_id=fact.trace_id,
        span_id=fact.span_id,
        details=fact.details,
    )


def _of_session(fact: SessionNoted, writer: str) -> JournalEvent:
    return JournalEvent(
        session_id=fact.session_id,
        event_id=fact.event_id,
        type=fact.type,
        timestamp_ns=fact.timestamp_ns,
        level=fact.level,
        name=fact.name,
        writer=writer,
        step_id=fact.step_id,
        parent_step_id=fact.parent_step_id,
        attempt=fact.attempt,
        trace_id=fact.trace_id,
        span_id=fact.span_id,
        details=fact.details,
    )
