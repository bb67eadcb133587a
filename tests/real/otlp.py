"""What is sent to a Collector, and a backend that takes it as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.receiver.collecting import TRACES, request

PATIENCE_S: Final = 90
FAST: Final = "yaml:exporters::otlp_grpc/journal::retry_on_failure: {initial_interval: 100ms, max_interval: 300ms}"
LOGS: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


def send(
    address: str,
    trace_id: str,
    spans: int | Iterable[int],
    session_id: str | None = "s1",
    *,
    change: Callable[[Any], None] | None = None,
    timeout_s: float = PATIENCE_S,
) -> None:
    """Send spans of one trace over gRPC, and return when they are acknowledged.

    Args:
        address: where to.
        trace_id: 32 hex digits.
        spans: how many, or the numbers of those that are meant; a span's number is its id.
        session_id: what they name as their session.
        change: is called with each before it is sent.
        timeout_s: how long to wait for the answer.

    Raises:
        grpc.RpcError: it was refused.
    """
    numbers = range(1, spans + 1) if isinstance(spans, int) else spans
    made = request([(trace_id, f"{number:016x}") for number in numbers], session_id)
    if change is not None:
        for span in made.resource_spans[0].scope_spans[0].spans:
            change(span)
    post(address, TRACES, made, timeout_s)


def send_logs(address: str, *event_names: str) -> None:
    """Send a log record for each name; an empty one has none."""
    made = ExportLogsServiceRequest()
    of_scope = made.resource_logs.add().scope_logs.add()
    for name in event_names:
        of_scope.log_records.add(event_name=name, time_unix_nano=1).body.string_value = "said"
    post(address, LOGS, made, PATIENCE_S)


def post(address: str, method: str, message: Any, timeout_s: float) -> None:
    """Call a method once; wait for a server that is not there yet."""
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(method)(message.SerializeToString(), timeout=timeout_s, wait_for_ready=True)


def eventually(holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.05)


class Sink:
    """A backend that takes spans and logs over gRPC and keeps them in memory. A context manager.

    Args:
        address: where to listen; port 0 is any.
        credentials: of a server with TLS.
        answer: called before each answer, as to be slow, or to end the call by `context.abort`.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:0",
        *,
        credentials: grpc.ServerCredentials | None = None,
        answer: Callable[[grpc.ServicerContext], None] | None = None,
    ) -> None:
        self.traces: list[ExportTraceServiceRequest] = []
        self.logs: list[ExportLogsServiceRequest] = []
        self.metadata: list[dict[str, str]] = []
        self._answer = answer
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self._handler()])
        server = self._server
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"

    def span_ids(self) -> list[str]:
        """Return the ids of the spans that came, as often as they came."""
        return [
            span.span_id.hex()
            for taken in list(self.traces)
            for of_resource in taken.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def event_names(self) -> list[str]:
        """Return the event names of the log records that came."""
        return [
            record.event_name
            for taken in list(self.logs)
            for of_resource in taken.resource_logs
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ]

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    def _handler(self) -> grpc.GenericRpcHandler:
        def taking(kind: Any, kept: list[Any]) -> grpc.RpcMethodHandler:
            def export(message: Any, context: grpc.ServicerContext) -> bytes:
                self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
                if self._answer is not None:
                    self._answer(context)
                kept.append(message)
                return b""

            return grpc.unary_unary_rpc_method_handler(export, kind.FromString)

        methods = {
            TRACES: taking(ExportTraceServiceRequest, self.traces),
            LOGS: taking(ExportLogsServiceRequest, self.logs),
        }

        class Handler(grpc.GenericRpcHandler):
            def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
                return methods.get(handler_call_details.method)

        return Handler()
