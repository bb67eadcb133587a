"""A real Jaeger for tests: started on free loopback ports, asked over its query API, ended by its own process id.

The binary is built by `scripts/real_servers.sh jaeger`, which also knows where it is. Storage is in memory: each Jaeger
starts empty, and tests that share one tell their traces apart by trace id.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
START_S = 30  # on two shared cores it is up in one or two
CONFIG = ROOT / "scripts" / "jaeger.yaml"


def binary() -> Path | None:
    """Return the built Jaeger, or None where there is none."""
    asked = [str(ROOT / "scripts" / "real_servers.sh"), "--path", "jaeger"]
    path = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    return path if path.exists() else None


class Jaeger:
    """One running Jaeger. `folder` takes its log."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def otlp_http(self) -> str:
        """The base address of OTLP over HTTP, without `/v1/traces`."""
        return f"http://127.0.0.1:{self._ports['otlp_http']}"

    @property
    def otlp_grpc(self) -> str:
        """The address of OTLP over gRPC, without TLS."""
        return f"http://127.0.0.1:{self._ports['otlp_grpc']}"

    @property
    def query(self) -> str:
        """The base address of the query API."""
        return f"http://127.0.0.1:{self._ports['query']}"

    def start(self) -> None:
        """Start it and wait until it is healthy. Started again after `stop`, it has the same ports and no traces."""
        for _ in range(3):  # a port found free may be taken before Jaeger binds it
            self._ports = self._ports or _free_ports("otlp_http", "otlp_grpc", "query", "query_grpc", "health")
            with (self._folder / "jaeger.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [str(self._program), "--config", str(CONFIG)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **{f"JAEGER_{name.upper()}": str(port) for name, port in self._ports.items()}},
                )
            if self._is_up():
                return
            self.stop()
            self._ports = {}
        log_text = (self._folder / "jaeger.log").read_text(errors="replace")
        raise RuntimeError(f"Jaeger did not start; the end of its log:\n{log_text[-2000:]}")

    def stop(self) -> None:
        """End it. Its traces are gone."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(2)  # what it holds is in memory: nothing is lost by a kill
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

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
        timeout_s: float = 10,
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

    def _is_up(self) -> bool:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['health']}/status", timeout=1) as answer:
                    if answer.status == 200:
                        return True
            except OSError:
                time.sleep(0.1)
        return False


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


def _free_ports(*names: str) -> dict[str, int]:
    """Return a free loopback port for each name. All are held until the last is found, so that they differ."""
    held = [socket.socket() for _ in names]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in zip(names, held, strict=True)}
    finally:
        for one in held:
            one.close()
