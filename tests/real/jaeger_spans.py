"""What these tests ask of a trace in Jaeger: its spans with parents, links, tags and events at hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

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


def spans_of_service(jaeger: Jaeger, service: str, count: int, timeout_s: float = 60) -> list[JaegerSpan]:
    """Return all spans that a service sent, doubles included, once there are `count` and a moment has passed."""
    query = urlencode({"service": service, "lookback": "1h", "limit": 1000, "raw": "true"})
    return _settled(lambda: _raw_spans(jaeger, f"/api/traces?{query}"), count, timeout_s)


def spans_of_trace(jaeger: Jaeger, trace_id: str, count: int, timeout_s: float = 60) -> list[JaegerSpan]:
    """Return the spans of a trace, doubles included, once there are `count` and a moment has passed."""
    return _settled(lambda: _raw_spans(jaeger, f"/api/traces/{trace_id}?raw=true"), count, timeout_s)


def _raw_spans(jaeger: Jaeger, path: str) -> list[JaegerSpan]:
    """Return spans as they were received: unless asked for `raw`, Jaeger hides spans that are equal to another."""
    try:
        with urlopen(jaeger.query + path, timeout=10) as answer:
            traces = json.load(answer)["data"] or []
    except HTTPError as error:
        with error:
            if error.code != 404:
                raise
            return []
    return [JaegerSpan(raw, trace["processes"][raw["processID"]]) for trace in traces for raw in trace["spans"]]


def _settled(ask: Callable[[], list[JaegerSpan]], count: int, timeout_s: float) -> list[JaegerSpan]:
    deadline = time.monotonic() + timeout_s
    while len(ask()) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)
    return ask()


def each_once(spans: Sequence[JaegerSpan]) -> dict[str, JaegerSpan]:
    """Return spans by label, having checked that no step is there twice."""
    labelled = {span.label: span for span in spans}
    assert len(labelled) == len(spans), f"some spans are there twice: {sorted(span.label for span in spans)}"
    return labelled
