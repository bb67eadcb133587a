"""The recorder: one call opens a step's span and makes its START durable, one call ends both.

Instrumentors and hand-written agents call it; it hands encoded facts to an appender (the spool) and knows nothing of
files, stores or frameworks. Where the program has a TracerProvider a step's span is one of its spans, else a
`LightSpan`. Nothing here raises into the agent, and a failure to record is counted in `Recorder.dropped`.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.baggage import get_baggage
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from otel_agent_journal.event import (
    CHUNK,
    EMPTY,
    RUN_RESUMED,
    ErrorInfo,
    Usage,
    derived_id,
    time_ordered_id,
)
from otel_agent_journal.mapping.facts import Fact, Heartbeat, SessionNoted, StepEnded, StepNoted, StepStarted
from otel_agent_journal.mapping.genai import (
    CONVERSATION_ID,
    OPERATION_NAME,
    SCOPE_NAME,
    end_attributes,
    span_name,
    span_status,
    start_attributes,
)
from otel_agent_journal.pipeline.attempts import Attempts
from otel_agent_journal.pipeline.clock import Clock, RandomIds
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.light_span import LightSpan
from otel_agent_journal.pipeline.metrics import Metrics

_log = logging.getLogger(__name__)

STEP_KEY: Final = context_api.create_key("agent-journal-step")
_SPAN_KEY: Final = str(next(iter(trace_api.set_span_in_context(trace_api.INVALID_SPAN, Context()))))

_CHUNK_INTERVAL_S: Final = 0.25  # at most four CHUNK events a second a step
_CHUNK_MAX_CHARACTERS: Final = 8192
_OURS: Final = ("gen_ai.", "agent_journal.", "error.")
_SESSION_BAGGAGE: Final = ("gen_ai.conversation.id", "session.id")
_KINDS: Final = {"MODEL": SpanKind.CLIENT}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class Appender(Protocol):
    """Where encoded facts go: a spool, or something in front of one."""

    @property
    def writer(self) -> str:
        """The id of this process's journal writer; another one after a fork."""
        ...

    def append(self, payload: bytes) -> bool:
        """Make a fact durable; False where it was refused. Never raises."""
        ...


class Step:
    """One attempt at a unit of work, from its START to its ending. Made by `Recorder.start_step`.

    Safe to end from any thread; only the first ending counts.
    """

    __slots__ = (
        "__weakref__",
        "_chunk_due",
        "_chunks",
        "_ended",
        "_index",
        "_open",
        "_ordinals",
        "attempt",
        "foreign_session_id",
        "kind",
        "memory",
        "name",
        "parent",
        "parent_step_id",
        "recorder",
        "session_id",
        "span",
        "span_id",
        "start_ns",
        "step_id",
        "trace_id",
        "tracer",
    )

    def __init__(self, recorder: Recorder, kind: str, name: str, session_id: str, parent: Step | None) -> None:
        self.recorder = recorder
        self.kind = kind
        self.name = name
        self.session_id = session_id
        self.parent = parent
        self.parent_step_id = parent.step_id if parent is not None else None
        self.tracer: Tracer | None = None
        self.foreign_session_id: str | None = None
        self.memory: Any = None  # what an instrumentor keeps with the step
        self._ordinals: dict[str, itertools.count[int]] | None = None
        self._index: itertools.count[int] | None = None
        self._chunks: list[str] | None = None
        self._chunk_due = 0.0
        self._ended = False
        self._open: dict[int, Step] | None = None  # children that have not ended
        self.step_id: str
        self.attempt: int
        self.start_ns: int
        self.span: Span
        self.trace_id: str
        self.span_id: str

    def next_index(self) -> int:
        """Return the number of the next event within the step, from 0."""
        index = self._index
        if index is None:
            index = self._index = itertools.count()
        return next(index)

    @property
    def ended(self) -> bool:
        """Tell whether the step is over."""
        return self._ended

    def child_id(self, kind: str, name: str) -> str:
        """Return the id of the next child of that kind and name: the same again in the next attempt."""
        ordinals = self._ordinals
        if ordinals is None:
            ordinals = self._ordinals = {}
        key = f"{kind}:{name}"
        counter = ordinals.get(key)
        if counter is None:
            counter = ordinals.setdefault(key, itertools.count())
        return derived_id(f"{self.step_id}:{key}:{next(counter)}")

    def context(self, base: Context | None = None) -> Context:
        """Return a context in which this step and its span are the current ones."""
        current = context_api.get_current() if base is None else base
        return Context({**current, _SPAN_KEY: self.span, STEP_KEY: self})

    def note(self, event_type: str, details: Mapping[str, Any] = EMPTY, *, level: str = "INFO") -> None:
        """Journal an event within the step."""
        self.recorder.note(self, event_type, details, level)

    def chunk(self, text: str) -> None:
        """Journal streamed text, gathered to at most four CHUNK events a second."""
        if not text or self._ended or not self.recorder.content:
            return
        if self._chunks is None:
            self._chunks = []
        self._chunks.append(text)
        now = time.monotonic()
        if now >= self._chunk_due:
            self._chunk_due = now + _CHUNK_INTERVAL_S
            self.flush_chunks()

    def flush_chunks(self) -> None:
        """Journal the streamed text that is still gathered."""
        chunks = self._chunks
        if chunks:
            self._chunks = []
            text = "".join(chunks)
            for at in range(0, len(text), _CHUNK_MAX_CHARACTERS):
                self.recorder.note(self, CHUNK, {"text": text[at : at + _CHUNK_MAX_CHARACTERS]}, "DEBUG")

    def end(
        self,
        outcome: str = "ok",
        *,
        error: BaseException | ErrorInfo | None = None,
        usage: Usage | None = None,
        attributes: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
        on_span: dict[str, Any] | None = None,
    ) -> None:
        """End the step; every call but the first does nothing. With a cancelled step end all that it has open.

        Args:
            outcome: one of `event.OUTCOMES`.
            error: why, where it failed or was cancelled.
            usage: tokens of a model call.
            attributes: of the span, kept in the journal too.
            details: of the ending event.
            on_span: attributes of the span alone.
        """
        if self._ended:
            return
        self._ended = True
        if outcome == "cancelled" and self._open:
            for child in list(self._open.values()):
                child.end("cancelled")
        parent = self.parent
        if parent is not None and parent._open is not None:
            parent._open.pop(id(self), None)
        self.recorder.end_step(self, outcome, error, usage, attributes, details, on_span)


class Recorder:
    """Journals what an agent's process does. One a process; safe from any thread.

    Args:
        appender: where facts go.
        encoder: what content becomes.
        session_id: the session of everything that names none (`--session`).
        span_content: put message content on spans too.
        exported: tells whether the spans of the program's own provider reach a backend by its own exporters.
        forwarded: the drain forwards the steps that are not: what user code sets on their spans is kept for it.
        clock, ids: for tests.
    """

    def __init__(
        self,
        appender: Appender,
        *,
        encoder: ContentEncoder | None = None,
        session_id: str | None = None,
        span_content: bool = False,
        exported: Callable[[], bool] = lambda: False,
        forwarded: bool = False,
        clock: Clock | None = None,
        ids: RandomIds | None = None,
    ) -> None:
        self.appender = appender
        self.encoder = encoder or ContentEncoder()
        self.session_id = session_id
        self.span_content = span_content
        self.clock = clock or Clock()
        self.ids = ids or RandomIds()
        self.dropped = 0
        self.metrics = Metrics()
        self._exported = exported
        self._forwarded = forwarded
        self._attempts = Attempts()
        self._append = appender.append
        self._now = self.clock.now_ns
        self._encode = self.encoder.encode
        self._details_change = not self.encoder.content or self.encoder.redactor is not None
        self._roots: dict[int, Step] = {}
        self._tracers: tuple[Any, Tracer | None] = (None, None)
        self._complained_at = 0.0
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def content(self) -> bool:
        """Tell whether content is journaled."""
        return self.encoder.content

    # --- steps ---

    def start_step(
        self,
        kind: str,
        name: str,
        *,
        session_id: str | None = None,
        parent: Step | None = None,
        detached: bool = False,
        step_id: str | None = None,
        attributes: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
        on_span: dict[str, Any] | None = None,
        links: Sequence[Link] = (),
    ) -> Step:
        """Open a step: its span begins and its START is safe from `kill -9` when this returns.

        Args:
            kind: one of `event.STEP_KINDS`.
            name: of the tool, node, model or agent.
            session_id: of a root, where nothing around it names another; a child has its parent's.
            parent: the enclosing step; None takes the one that this code runs in, and makes a root where there is none.
            detached: make a root of `session_id` whatever is around it.
            step_id: where it is known; else it follows from the parent, or is fresh for a root.
            attributes: of the span, beyond those that follow from the other arguments.
            details: of the START event.
            on_span: attributes of the span alone, such as content that is wanted there.
            links: spans of earlier attempts.
        """
        start_ns = self._now()
        context = context_api.get_current()
        enclosing = context.get(STEP_KEY)
        if parent is None and not detached and isinstance(enclosing, Step) and not enclosing.ended:
            parent = enclosing
        if details is None:
            details = {}
        if attributes:
            details["attributes"] = attributes
        if on_span:
            attributes = {**(attributes or {}), **on_span}
        if parent is None:
            step = self._root(kind, name, start_ns, context, session_id, step_id, details, detached)
            foreign = self._open_root(step, context, attributes, links)
            self._roots[id(step)] = step
        else:
            step = Step(self, kind, name, parent.session_id, parent)
            if session_id and session_id != parent.session_id:
                details["framework_session_id"] = session_id
            step.start_ns = start_ns
            step.step_id = step_id = step_id or parent.child_id(kind, name)
            step.attempt = self._attempts.next(step_id)
            foreign = self._open_child(step, parent, context, enclosing, attributes, links)
            siblings = parent._open  # noqa: SLF001 - a step's own business
            if siblings is None:
                siblings = parent._open = {}  # noqa: SLF001
            siblings[id(step)] = step
        if foreign is not None:
            details["parent_span_id"] = f"{foreign.span_id:016x}"
        if links:
            details["links"] = [_link(link) for link in links]
        if step.tracer is not None and type(step.span) is not LightSpan and self._exported():
            details["exported"] = True
        if self._details_change and details:
            details = self.encoder.details(details)
        self._write(
            StepStarted(
                step.session_id,
                kind,
                name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                start_ns,
                step.trace_id,
                step.span_id,
                details,
            )
        )
        return step

    def _root(
        self,
        kind: str,
        name: str,
        start_ns: int,
        context: Context,
        session_id: str | None,
        step_id: str | None,
        details: dict[str, Any],
        detached: bool,  # noqa: FBT001 - handed on
    ) -> Step:
        found = session_id if detached and session_id else self.session_of(context) or session_id or ""
        if session_id and found != session_id:
            details["framework_session_id"] = session_id
        step = Step(self, kind, name, found, None)
        step.start_ns = start_ns
        step.step_id = step_id or self.ids.hex()
        step.attempt = 1 if step_id is None else self._attempts.next(step_id)
        step.tracer = self._tracer()
        return step

    def _open_root(
        self, step: Step, context: Context, attributes: dict[str, Any] | None, links: Sequence[Link]
    ) -> SpanContext | None:
        """Open a root's span, name its session by its trace where nothing else does; return the span around it."""
        around = trace_api.get_current_span(context).get_span_context()
        foreign = around if around.is_valid else None
        span = self._sdk_span(step, context, foreign, attributes, links) if step.tracer is not None else None
        if span is None:
            trace_id = foreign.trace_id if foreign is not None else self.ids.trace_id()
            flags = foreign.trace_flags if foreign is not None else _SAMPLED
            state = foreign.trace_state if foreign is not None else None
            span = LightSpan(
                SpanContext(trace_id, self.ids.span_id(), is_remote=False, trace_flags=flags, trace_state=state)
            )
        self._named_by(step, span)
        if not step.session_id:
            step.session_id = step.trace_id
            if type(span) is not LightSpan:
                span.set_attribute(CONVERSATION_ID, step.session_id)
        return foreign

    def _open_child(
        self,
        step: Step,
        parent: Step,
        context: Context,
        enclosing: Any,
        attributes: dict[str, Any] | None,
        links: Sequence[Link],
    ) -> SpanContext | None:
        """Open a child's span below its parent's, or below a span of the user's in between; return that one."""
        above = parent.span
        foreign: SpanContext | None = None
        if enclosing is parent:
            current = context.get(_SPAN_KEY)
            if current is not above and isinstance(current, Span):
                above = current
                foreign = current.get_span_context()
        tracer = step.tracer = parent.tracer
        if tracer is not None:
            if enclosing is not parent:
                context = parent.context(context)
            span = self._sdk_span(step, context, foreign or above.get_span_context(), attributes, links)
            if span is not None:
                self._named_by(step, span)
                return foreign
        step.span_id = span_id = self.ids.span_id_hex()
        step.span = LightSpan(None, above, int(span_id, 16))
        step.trace_id = parent.trace_id if foreign is None else f"{foreign.trace_id:032x}"
        return foreign

    def _sdk_span(
        self,
        step: Step,
        context: Context,
        above: SpanContext | None,
        attributes: dict[str, Any] | None,
        links: Sequence[Link],
    ) -> Span | None:
        """Return the step's span of the program's provider; a light one of its ids where it is not recorded.

        None where the provider gives no ids of its own: the SDK is disabled, or its sampler raised.
        """
        tracer = step.tracer
        if tracer is None:
            return None
        try:
            span = tracer.start_span(
                span_name(step.kind, step.name, attributes.get(OPERATION_NAME) if attributes else None),
                context,
                _KINDS.get(step.kind, SpanKind.INTERNAL),
                start_attributes(
                    step.kind, step.name, step.session_id, step.step_id, step.parent_step_id, step.attempt, attributes
                ),
                links,
                step.start_ns,
                False,  # noqa: FBT003 - the endings are recorded here
                False,  # noqa: FBT003
            )
            if span.is_recording():
                return span
            given = span.get_span_context()
        except Exception:  # noqa: BLE001 - a sampler or processor of the program's
            self._failed("a span could not be started")
            return None
        if given.is_valid and (above is None or given.span_id != above.span_id):
            return LightSpan(given)
        return None

    def _named_by(self, step: Step, span: Span) -> None:
        ids = span.get_span_context()
        step.span = span
        step.trace_id = f"{ids.trace_id:032x}"
        step.span_id = f"{ids.span_id:016x}"

    def end_step(
        self,
        step: Step,
        outcome: str,
        error: BaseException | ErrorInfo | None,
        usage: Usage | None,
        attributes: dict[str, Any] | None,
        details: dict[str, Any] | None,
        on_span: dict[str, Any] | None,
    ) -> None:
        """Journal a step's ending and end its span. Call `Step.end`, which lets only the first through."""
        end_ns = self._now()
        if step._chunks:  # noqa: SLF001 - the two halves of one thing
            step.flush_chunks()
        info = self._error_info(error) if error is not None else None
        span = step.span
        details = details if details is not None else {}
        if type(span) is LightSpan:
            attributes = _kept(span, attributes, details)
            span.end()
        else:
            self._end_span(span, outcome, usage, info, {**(attributes or {}), **on_span} if on_span else attributes, end_ns)
            if self._forwarded and not self._exported():
                attributes = _set_by_user(span, attributes, details)
        if attributes:
            details["attributes"] = attributes
        if self._details_change and details:
            details = self.encoder.details(details)
        self._write(
            StepEnded(
                step.session_id,
                step.kind,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                step.trace_id,
                step.span_id,
                end_ns,
                outcome,
                info,
                usage,
                details,
            )
        )
        if step.parent is None:
            self._roots.pop(id(step), None)

    def _end_span(
        self,
        span: Span,
        outcome: str,
        usage: Usage | None,
        info: ErrorInfo | None,
        attributes: dict[str, Any] | None,
        end_ns: int,
    ) -> None:
        try:
            for key, value in end_attributes(outcome, usage, info, attributes).items():
                span.set_attribute(key, value)
            if outcome == "error":
                code, description = span_status(outcome, info)
                span.set_status(Status(StatusCode(code), description))
            span.end(end_ns)
        except Exception:  # noqa: BLE001 - a processor of the program's
            self._failed("a span could not be ended")

    def note(self, step: Step, event_type: str, details: Mapping[str, Any], level: str = "INFO") -> None:
        """Journal an event within a step."""
        if self._details_change:
            details = self.encoder.details(dict(details))
        self._write(
            StepNoted(
                step.session_id,
                event_type,
                level,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                step.trace_id,
                step.span_id,
                step.next_index(),
                self._now(),
                details,
            )
        )

    # --- sessions ---

    def session_of(self, context: Context) -> str | None:
        """Return the session that a root in this context belongs to: the enclosing step's, baggage's, `--session`."""
        step = context.get(STEP_KEY)
        if isinstance(step, Step):
            return step.session_id
        for key in _SESSION_BAGGAGE:
            value = get_baggage(key, context)
            if isinstance(value, str) and value:
                return value
        return self.session_id

    def record(
        self,
        session_id: str,
        event_type: str,
        details: Mapping[str, Any] = EMPTY,
        *,
        level: str = "INFO",
        name: str | None = None,
        step: Step | None = None,
        event_id: str | None = None,
    ) -> None:
        """Journal an event of a session, beside or within a step."""
        if self._details_change:
            details = self.encoder.details(dict(details))
        now_ns = self._now()
        self._write(
            SessionNoted(
                session_id,
                event_id or time_ordered_id(now_ns, self.ids.bytes16()),
                event_type,
                level,
                now_ns,
                name,
                step.step_id if step else None,
                step.parent_step_id if step else None,
                step.attempt if step else None,
                step.trace_id if step else None,
                step.span_id if step else None,
                details,
            )
        )

    def resumed(self, step: Step, checkpoint_id: str) -> None:
        """Journal that a root goes on from where an interrupted one stopped, at a checkpoint."""
        self.record(step.session_id, RUN_RESUMED, {"checkpoint_id": checkpoint_id}, name=step.name, step=step)

    # --- liveness ---

    def heartbeat(self) -> None:
        """Journal that this process is alive, while it has a root open."""
        self.clock.catch_up()
        sessions = tuple({root.session_id for root in list(self._roots.values())})
        if sessions:
            self._write(Heartbeat(self._now(), sessions))

    def open_roots(self) -> list[Step]:
        """Return the roots that have not ended."""
        return list(self._roots.values())

    def close(self) -> None:
        """End what is still open as cancelled: the process is leaving in order."""
        for root in self.open_roots():
            root.end("cancelled")

    # --- inside ---

    def write(self, fact: Fact) -> None:
        """Journal a fact that another door made."""
        self._write(fact)

    def _write(self, fact: Fact) -> None:
        try:
            data, blobs = self._encode(fact)
            for blob in blobs:
                self._append(blob)
            if not self._append(data):
                self.dropped += 1
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            self._failed("an event could not be journaled")

    def _failed(self, what: str) -> None:
        self.dropped += 1
        now = time.monotonic()
        if now - self._complained_at > 60 or not self._complained_at:
            self._complained_at = now
            _log.warning("dropped=<%d> | %s", self.dropped, what, exc_info=True)

    def _error_info(self, error: BaseException | ErrorInfo) -> ErrorInfo:
        try:
            info = error if isinstance(error, ErrorInfo) else error_info(error)
            if self.encoder.redactor is None:
                return info
            message = self.encoder.redacted("error.message", info.message)
            return ErrorInfo(type=info.type, message=str(message), code=info.code)
        except Exception:  # noqa: BLE001 - an exception whose own `str` raises
            return ErrorInfo(type=type(error).__qualname__)

    def _tracer(self) -> Tracer | None:
        """Return a tracer of the program's provider as it is now, or None where it has none."""
        provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
        if getattr(provider, "agent_journal_fallback", False):  # ours, for the spans of other libraries
            return None
        known, tracer = self._tracers
        if provider is not known:
            tracer = None if provider is None else provider.get_tracer(SCOPE_NAME)
            if isinstance(tracer, trace_api.NoOpTracer):
                tracer = None
            self._tracers = (provider, tracer)
        return tracer

    def _after_fork(self) -> None:
        self._roots = {}


def error_info(error: BaseException) -> ErrorInfo:
    """Return type, message and, of AWS's client errors, the service's code of an exception."""
    code: str | None = None
    response: Any = getattr(error, "response", None)
    if isinstance(response, Mapping):
        inner: Any = response.get("Error")  # botocore.exceptions.ClientError
        if isinstance(inner, Mapping) and inner.get("Code"):
            code = str(inner["Code"])
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorInfo(type=name, message=str(error)[:4096], code=code)


def _kept(span: LightSpan, attributes: dict[str, Any] | None, details: dict[str, Any]) -> dict[str, Any] | None:
    if span.events:
        details["events"] = span.events
    if span.links:
        details["links"] = span.links
    if span.status is not None and span.status.status_code is not StatusCode.UNSET:
        details["status"] = {"code": span.status.status_code.value, "description": span.status.description}
    if span.attributes:
        return {**span.attributes, **(attributes or {})}
    return attributes


def _set_by_user(span: Any, attributes: dict[str, Any] | None, details: dict[str, Any]) -> dict[str, Any] | None:
    """Return the attributes with those that user code set on a span of the SDK; its events go into details."""
    found: Mapping[str, Any] = getattr(span, "attributes", None) or EMPTY
    theirs = {key: value for key, value in found.items() if not key.startswith(_OURS)}
    events = getattr(span, "events", ())
    if events:
        details["events"] = [
            {"name": event.name, "timestamp_ns": event.timestamp, "attributes": dict(event.attributes or {})}
            for event in events
        ]
    return {**theirs, **(attributes or {})} if theirs else attributes


def _link(link: Link) -> dict[str, str]:
    return {"trace_id": f"{link.context.trace_id:032x}", "span_id": f"{link.context.span_id:016x}"}


def current_step() -> Step | None:
    """Return the step that encloses this code, where there is one."""
    step = context_api.get_current().get(STEP_KEY)
    return step if isinstance(step, Step) else None
