"""What real instrumentations put on spans (`record_dialects.py`), played again on a provider of the SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from otel_agent_journal.mapping.facts import SpansReceived
from otel_agent_journal.mapping.from_sdk import span_record
from otel_agent_journal.mapping.span_record import SpanRecord

FOLDER: Final = Path(__file__).resolve().parents[1] / "golden" / "dialects"
DIALECTS: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
SESSION: Final = "session-1"
RECEIVED_NS: Final = 1_770_000_000_000_000_000


class _Ids(IdGenerator):
    """The ids of a recording, in the order in which its spans began."""

    def __init__(self, spans: Sequence[dict[str, Any]]) -> None:
        self._spans = iter([int(span["span_id"], 16) for span in spans])
        self._traces = iter([int(span["trace_id"], 16) for span in spans if span["parent_span_id"] is None])

    def generate_span_id(self) -> int:
        return next(self._spans)

    def generate_trace_id(self) -> int:
        return next(self._traces)


class Ended(SpanProcessor):
    """Keeps spans as they end."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def recording(dialect: str) -> dict[str, Any]:
    """Return what was recorded."""
    return json.loads((FOLDER / f"{dialect}.json").read_text(encoding="utf-8"))


def played(dialect: str, *processors: SpanProcessor) -> list[ReadableSpan]:
    """Open and end the spans of a recording, in its order; return them as they ended."""
    recorded = recording(dialect)
    spans: list[dict[str, Any]] = recorded["spans"]
    ended = Ended()
    provider = TracerProvider(id_generator=_Ids(spans), resource=Resource({"service.name": "scripted"}))
    for processor in (*processors, ended):
        provider.add_span_processor(processor)
    live: dict[str, Any] = {}
    for what, number in recorded["order"]:
        span = spans[number]
        if what == "start":
            live[span["span_id"]] = _begun(provider, span, live)
        else:
            _end(live[span["span_id"]], span)
    return ended.spans


def _begun(provider: TracerProvider, span: dict[str, Any], live: dict[str, Any]) -> Any:
    parent = live.get(span["parent_span_id"] or "")
    made = provider.get_tracer(span["scope"]["name"], span["scope"]["version"]).start_span(
        span["name"],
        context=Context() if parent is None else set_span_in_context(parent, Context()),
        kind=SpanKind[span["kind"]],
        attributes=span["at_creation"],
        start_time=span["start_ns"],
    )
    assert f"{made.get_span_context().span_id:016x}" == span["span_id"]
    made.set_attributes({key: value for key, value in span["attributes"].items() if key in span["soon"]})
    return made


def _end(made: Any, span: dict[str, Any]) -> None:
    made.set_attributes(span["attributes"])
    for event in span["events"]:
        made.add_event(event["name"], event["attributes"], event["timestamp_ns"])
    status = span["status"]
    if status["code"]:
        made.set_status(Status(StatusCode(status["code"]), status["description"]))
    made.end(span["end_ns"])


def records(dialect: str) -> Iterator[SpanRecord]:
    """Yield the spans of a recording as plain data, in the order of their start."""
    yield from map(span_record, sorted(played(dialect), key=lambda span: span.start_time or 0))


def request(spans: Sequence[ReadableSpan], received_ns: int = RECEIVED_NS) -> SpansReceived:
    """Return spans as a receiver gets them of the official exporter."""
    return SpansReceived(received_ns, encode_spans(spans).SerializeToString())
