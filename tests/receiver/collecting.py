"""`agent-journal collect` in a process of its own, and what is sent to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal import JournalEvent, open_store
from tests.e2e.conftest import BIN
from tests.real.servers import tied

START_S = 60
END_S = 60
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Collecting:
    """A running receiver, its journal in a folder."""

    def __init__(self, folder: Path, *options: str, env: dict[str, str] | None = None, url: str | None = None) -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{folder}/journal.db"
        self._said = (folder / "collect.log").open("a+")
        begin = self._said.seek(0, os.SEEK_END)
        command = [BIN / "agent-journal", "collect", "--store", self.url]
        self.process = subprocess.Popen(
            [*tied(), *command, *(options or ("--grpc", ANY, "--http", ANY))],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stderr=self._said,
        )
        self._begin = begin
        try:
            self.grpc = "" if "--no-grpc" in options else self._address("grpc")
            self.http = "" if "--no-http" in options else self._address("http")
        except BaseException:
            self.close()
            raise

    def _address(self, name: str) -> str:
        deadline = time.monotonic() + START_S
        while True:
            found = re.search(rf"OTLP/{name} on (\S+)", self.said())
            if found is not None:
                return found.group(1)
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        """Return what it printed since it was started."""
        self._said.seek(self._begin)
        return self._said.read()

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve."""
        found: list[psutil.Process] = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is none
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def kill(self) -> None:
        """Kill all of it, as the OOM killer would."""
        victims = [psutil.Process(self.process.pid), *self.workers()]
        for victim in victims:
            victim.kill()
        self.process.wait(END_S)
        psutil.wait_procs(victims, timeout=END_S)

    def stop(self) -> str:
        """End it in order; return what it said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(END_S) == 0, self.said()
        return self.said()

    def events(self, session_id: str) -> list[JournalEvent]:
        """Return what is in the store of a session."""
        store = open_store(self.url)
        try:
            return list(store.read(session_id))
        finally:
            store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill what still runs."""
        if self.process.poll() is None:
            self.kill()
        self._said.close()


ANY = "127.0.0.1:0"


def eventually(holds: Callable[[], bool], patience_s: float = 60) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def request(spans: Iterable[tuple[str, str]], session_id: str | None = "s1") -> ExportTraceServiceRequest:
    """Return a request for model calls, by trace id and span id, 32 and 16 hex digits."""
    made = ExportTraceServiceRequest()
    of_scope = made.resource_spans.add().scope_spans.add()
    of_scope.scope.name = "test"
    for number, (trace_id, span_id) in enumerate(spans):
        span = of_scope.spans.add(
            trace_id=bytes.fromhex(trace_id),
            span_id=bytes.fromhex(span_id),
            name="chat m",
            kind=3,
            start_time_unix_nano=1_700_000_000_000_000_000 + number,
            end_time_unix_nano=1_700_000_001_000_000_000 + number,
        )
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
        if session_id is not None:
            attributes["gen_ai.conversation.id"] = session_id
        for key, value in attributes.items():
            span.attributes.add(key=key).value.string_value = value
    return made
