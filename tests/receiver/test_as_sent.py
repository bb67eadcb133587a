"""What of a request is kept in the spool."""

from __future__ import annotations

import asyncio

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal.mapping.facts import SpansReceived, decode_fact
from otel_agent_journal.mapping.from_otlp import span_records
from otel_agent_journal.receiver.answers import OK, Answer
from otel_agent_journal.receiver.counters import Counters
from otel_agent_journal.receiver.intake import Intake
from otel_agent_journal.receiver.signals import SPANS
from tests.receiver.collecting import request

TRACE = "0af7651916cd43dd8448eb211c80319c"
UNKNOWN_FIELD = b"\xfa\x01\x02hi"  # field 31, which no version has, with two bytes


class Kept:
    """A spool in memory."""

    last_refusal: str | None = None

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def append(self, payload: bytes) -> bool:
        """Keep a record."""
        fact = decode_fact(payload)
        assert isinstance(fact, SpansReceived)
        self.requests.append(fact.request)
        return True


def keep(body: bytes) -> tuple[Answer, list[bytes]]:
    """Return the answer to a request, and what is kept of it."""
    kept = Kept()
    intake = Intake(kept, Counters(1).row(0), budget_bytes=1 << 20)
    with intake.arriving() as arriving:
        answer = asyncio.run(intake.keep(SPANS, body, SPANS.read, arriving, compressed=False))
    return answer, kept.requests


def test_nothing_amiss() -> None:
    """A request of which nothing is taken out is kept byte by byte as it was sent, unknown fields first."""
    body = UNKNOWN_FIELD + request([(TRACE, "00f067aa0ba902b7")]).SerializeToString()
    assert ExportTraceServiceRequest.FromString(body).SerializeToString() != body
    assert keep(body) == (OK, [body])


def test_one_amiss() -> None:
    """A request with a malformed span is kept without it."""
    made = request([(TRACE, "00f067aa0ba902b7"), (TRACE, "00f067aa0ba902b8")])
    made.resource_spans[0].scope_spans[0].spans[0].trace_id = b""
    answer, (part,) = keep(made.SerializeToString())
    assert answer.rejected == 1
    assert [one.span_id for one in span_records(ExportTraceServiceRequest.FromString(part))] == ["00f067aa0ba902b8"]
