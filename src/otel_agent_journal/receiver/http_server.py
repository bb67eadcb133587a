"""The HTTP server around the door: uvicorn, with limits on the time that clients may take before a request is whole."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from otel_agent_journal.receiver.timed_protocol import HEADERS_S, timed_protocol

if TYPE_CHECKING:
    import socket

    from otel_agent_journal.receiver.http_door import HttpDoor
    from otel_agent_journal.receiver.security import Tls

_IDLE_S: Final = 75  # between requests; longer than exporters pause, so that they keep their connection


class HttpServer:
    """Serves a door at a socket.

    Args:
        door: answers.
        tls: certificates; None: in plain text.
        grace_s: for requests in hand, once it is stopped.
        patience_s: for headers to arrive.
    """

    def __init__(self, door: HttpDoor, tls: Tls | None, *, grace_s: float, patience_s: float = HEADERS_S) -> None:
        config = uvicorn.Config(
            door,
            http=timed_protocol(patience_s),
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
