"""What an agent's process writes to its spool: the bare facts, from which the drain derives the events.

An agent pays for nothing that can be computed later, so a fact holds no event id, no digest and no JSON. Facts are
msgpack arrays; their order of fields is their format, and `FACTS_VERSION`, kept in each spool segment, names it.
`events_of` turns a fact into the events of the journal, and is pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import JSON, UNENCODABLE, format_timestamp, plain, sealed, valid_text
from otel_agent_journal.event import (
    EMPTY,
    SESSION_INTERRUPTED,
    ErrorInfo,
    JournalEvent,
    Usage,
    derived_id,
    step_event_id,
)

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


class StepOpen(StepStarted, frozen=True, array_like=True, tag_field="fact", tag=10):
    """A step whose span was sent while it was open: of a writer of its own, not of the spool it is read from.

    `reason` is why that writer is held for gone, and `last_seen_ns` when it was seen last; "": it may run.
    """

    writer: str = ""
    reason: str = ""
    last_seen_ns: int = 0


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


class FailureNoted(SessionNoted, frozen=True, array_like=True, tag_field="fact", tag=7):
    """An event of the session itself that says why something failed."""

    error: ErrorInfo | None = None


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=5):
    """The writer is alive and these sessions are open. Never an event: it moves `last_seen` in their heads."""

    timestamp_ns: int
    sessions: tuple[str, ...]


class BlobKept(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=6):
    """A value kept apart, as over the field limit; details refer to it by `{"$blob": digest, "bytes": n, ...}`."""

    session_id: str
    digest: str
    data: bytes
    media_type: str = JSON


class SpansReceived(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=8):
    """A request for spans as a receiver was sent it: OTLP's ExportTraceServiceRequest in protobuf, nothing amiss in it.

    What its spans amount to is found by `received`, which knows other requests too. `reduced`: they are in GenAI terms,
    and without content.
    """

    received_ns: int
    request: bytes
    reduced: bool = False


class LogsReceived(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=9):
    """A request for logs as a receiver was sent it: OTLP's ExportLogsServiceRequest in protobuf, the journal's alone.

    What its records carry, `log_record` reads.
    """

    received_ns: int
    request: bytes


class FlushAsked(msgspec.Struct, frozen=True, array_like=True, tag_field="fact", tag=11):
    """The writer waits until all before this is delivered; its flushes are numbered from 1. Never an event."""

    number: int


Received = SpansReceived | LogsReceived

Fact = (
    StepStarted
    | StepOpen
    | StepEnded
    | StepNoted
    | SessionNoted
    | FailureNoted
    | Heartbeat
    | BlobKept
    | SpansReceived
    | LogsReceived
    | FlushAsked
)

_BIG_INTEGER: Final = 1  # msgpack extension: the decimal digits of an integer beyond 64 bits
_encode: Final = msgspec.msgpack.Encoder(enc_hook=plain).encode


def encode_fact(fact: Fact) -> bytes:
    """Return a fact as msgpack. Total: what msgpack cannot carry is written as `plain` says."""
    try:
        return _encode(fact)
    except UNENCODABLE:
        return _encode(_packable(fact))


def _packable(fact: Fact) -> Fact:
    changed: dict[str, Any] = {}
    for field in fact.__struct_fields__:
        value: Any = getattr(fact, field)
        match value:
            case str(text):
                changed[field] = valid_text(text)
            case ErrorInfo(type=kind, message=message, code=code):
                code = None if code is None else valid_text(code)
                changed[field] = ErrorInfo(type=valid_text(kind), message=valid_text(message), code=code)
            case tuple():
                changed[field] = tuple(valid_text(text) for text in cast("tuple[str, ...]", value))
            case Mapping():
                changed[field] = _with_extensions(plain(cast("Mapping[str, Any]", value)))
            case _:
                pass
    return msgspec.structs.replace(fact, **changed)


def _with_extensions(value: Any) -> Any:
    match value:
        case dict():
            return {key: _with_extensions(item) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [_with_extensions(item) for item in cast("list[Any]", value)]
        case int() if not -(2**63) <= value < 2**64:
            return msgspec.msgpack.Ext(_BIG_INTEGER, str(value).encode())
        case _:
            return value


def _extension(code: int, data: memoryview) -> Any:
    if code == _BIG_INTEGER:
        return int(bytes(data))
    raise ValueError(f"msgpack extension {code} is not of a fact")


decode_fact: Final = msgspec.msgpack.Decoder(Fact, ext_hook=_extension).decode


def events_of(fact: Fact, writer: str) -> tuple[JournalEvent, ...]:
    """Return the events, digests set, that a fact stands for: one as a rule, none for heartbeats, blobs and flushes."""
    match fact:
        case StepOpen(writer=own, reason=reason):
            began = sealed(_started(fact, own))
            return (began, interruption(fact.session_id, own, fact.last_seen_ns, reason)) if reason else (began,)
        case StepStarted():
            return (sealed(_started(fact, writer)),)
        case StepEnded():
            return (sealed(_ended(fact, writer)),)
        case StepNoted():
            return (sealed(_noted(fact, writer)),)
        case SessionNoted():
            return (sealed(_of_session(fact, writer)),)
        case _:
            return ()


def interruption(session_id: str, writer: str, last_seen_ns: int, reason: str) -> JournalEvent:
    """Return the event that ends a writer's open steps in one session: whoever notices its death makes the same."""
    details = {"writer": writer, "reason": reason, "last_seen": format_timestamp(last_seen_ns)}
    return sealed(
        JournalEvent(
            session_id=session_id,
            event_id=derived_id(f"{session_id}:{writer}:{last_seen_ns}"),
            type=SESSION_INTERRUPTED,
            timestamp_ns=last_seen_ns + 1,
            level="WARNING",
            writer=writer,
            details=details,
        )
    )


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
        error=fact.error if isinstance(fact, FailureNoted) else None,
        details=fact.details,
    )
