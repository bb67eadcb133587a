"""What these tests ask of a trace in Jaeger: its spans with parents, links, tags and events at hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tests.real.jaeger import Jaeger, parent_of, tags_of


class JaegerSpan:
    """A span as Jaeger tells it. Times in microseconds."""

    def __init__(self, raw: dict[str, Any], process: dict[str, Any]) -> None:
        self.name: str = raw["operationName"]
        self.trace_id: str = raw["traceID"]
        self.span_id: str = raw["spanID"]
        self.parent: str | None = parent_of(raw)
        self.start_us: int = raw["startTime"]
        self.end_us: int = raw["startTime"] + raw["duration"]
        self.tags = tags_of(raw)
        self.service: str = process["serviceName"]
        self.resource = tags_of(process)
        self.links = [(ref["traceID"], ref["spanID"]) for ref in raw["references"] if ref["refType"] == "FOLLOWS_FROM"]
        self.events: list[dict[str, Any]] = [
            {field["key"]: field["value"] for field in log["fields"]} for log in raw.get("logs") or []
        ]

    @property
    def label(self) -> str:
        """Name and attempt, which tell the spans of one small trace apart."""
        return f"{self.name}/{self.tags.get('agent_journal.attempt', '-')}"

    def __repr__(self) -> str:
        return f"<{self.label} {self.span_id} in {self.parent}>"


class OwnJaeger(Jaeger):
    """A Jaeger that one test starts and stops. Its traces are gone anyway, so it is not asked to leave in order."""

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
        super().stop()


def spans_in(trace: dict[str, Any] | None) -> list[JaegerSpan]:
    """Return the spans of a trace, doubles included."""
    return [] if trace is None else [JaegerSpan(raw, trace["processes"][raw["processID"]]) for raw in trace["spans"]]


def spans_of_service(jaeger: Jaeger, service: str, count: int, timeout_s: float = 15) -> list[JaegerSpan]:
    """Return all spans that a service sent, once there are `count`, after giving doubles a moment to show."""
    deadline = time.monotonic() + timeout_s
    found: list[JaegerSpan] = []
    while len(found) < count and time.monotonic() < deadline:
        time.sleep(0.1)
        found = [span for trace in jaeger.traces(service) for span in spans_in(trace)]
    time.sleep(0.3)
    return [span for trace in jaeger.traces(service) for span in spans_in(trace)]


def spans_of_trace(jaeger: Jaeger, trace_id: str, count: int, timeout_s: float = 15) -> list[JaegerSpan]:
    """Return the spans of a trace, once there are `count`, after giving doubles a moment to show."""
    jaeger.trace(trace_id, until=lambda trace: len(trace["spans"]) >= count, timeout_s=timeout_s)
    time.sleep(0.2)
    return spans_in(jaeger.find_trace(trace_id))


def each_once(spans: Sequence[JaegerSpan]) -> dict[str, JaegerSpan]:
    """Return spans by label, having checked that no step is there twice."""
    labelled = {span.label: span for span in spans}
    assert len(labelled) == len(spans), f"some spans are there twice: {sorted(span.label for span in spans)}"
    return labelled
