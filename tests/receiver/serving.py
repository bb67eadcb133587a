"""Both doors of the receiver in this process, before a log that is a list: for what is told, and what is kept."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal.mapping.facts import SpansReceived, decode_fact
from otel_agent_journal.receiver.counters import Counters
from otel_agent_journal.receiver.grpc_door import GrpcDoor
from otel_agent_journal.receiver.http_door import HttpDoor
from otel_agent_journal.receiver.http_server import HttpServer
from otel_agent_journal.receiver.intake import Intake
from otel_agent_journal.receiver.metrics import exposition
from otel_agent_journal.receiver.security import Tls, Tokens

MIB = 1024 * 1024


class KeptInMemory:
    """A log that can be told to refuse, or to fail."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.last_refusal: str | None = None
        self.failure: Exception | None = None
        self.disk: threading.Event | None = None  # waited for
        self.asked = 0

    def append(self, payload: bytes) -> bool:
        """Keep a record, or do not."""
        self.asked += 1
        if self.disk is not None:
            self.disk.wait(30)
        if self.failure is not None:
            raise self.failure
        if self.last_refusal is not None:
            return False
        self.payloads.append(payload)
        return True

    def names(self) -> list[str]:
        """Return the spans and log records that were kept, by their names and bodies, in order."""
        found: list[str] = []
        for payload in self.payloads:
            fact: Any = decode_fact(payload)
            if isinstance(fact, SpansReceived):
                request: Any = ExportTraceServiceRequest.FromString(fact.request)
                scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
                found += [span.name for scope in scopes for span in scope.spans]
            else:
                request = ExportLogsServiceRequest.FromString(fact.request)
                scopes = [scope for resource in request.resource_logs for scope in resource.scope_logs]
                found += [record.body.string_value for scope in scopes for record in scope.log_records]
        return found


class NeverStored:
    """A store that is away."""

    async def wait(self, received_ns: int, timeout_s: float) -> bool:
        """Say that it did not come."""
        await asyncio.sleep(0)
        return False


class Serving:
    """The doors of one worker, served by a thread."""

    def __init__(
        self,
        *,
        tokens: tuple[str, ...] = (),
        tls: Tls | None = None,
        budget_bytes: int = 256 * MIB,
        patience_s: float = 15,
        stored: Any = None,
    ) -> None:
        self.log = KeptInMemory()
        self.counters = Counters(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.stored = stored
        self._args = (Tokens(tokens), tls, patience_s)
        self.intake = Intake(self.log, self.counters.row(0), budget_bytes=budget_bytes, stored=stored)
        self._stops: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.grpc, self.http = self.run(self._start())

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the doors' thread."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    def fill(self, size: int) -> Any:
        """Have bytes in hand, until what is returned is ended."""
        arriving = self.intake.arriving()
        assert arriving.grow(size) is None
        return arriving

    async def _start(self) -> tuple[str, str]:
        tokens, tls, patience_s = self._args
        door = GrpcDoor(self.intake, tokens, tls, patience_s=patience_s)
        port = await door.start("127.0.0.1:0")
        http = HttpDoor(self.intake, tokens, lambda: exposition(self.counters.totals()), patience_s=patience_s)
        server = HttpServer(http, tls, grace_s=1, patience_s=patience_s)
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        await server.start(listening)
        self._stops = [lambda: door.stop(0.2), server.stop]
        return f"127.0.0.1:{port}", f"127.0.0.1:{listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stop in self._stops:
            self.run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
