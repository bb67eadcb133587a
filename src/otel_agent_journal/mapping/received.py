"""What spans that were sent amount to: the facts of steps, each in the session that its trace belongs to.

Spans come in any order, over many requests or batches: as a rule a child before its parent. Pure but for what is
remembered of traces (`trace_sessions.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from otel_agent_journal.event import PROCESS, step_of_span
from otel_agent_journal.mapping.dialects import in_genai_terms
from otel_agent_journal.mapping.facts import Fact, SpansReceived
from otel_agent_journal.mapping.from_otlp import span_records
from otel_agent_journal.mapping.processes import told_by_resource
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.mapping.to_events import (
    ended,
    is_journaled,
    is_open,
    left_open,
    session_named_by,
    started,
    step_id_of,
)
from otel_agent_journal.mapping.trace_sessions import Traces, TraceSessions


class ReceivedSpans:
    """Makes facts of requests. Used by one thread at a time.

    Args:
        all_spans: journal spans of every kind, not those of agents alone.
        traces: what remembers them.
        introduces: tell, with agents and spans that have no parent, of their process, by the resource.
    """

    def __init__(self, *, all_spans: bool = False, traces: Traces | None = None, introduces: bool = True) -> None:
        self._introduces = introduces
        self._spans = "all" if all_spans else "genai"
        self._sessions = TraceSessions(traces)

    def told(self, trace_id: str, session_id: str, now_ns: int) -> None:
        """Remember which session a trace belongs to, as an event of that session says."""
        self._sessions.name(trace_id, session_id, now_ns)

    def facts(self, received: SpansReceived) -> list[Fact]:
        """Return what a request amounts to, in the order in which its steps began. Raises as `read` does."""
        return self.read(received)[0]

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
        records = list(span_records(request))
        in_terms = records if received.reduced else map(in_genai_terms, records)
        return self._facts(in_terms, received.received_ns), len(records)

    def facts_of(self, spans_sent: Iterable[SpanRecord], now_ns: int) -> list[Fact]:
        """Return what spans that came together at a time amount to, in the order in which their steps began."""
        return self._facts(map(in_genai_terms, spans_sent), now_ns)

    def _facts(self, in_terms: Iterable[SpanRecord], now_ns: int) -> list[Fact]:
        records = sorted(in_terms, key=lambda record: record.start_ns)
        steps = {
            (record.trace_id, record.span_id): step_id_of(record)
            for record in records
            if is_journaled(record, spans=self._spans)
        }
        spans = {(record.trace_id, record.span_id): record for record in records}
        for record in records:
            self._sessions.name(record.trace_id, session_named_by(record), now_ns)
        facts: list[Fact] = []
        processes: dict[int, dict[str, Any]] = {}  # by the resources of this request
        for record in records:
            if (record.trace_id, record.span_id) not in steps:
                continue
            session_id = self._sessions.session(record, now_ns)
            parent = _parent(record, spans, steps)
            said = (left_open,) if is_open(record) else (started, ended)
            made = [fact_of(record, session_id=session_id, parent_step_id=parent) for fact_of in said]
            if self._introduces and (record.parent_span_id is None or made[0].kind == "AGENT"):
                told = processes.get(id(record.resource))
                if told is None:
                    told = processes[id(record.resource)] = told_by_resource(record.resource)
                if told:
                    made[0] = msgspec.structs.replace(made[0], details={**made[0].details, PROCESS: told})
            facts += made
        facts.extend(self._sessions.links(record.trace_id for record in records))
        return facts


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
