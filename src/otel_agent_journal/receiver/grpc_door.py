"""OTLP over gRPC: `grpc.aio`, raw bytes in and out, every outcome a status that a client understands."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import grpc.aio

from otel_agent_journal.receiver.answers import Verdict, busy
from otel_agent_journal.receiver.intake import MAX_REQUEST_BYTES
from otel_agent_journal.receiver.messages import response_of, spans_of, status_of

if TYPE_CHECKING:
    from otel_agent_journal.receiver.intake import Intake

_log = logging.getLogger("otel_agent_journal.receiver")

TRACES: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_DETAILS: Final = "grpc-status-details-bin"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.so_reuseport", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_concurrent_streams", 100),
)


class GrpcDoor:
    """A gRPC server for spans."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._server = grpc.aio.server(options=_OPTIONS)
        handler: Any = cast("Any", grpc).unary_unary_rpc_method_handler(self._export)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(TRACES, {"Export": handler}),))

    async def start(self, address: str) -> int:
        """Listen at `host:port`; return the port.

        Raises:
            RuntimeError: it cannot be listened at.
        """
        port = self._server.add_insecure_port(address)
        await self._server.start()
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and wait for those under way."""
        await self._server.stop(grace_s)

    async def _export(self, body: bytes, context: Any) -> bytes:
        try:
            answer = await self._intake.spans(body, spans_of)
        except Exception as error:  # noqa: BLE001 - what escapes becomes UNKNOWN, and the client drops its data
            _log.exception("a call could not be answered; its client is asked to send it again")
            answer = busy(f"{type(error).__name__}: {error}")
        if answer.verdict is Verdict.OK:
            return response_of(answer).SerializeToString()
        context.set_trailing_metadata(((_DETAILS, status_of(answer).SerializeToString()),))
        await context.abort(grpc.StatusCode[answer.verdict.grpc], answer.message)
        raise AssertionError("abort raises")
