"""What spans that were received amount to: the facts of steps, each in the session that its trace belongs to.

A trace's spans come in any order, over many requests: as a rule a child before its parent, and a span without a session
before the one that names it. So traces are remembered, and where a session comes to be known of one that spans were
kept under already, both are told (SESSION_LINKED). Pure but for that memory, which may outlive the process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

import msgspec

from otel_agent_journal.event import SESSION_LINKED, derived_id, step_of_span
from otel_agent_journal.mapping.facts import Fact, SessionNoted, SpansReceived
from otel_agent_journal.mapping.from_otlp import span_records
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.mapping.to_events import ended, is_journaled, session_named_by, started, step_id_of

REMEMBERED_TRACES: Final = 100_000


class Trace(msgspec.Struct):
    """What is remembered of a trace. `changed`: since it was last kept, where it is kept at all."""

    session_id: str | None = None  # None: no span has named one yet
    named_ns: int = 0  # when the request was received that did
    is_session: bool = False  # spans were kept under the trace's own id
    changed: bool = False


class Traces(Protocol):
    """What remembers traces."""

    def get(self, trace_id: str) -> Trace:
        """Return what is known of a trace, to be changed in place; of one that is not, a new one."""
        ...


class RecentTraces:
    """Remembers the last so many traces, in memory."""

    def __init__(self, limit: int = REMEMBERED_TRACES) -> None:
        self._limit = limit
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    def get(self, trace_id: str) -> Trace:
        """Return what is known of a trace, to be changed in place."""
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = Trace()
            if len(self._traces) > self._limit:
                self._traces.popitem(last=False)
        else:
            self._traces.move_to_end(trace_id)
        return trace


class ReceivedSpans:
    """Makes facts of requests. Used by one thread at a time.

    Args:
        all_spans: journal spans of every kind, not those of agents alone.
        traces: what remembers them.
    """

    def __init__(self, *, all_spans: bool = False, traces: Traces | None = None) -> None:
        self._spans = "all" if all_spans else "genai"
        self._traces: Traces = RecentTraces() if traces is None else traces

    def facts(self, received: SpansReceived) -> list[Fact]:
        """Return what a request amounts to, in the order in which its steps began. Raises as `read` does."""
        return self.read(received)[0]

    def told(self, trace_id: str, session_id: str, now_ns: int) -> None:
        """Remember which session a trace belongs to, which an event of that session says; the first that is said."""
        trace = self._traces.get(trace_id)
        if trace.session_id is None:
            trace.session_id, trace.named_ns, trace.changed = session_id, now_ns, True

    def read(self, received: SpansReceived) -> tuple[list[Fact], int]:
        """Return what a request amounts to, in the order in which its steps began, and how many spans it has.

        Raises:
            ValueError: it is no such request.
        """
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        try:
            request = ExportTraceServiceRequest.FromString(received.request)
        except DecodeError as error:
            raise ValueError(f"not a request for spans: {error}") from error
        records = sorted(span_records(request), key=lambda record: record.start_ns)
        steps = {
            (record.trace_id, record.span_id): step_id_of(record)
            for record in records
            if is_journaled(record, spans=self._spans)
        }
        spans = {(record.trace_id, record.span_id): record for record in records}
        for record in records:
            self._name(record, received.received_ns)
        facts: list[Fact] = []
        for record in records:
            if (record.trace_id, record.span_id) not in steps:
                continue
            session_id = self._session(record, received.received_ns)
            parent = _parent(record, spans, steps)
            facts.append(started(record, session_id=session_id, parent_step_id=parent))
            facts.append(ended(record, session_id=session_id, parent_step_id=parent, at_start=record.attributes))
        facts.extend(self._links(record.trace_id for record in records))
        return facts, len(records)

    def _name(self, record: SpanRecord, now_ns: int) -> None:
        """Remember which session a span says its trace belongs to; the first that is said counts."""
        named = session_named_by(record)
        if named is not None:
            self.told(record.trace_id, named, now_ns)

    def _session(self, record: SpanRecord, now_ns: int) -> str:
        """Return the session a span is kept under: the same one however often its request is read.

        What was received before its trace was named stays with the trace, though its name may be known by now.
        """
        trace = self._traces.get(record.trace_id)
        session_id = session_named_by(record) or (trace.session_id if now_ns >= trace.named_ns else None)
        if session_id is None or session_id == record.trace_id:
            if not trace.is_session:
                trace.is_session = trace.changed = True
            return record.trace_id
        return session_id

    def _links(self, trace_ids: Iterable[str]) -> Iterator[SessionNoted]:
        """Yield the links of traces that are sessions of their own, and part of another: once more each time."""
        for trace_id in dict.fromkeys(trace_ids):
            trace = self._traces.get(trace_id)
            if trace.is_session and trace.session_id not in (None, trace_id):
                yield from links(trace.session_id or trace_id, trace_id, trace.named_ns)


def _parent(
    record: SpanRecord, spans: Mapping[tuple[str, str], SpanRecord], steps: Mapping[tuple[str, str], str]
) -> str | None:
    """Return the step above a span: past spans that are no steps; where its span is yet to come, by that span."""
    above = record
    for _ in range(len(spans)):  # spans that are each other's parents
        if above.parent_span_id is None:
            return None
        key = (above.trace_id, above.parent_span_id)
        if key in steps:
            return steps[key]
        if key not in spans:
            return step_of_span(*key)
        above = spans[key]
    return None


def links(session_id: str, trace_id: str, now_ns: int) -> Iterator[SessionNoted]:
    """Yield what tells a session and a trace that was kept under its own id that they are one."""
    for one, other in ((session_id, trace_id), (trace_id, session_id)):
        yield SessionNoted(
            session_id=one,
            event_id=derived_id(f"link:{session_id}:{trace_id}"),
            type=SESSION_LINKED,
            level="INFO",
            timestamp_ns=now_ns,
            details={"session": session_id, "trace": trace_id, "other": other},
        )
