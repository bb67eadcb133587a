"""Events, steps and heads for tests, with ids that are the same in every run.

`JournalBuilder` writes the journal of one session as the drain would: `start`, `note` and `end` of steps go through
the same facts and the same mapping. The functions beside it make single events where their meaning does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import sealed
from otel_agent_journal.event import EMPTY, ErrorInfo, JournalEvent, Usage, derived_id
from otel_agent_journal.mapping.facts import (
    Fact,
    FailureNoted,
    SessionNoted,
    StepEnded,
    StepNoted,
    StepStarted,
    events_of,
)
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock

WRITER: Final = derived_id("testing:writer")
TRACE: Final = derived_id("testing:trace")


class OpenStep(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that was started by a builder, as its `note` and `end` want it."""

    kind: str
    name: str
    step_id: str
    parent_step_id: str | None
    attempt: int
    start_ns: int
    span_id: str


class JournalBuilder:
    """The journal of one session, event by event; each method adds to `events` and returns what it added.

    Times come from `clock`, a millisecond apart where none is given.
    """

    def __init__(self, session_id: str = "s1", *, writer: str = WRITER, clock: Callable[[], int] | None = None) -> None:
        self.session_id = session_id
        self.writer = writer
        self.clock = clock or SteppingClock()
        self.events: list[JournalEvent] = []

    def start(
        self,
        kind: str,
        name: str,
        *,
        parent: OpenStep | None = None,
        step_id: str | None = None,
        attempt: int = 1,
        details: Mapping[str, Any] = EMPTY,
    ) -> OpenStep:
        """Begin an attempt; `kind` in either case. A step without a parent is a root."""
        start_ns = self.clock()
        step_id = step_id or derived_id(f"{self.session_id}:{self.writer}:{len(self.events)}:{name}")
        step = OpenStep(
            kind=kind.upper(),
            name=name,
            step_id=step_id,
            parent_step_id=parent.step_id if parent else None,
            attempt=attempt,
            start_ns=start_ns,
            span_id=derived_id(f"{step_id}:{attempt}:{start_ns}")[:16],
        )
        self._add(
            StepStarted(
                self.session_id,
                step.kind,
                name,
                step_id,
                step.parent_step_id,
                attempt,
                start_ns,
                TRACE,
                step.span_id,
                details,
            )
        )
        return step

    def end(
        self,
        step: OpenStep,
        outcome: str = "ok",
        *,
        error: ErrorInfo | None = None,
        usage: Usage | None = None,
        details: Mapping[str, Any] = EMPTY,
    ) -> JournalEvent:
        """End an attempt. Outcome error without `error` is a ValueError."""
        if outcome == "error" and error is None:
            error = ErrorInfo(type="ValueError", message="made by a test")
        return self._add(
            StepEnded(
                self.session_id,
                step.kind,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                TRACE,
                step.span_id,
                self.clock(),
                outcome,
                error,
                usage,
                details,
            )
        )

    def note(
        self, step: OpenStep, event_type: str, *, level: str = "INFO", details: Mapping[str, Any] = EMPTY
    ) -> JournalEvent:
        """Add an event within a step: PROGRESS, CHUNK, ..."""
        index = sum(event.step_id == step.step_id and event.type == event_type for event in self.events)
        return self._add(
            StepNoted(
                self.session_id,
                event_type,
                level,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                TRACE,
                step.span_id,
                index,
                self.clock(),
                details,
            )
        )

    def record(
        self,
        event_type: str,
        *,
        level: str = "INFO",
        details: Mapping[str, Any] = EMPTY,
        error: ErrorInfo | None = None,
    ) -> JournalEvent:
        """Add an event of the session itself."""
        event_id = derived_id(f"{self.session_id}:{self.writer}:{len(self.events)}")
        said = (self.session_id, event_id, event_type, level, self.clock())
        if error is not None:
            return self._add(FailureNoted(*said, details=details, error=error))
        return self._add(SessionNoted(*said, details=details))

    def _add(self, fact: Fact) -> JournalEvent:
        (event,) = events_of(fact, self.writer)
        self.events.append(event)
        return event


def an_event(number: int = 0, **fields: Any) -> JournalEvent:
    """Return event `number` of session s1, a millisecond after the one before; `fields` replace its own."""
    session_id = fields.get("session_id", "s1")
    event = JournalEvent(
        session_id=session_id,
        event_id=derived_id(f"testing:{session_id}:{number}"),
        type="NOTE",
        timestamp_ns=EPOCH_2026_NS + number * 1_000_000,
        writer=WRITER,
        details={"number": number},
    )
    return sealed(msgspec.structs.replace(event, **fields))


def events(count: int, *, first: int = 0, **fields: Any) -> list[JournalEvent]:
    """Return `count` events of one session, in order."""
    return [an_event(number, **fields) for number in range(first, first + count)]


def context_events(
    count: int, *, first: int = 0, instance_id: str = "i1", session_id: str = "s1", text: str = "hello"
) -> list[JournalEvent]:
    """Return messages of one agent instance, numbered from `first` on.

    Another `text` gives the same ids and another content.
    """
    return [
        an_event(
            seq,
            session_id=session_id,
            event_id=derived_id(f"testing:{instance_id}:{seq}"),
            type="USER_MESSAGE",
            instance_id=instance_id,
            seq=seq,
            details={"content": f"{text} {seq}"},
        )
        for seq in range(first, first + count)
    ]


def a_head(session_id: str = "s1", **fields: Any) -> SessionHead:
    """Return a head as the drain would write it first; `fields` replace its own."""
    head = SessionHead(
        session_id=session_id,
        status="PROCESSING",
        agent="researcher",
        events=1,
        steps=1,
        started_ns=EPOCH_2026_NS,
        updated_ns=EPOCH_2026_NS,
        writers={WRITER: EPOCH_2026_NS},
        open_writers=(WRITER,),
    )
    return msgspec.structs.replace(head, **fields)
