"""Entries: events that an agent writes itself, by a tool or out of a sandbox, beside what is recorded of it.

An entry has a type of the agent's own: what the journal says of steps, sessions and contexts, and what readers judge
by, cannot be said so. Who writes one is a model, or a program of its making: nothing that is given here is believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import decode_value, encode_value, valid_text
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import (
    CONTEXT_TYPES,
    END_TYPES,
    IN_STEP_TYPES,
    LEVELS,
    START_TYPES,
    WRITTEN_BY,
    time_ordered_id,
)
from otel_agent_journal.mapping.harmless import METADATA, SAID
from otel_agent_journal.pipeline.content import fitted
from otel_agent_journal.pipeline.session_writer import SessionWriter
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.plain import text_of
from otel_agent_journal.projections.head import STATUSES

NOTE: Final = "NOTE"  # the type of an entry that names none
MAX_ENTRY_BYTES: Final = 16 * 1024  # of JSON; a thought fits, a data set belongs elsewhere
MAX_NAME: Final = 120  # characters of a type, or a tool's name

_OURS: Final = START_TYPES | END_TYPES | IN_STEP_TYPES | CONTEXT_TYPES | frozenset((*STATUSES, "STAGE_CHANGED"))
_OUR_FAMILIES: Final = (
    "AGENT_BACKGROUND_TASK_",
    "AGENT_ENTRYPOINT_",
    "AGENT_INVOCATION_",
    "CHECKPOINT_",
    "CHECKPOINTS_",
    "CONTEXT_",
    "RUN_RESUMED",
    "SESSION_",
    "WRITER_",
)
_NO_LETTERS: Final = re.compile(r"[^A-Z0-9]+", re.ASCII)
_SAME_LEVEL: Final = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR"}


class RefusedEntry(ValueError):
    """What was given is no entry; the message says why, and what would be. `reason`: `refused` or `too_large`."""

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


class Entry(msgspec.Struct, frozen=True):
    """What an agent says: a type of its own, what it says it of, any data, and how bad it is."""

    type: str
    tool_name: str | None
    details: Mapping[str, Any]
    level: str


def entry_type(given: Any) -> str:
    """Return an event type in upper snake case of what a model may write for one, as `training started`."""
    return _NO_LETTERS.sub("_", text_of(given)[: 2 * MAX_NAME].upper()).strip("_")


def entry_of(event_type: Any = None, tool_name: Any = None, details: Any = None, level: Any = None) -> Entry:
    """Return what was given as an entry.

    Args:
        event_type: the agent's own; NOTE where there is none.
        tool_name: what the entry is about.
        details: any data: an object, also as JSON text; whatever else is its `text` or `value`.
        level: DEBUG, INFO, WARNING or ERROR; INFO where there is none.

    Raises:
        RefusedEntry: the type is the journal's own or none at all, there is no such level, or it is too large.
    """
    kind = NOTE if event_type in (None, "") else entry_type(event_type)
    if not kind or kind[0].isdigit() or len(kind) > MAX_NAME:
        raise RefusedEntry(f"event_type {text_of(event_type)[:MAX_NAME]!r} is no name, as in DATA_CLEANED")
    if kind in _OURS or kind.startswith(_OUR_FAMILIES):
        raise RefusedEntry(
            f"event_type {kind} is the journal's own, which records it by itself; take a name of yours, as MY_{kind}"
        )
    said = text_of(level).upper() if level not in (None, "") else "INFO"
    said = _SAME_LEVEL.get(said, said)
    if said not in LEVELS:
        raise RefusedEntry(f"level {said[:MAX_NAME]!r} is not known; it is one of: {', '.join(LEVELS)}")
    kept = cast("dict[str, Any]", _own_names(fitted(_as_object(details))))
    size = len(encode_value(kept))
    if size > MAX_ENTRY_BYTES:
        raise RefusedEntry(
            f"details are {size:,} bytes, and an entry has up to {MAX_ENTRY_BYTES:,}; keep the data elsewhere, and"
            " write where it is",
            "too_large",
        )
    name = None if tool_name in (None, "") else valid_text(text_of(tool_name))[:MAX_NAME]
    return Entry(kind, name, kept, said)


def write_entry(
    writer: SessionWriter, session_id: str, entry: Entry, *, written_by: str, step: Step | None = None
) -> str | None:
    """Journal an entry, within a step where that is of the session; return the event's id, None where it was dropped.

    Args:
        writer: of this process.
        session_id: the session.
        entry: what is said.
        written_by: who let it be written, as `tool` or `sandbox`; readers tell by it that no instrumentation says so.
        step: the step that it is said in.
    """
    dropped = writer.dropped
    content = writer.encoder.content
    event_id = time_ordered_id(writer.clock.now_ns(), writer.ids.bytes16())
    writer.record(
        session_id,
        entry.type,
        {**_said(entry.details), WRITTEN_BY: written_by},
        level=entry.level,
        name=entry.tool_name if content else None,
        step=step if step is not None and step.session_id == session_id else None,
        event_id=event_id,
    )
    return event_id if writer.dropped == dropped else None


def _said(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return details, marked where they go under names of ours: what is said there is content as all of it is."""
    theirs = [name for name in details if name in METADATA]
    return {**details, SAID: theirs} if theirs else details


def _own_names(value: Any) -> Any:
    """Return plain data whose names refer to nothing of the journal: `$blob` and its like are ours."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {f"_{name}" if name.startswith("$") else name: _own_names(item) for name, item in items}
    if isinstance(value, list):
        return [_own_names(item) for item in cast("list[Any]", value)]
    return value


def _as_object(details: Any) -> Mapping[str, Any]:
    if details is None:
        return {}
    if isinstance(details, str):
        try:
            read: Any = decode_value(details) if details.lstrip()[:1] == "{" else None
        except CodecError:
            read = None
        return cast("Mapping[str, Any]", read) if isinstance(read, Mapping) else {"text": details}
    return cast("Mapping[str, Any]", details) if isinstance(details, Mapping) else {"value": details}
