"""OTLP over gRPC: `grpc.aio`, raw bytes in and out, every outcome a status that a client understands.

Messages are asked for only when there is room for one, and decompressed by the intake, which knows when to stop: gRPC's
own decompression has no bound. A stream of one message is on the wire what a unary call is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.receiver.answers import Answer, Verdict, busy
from otel_agent_journal.receiver.messages import status_of
from otel_agent_journal.receiver.room import MAX_REQUEST_BYTES
from otel_agent_journal.receiver.signals import SIGNALS, Signal

if TYPE_CHECKING:
    from otel_agent_journal.receiver.intake import Intake
    from otel_agent_journal.receiver.security import Tls, Tokens

_log = logging.getLogger("otel_agent_journal.receiver")

_DETAILS: Final = "grpc-status-details-bin"
_MESSAGE_S: Final = 15.0  # for a message to arrive; a client that is slower is asked to send it again
_ROOM_S: Final = 3.0  # for a place among those that arrive
_PLACE_S: Final = 0.5  # for which a place is had, where others wait for one
_ARRIVING: Final = 16  # messages at a time: of each its size is known only when it is there
_COMPRESSED: Final = (b"\x1f\x8b", b"\x78")  # gzip and zlib; no request begins so
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.per_message_decompression", 0),
    ("grpc.so_reuseport", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_connection_age_ms", 600_000),  # so that a balancer's clients find receivers that came later
    ("grpc.max_connection_age_grace_ms", 60_000),
)


class GrpcDoor:
    """A gRPC server for spans and log records, and for who asks after its health.

    Args:
        intake: takes requests.
        tokens: who may send.
        tls: certificates; None: in plain text.
        patience_s: for a message to arrive.
    """

    def __init__(
        self, intake: Intake, tokens: Tokens, tls: Tls | None = None, *, patience_s: float = _MESSAGE_S
    ) -> None:
        self._intake = intake
        self._tokens = tokens
        self._tls = tls
        self._patience_s = patience_s
        self._places = asyncio.Semaphore(_ARRIVING)
        self._arriving: dict[asyncio.Future[bytes | None], float] = {}  # since when each has a place, the oldest first
        self._health: Any = cast("Any", health).aio.HealthServicer()
        self._server = grpc.aio.server(options=_OPTIONS)
        for signal in SIGNALS:
            handler: Any = cast("Any", grpc).stream_unary_rpc_method_handler(self._export_of(signal))
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(signal.service, {"Export": handler}),)
            )
        cast("Any", health_pb2_grpc).add_HealthServicer_to_server(self._health, self._server)

    async def start(self, address: str) -> int:
        """Listen at `host:port`; return the port.

        Raises:
            RuntimeError: it cannot be listened at.
            ConfigError: a certificate cannot be used.
        """
        if self._tls is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, _credentials(self._tls))
        await self._server.start()
        await self._serving(health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and wait for those under way."""
        await self._serving(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.stop(grace_s)

    async def _serving(self, status: Any) -> None:
        for service in ("", *(signal.service for signal in SIGNALS)):
            await self._health.set(service, status)

    def _export_of(self, signal: Signal) -> Any:
        async def export(messages: AsyncIterator[bytes], context: Any) -> bytes:
            try:
                answer = await self._answer(signal, messages, context)
            except Exception as error:  # noqa: BLE001 - what escapes becomes UNKNOWN, and the client drops its data
                _log.exception("a call could not be answered; its client is asked to send it again")
                answer = busy(f"{type(error).__name__}: {error}")
            if answer.verdict is Verdict.OK:
                return signal.respond(answer.rejected, answer.message).SerializeToString()
            return await _refuse(context, self._intake.answered(answer))

        return export

    async def _answer(self, signal: Signal, messages: AsyncIterator[bytes], context: Any) -> Answer:
        with self._intake.arriving() as room:
            if not self._tokens.admit(_authorization(context)):
                return Answer(Verdict.UNAUTHENTICATED, "a bearer token is expected in the metadata 'authorization'")
            refusal = room.add(0)
            if refusal is not None:
                return refusal
            body = await self._message(messages)
            if isinstance(body, Answer):
                return body
            refusal = room.add(len(body))
            if refusal is not None:
                return refusal
            compressed = body.startswith(_COMPRESSED)
            return await self._intake.keep(signal, body, signal.read, room, compressed=compressed)

    async def _message(self, messages: AsyncIterator[bytes]) -> bytes | Answer:
        """Wait for the one message of a call. gRPC tells none at all, and half of one, by the end of the stream."""
        if not await self._place():
            return busy(f"{_ARRIVING} messages are arriving already")
        reading = asyncio.ensure_future(_first(messages))
        self._arriving[reading] = asyncio.get_running_loop().time()
        try:
            await asyncio.wait([reading], timeout=self._patience_s)
            if reading.done() and not reading.cancelled():
                message = reading.result()
                return busy("the call ended before its message did") if message is None else message
            return busy("the message did not arrive in time")
        finally:
            reading.cancel()
            self._arriving.pop(reading, None)
            self._places.release()

    async def _place(self) -> bool:
        """Wait for a place among those that arrive; where all are taken, the one that was had for longest is."""
        for _ in range(round(_ROOM_S / _PLACE_S)):
            try:
                async with asyncio.timeout(_PLACE_S):
                    await self._places.acquire()
            except TimeoutError:
                self._take_a_place()
            else:
                return True
        return False

    def _take_a_place(self) -> None:
        oldest = next(iter(self._arriving), None)
        if oldest is not None and asyncio.get_running_loop().time() - self._arriving[oldest] >= _PLACE_S:
            del self._arriving[oldest]
            oldest.cancel()


async def _first(messages: AsyncIterator[bytes]) -> bytes | None:
    return await anext(messages, None)


def _authorization(context: Any) -> bytes:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value.encode() if isinstance(value, str) else value
    return b""


async def _refuse(context: Any, answer: Answer) -> NoReturn:
    context.set_trailing_metadata(((_DETAILS, status_of(answer).SerializeToString()),))
    await context.abort(grpc.StatusCode[answer.verdict.grpc], answer.message)
    raise AssertionError("abort raises")


def _credentials(tls: Tls) -> Any:
    try:
        key, certificate = tls.key.read_bytes(), tls.certificate.read_bytes()
        authority = None if tls.client_authority is None else tls.client_authority.read_bytes()
    except OSError as error:
        raise ConfigError(f"certificate {error.filename} cannot be read: {error.strerror}") from error
    return cast("Any", grpc).ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=authority is not None
    )
