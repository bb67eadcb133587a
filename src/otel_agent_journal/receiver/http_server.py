"""The HTTP server around the door: uvicorn, with limits on the time that clients may take before a request is whole."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import socket

    from otel_agent_journal.receiver.http_door import HttpDoor
    from otel_agent_journal.receiver.security import Tls

_HEADERS_S: Final = 15.0  # for the headers of a request, from its first byte, and for the first request
_IDLE_S: Final = 75  # between requests; longer than exporters pause, so that they keep their connection


class HttpServer:
    """Serves a door at a socket.

    Args:
        door: answers.
        tls: certificates; None: in plain text.
        grace_s: for requests in hand, once it is stopped.
        patience_s: for headers to arrive.
    """

    def __init__(self, door: HttpDoor, tls: Tls | None, *, grace_s: float, patience_s: float = _HEADERS_S) -> None:
        class Protocol(_Protocol):
            headers_s = patience_s

        config = uvicorn.Config(
            door,
            http=Protocol,
            ws="none",  # else an upgrade would be answered with a 500
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=int(grace_s),
            **_certificates(tls),
        )
        config.load()  # here, where a certificate that cannot be used is said
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve at a socket that listens."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))

    async def stop(self) -> None:
        """Take no more connections, and wait for requests in hand."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    """Without signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Protocol(H11Protocol):
    """Closes connections whose headers do not come: uvicorn waits for ever."""

    headers_s = _HEADERS_S
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._due = self.loop.call_later(self.headers_s, self._look)

    def data_received(self, data: bytes) -> None:
        if self._due is None:
            self._due = self.loop.call_later(self.headers_s, self._look)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._due is not None:
            self._due.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        self._due = None
        first: Any = self.cycle
        pending = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if first is None or pending:
            self.transport.close()


def _certificates(tls: Tls | None) -> dict[str, Any]:
    if tls is None:
        return {}
    required = ssl.CERT_NONE if tls.client_authority is None else ssl.CERT_REQUIRED
    return {
        "ssl_certfile": tls.certificate,
        "ssl_keyfile": tls.key,
        "ssl_ca_certs": tls.client_authority,
        "ssl_cert_reqs": required,
    }
