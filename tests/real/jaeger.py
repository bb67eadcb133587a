"""A real Jaeger for tests, asked over its query API.

Storage is in memory: each Jaeger starts empty, and tests that share one tell their traces apart by trace id.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from scripts.ports import reserved_port
from tests.real.servers import ROOT, Server

CONFIG = ROOT / "scripts" / "jaeger.yaml"


class Jaeger(Server):
    """One Jaeger. Started again after `stop`, it has the same ports and no traces."""

    name = "jaeger"

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__(program, folder)
        ports = {name: reserved_port() for name in ("otlp_http", "otlp_grpc", "query", "query_grpc")}
        self.otlp_http = f"http://127.0.0.1:{ports['otlp_http']}"  # the base address, without `/v1/traces`
        self.otlp_grpc = f"http://127.0.0.1:{ports['otlp_grpc']}"  # without TLS
        self.query = f"http://127.0.0.1:{ports['query']}"  # the base address of the query API
        self._ports = {**ports, "health": self.port}

    def command(self) -> list[str]:
        """Return its command."""
        return [str(self.program), "--config", str(CONFIG)]

    def environ(self) -> dict[str, str]:
        """Return where it is to listen."""
        return {f"JAEGER_{name.upper()}": str(port) for name, port in self._ports.items()}

    def is_up(self) -> bool:
        """Tell whether it says that it is healthy."""
        return self.answers("/status")

    def services(self) -> list[str]:
        """Return the names of the services that sent spans."""
        return sorted(self._get("/api/services")["data"] or ())

    def traces(self, service: str, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the traces of a service in Jaeger's own JSON, of the last hour."""
        return self._get("/api/traces?" + urlencode({"service": service, "lookback": "1h", "limit": limit}))["data"]

    def find_trace(self, trace_id: str) -> dict[str, Any] | None:
        """Return a trace in Jaeger's own JSON (times in microseconds), or None where it is not there."""
        try:
            found = self._get(f"/api/traces/{trace_id}")["data"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found[0] if found else None

    def trace(
        self,
        trace_id: str,
        until: Callable[[dict[str, Any]], bool] = lambda trace: bool(trace["spans"]),
        timeout_s: float = 60,
    ) -> dict[str, Any]:
        """Return a trace once it is there and `until` is true of it: spans arrive in their own time."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.find_trace(trace_id)
            if found is not None and until(found):
                return found
            if time.monotonic() > deadline:
                names = None if found is None else sorted(span["operationName"] for span in found["spans"])
                raise AssertionError(f"trace {trace_id} in Jaeger after {timeout_s:g} s: {names}")
            time.sleep(0.05)

    def otlp_trace(self, trace_id: str) -> dict[str, Any]:
        """Return a trace as OTLP JSON: the resource, and times in nanoseconds."""
        return self._get(f"/api/v3/traces/{trace_id}")["result"]

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.query + path, timeout=10) as answer:
            return json.load(answer)


def spans_by_name(trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the spans of a trace by operation name; of several with one name, the last."""
    return {span["operationName"]: span for span in trace["spans"]}


def tags_of(span: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span as a plain mapping."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def parent_of(span: dict[str, Any]) -> str | None:
    """Return the span id of the parent, or None of a root."""
    parents = [link["spanID"] for link in span["references"] if link["refType"] == "CHILD_OF"]
    return parents[0] if parents else None
