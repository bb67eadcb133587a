"""The real Jaeger, for the tests of this folder: started once, on free ports, ended by its own process id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-agent-journal"

_CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query, healthcheckv2]
  pipelines: {{traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}}}
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
extensions:
  healthcheckv2: {{use_v2: true, http: {{endpoint: 127.0.0.1:{health}}}}}
  jaeger_storage: {{backends: {{main: {{memory: {{max_traces: 100000}}}}}}}}
  jaeger_query: {{storage: {{traces: main}}, http: {{endpoint: 127.0.0.1:{query}}}, grpc: {{endpoint: 127.0.0.1:{query_grpc}}}}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}, http: {{endpoint: 127.0.0.1:{http}}}}}}}
exporters: {{jaeger_storage_exporter: {{trace_storage: main}}}}
"""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Jaeger:
    """One running Jaeger, its addresses, and its query API."""

    def __init__(self, folder: Path, ports: dict[str, int] | None = None) -> None:
        self.folder = folder
        self.ports = ports or {name: free_port() for name in ("grpc", "http", "query", "query_grpc", "health")}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def http_url(self) -> str:
        """Where it takes OTLP over HTTP."""
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def grpc_url(self) -> str:
        """Where it takes OTLP over gRPC."""
        return f"grpc://127.0.0.1:{self.ports['grpc']}"

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        config = self.folder / "jaeger.yaml"
        config.write_text(_CONFIG.format(**self.ports))
        with (self.folder / "jaeger.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_CACHE / "bin" / "jaeger", "--config", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._wait_until_healthy()

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['health']}/status", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"Jaeger did not start: {(self.folder / 'jaeger.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it; what it held in memory is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['query']}{path}", timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return {"data": []} if error.code == 404 else pytest.fail(f"{path}: {error.read()!r}")

    def trace(self, trace_id: str) -> list[JaegerSpan]:
        """Return the spans of a trace as the query API gives them, doubles included."""
        traces = self._get(f"/api/traces/{trace_id}").get("data") or []
        return [JaegerSpan(span, trace["processes"][span["processID"]]) for trace in traces for span in trace["spans"]]

    def wait_for(self, trace_id: str, spans: int, *, timeout_s: float = 15) -> list[JaegerSpan]:
        """Return a trace once it has that many spans, after giving doubles a moment to show."""
        found = _poll(lambda: self.trace(trace_id), lambda found: len(found) >= spans, timeout_s)
        if len(found) == spans:
            time.sleep(0.2)
            found = self.trace(trace_id)
        return found

    def traces_of(self, service: str) -> list[JaegerSpan]:
        """Return all spans of a service."""
        traces = self._get(f"/api/traces?service={service}&lookback=1h&limit=1000").get("data") or []
        return [JaegerSpan(span, trace["processes"][span["processID"]]) for trace in traces for span in trace["spans"]]


class JaegerSpan:
    """A span as Jaeger tells it."""

    def __init__(self, raw: dict[str, Any], process: dict[str, Any]) -> None:
        self.raw = raw
        self.name: str = raw["operationName"]
        self.trace_id: str = raw["traceID"]
        self.span_id: str = raw["spanID"]
        self.start_us: int = raw["startTime"]
        self.duration_us: int = raw["duration"]
        self.tags: dict[str, Any] = {tag["key"]: tag["value"] for tag in raw["tags"]}
        self.resource: dict[str, Any] = {tag["key"]: tag["value"] for tag in process["tags"]}
        self.service: str = process["serviceName"]
        references = raw.get("references") or []
        self.parents = [ref["spanID"] for ref in references if ref["refType"] == "CHILD_OF"]
        self.links = [(ref["traceID"], ref["spanID"]) for ref in references if ref["refType"] == "FOLLOWS_FROM"]
        self.events: list[dict[str, Any]] = [
            {field["key"]: field["value"] for field in log["fields"]} for log in raw.get("logs") or []
        ]

    def __repr__(self) -> str:
        return f"<{self.name} {self.span_id} parents={self.parents}>"


def _poll(ask: Callable[[], Any], enough: Callable[[Any], bool], timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if enough(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


@pytest.fixture(scope="session")
def jaeger_binary() -> Path:
    """The Jaeger that `scripts/real_servers.sh jaeger` builds; without it these tests are left out, in CI they fail."""
    binary = _CACHE / "bin" / "jaeger"
    if not binary.exists():
        reason = "Jaeger is not built: scripts/real_servers.sh jaeger"
        if os.environ.get("CI") == "true" and shutil.which("go"):
            pytest.fail(reason)
        pytest.skip(reason)
    return binary


@pytest.fixture(scope="session")
def jaeger(jaeger_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """A running Jaeger, shared by the tests of a session: each uses trace ids of its own."""
    server = Jaeger(tmp_path_factory.mktemp("jaeger"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_jaeger(jaeger_binary: Path, tmp_path: Path) -> Iterator[Jaeger]:
    """A Jaeger of the test's own, not started: to be started, stopped and started again."""
    server = Jaeger(tmp_path)
    yield server
    server.stop()
