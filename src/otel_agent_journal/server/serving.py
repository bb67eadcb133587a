"""The HTTP server around the app: sockets, uvicorn, and an end that open streams do not hold up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Final

import uvicorn

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.receiver.timed_protocol import HEADERS_S, timed_protocol

if TYPE_CHECKING:
    from otel_agent_journal.server.app import App

GRACE_S: Final = 3
IDLE_S: Final = 75  # of a connection between requests
BACKLOG: Final = 128
MAX_CONNECTIONS: Final = 1000


def listening(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen; of loopback both kinds, where this machine has both. Port 0 is any that is free.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    first = _bound(host, port)
    if host not in ("127.0.0.1", "localhost"):
        return [first]
    with contextlib.suppress(ConfigError):
        return [first, _bound("::1", first.getsockname()[1])]
    return [first]


def _bound(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        one = socket.socket(family, kind, protocol)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
        except BaseException:
            one.close()
            raise
    except (OSError, ValueError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{host}:{port} cannot be listened at: {said}; name another with --host and --port, 0 for any that is free"
        ) from error
    return one


class Server(uvicorn.Server):
    """Serves an app at sockets, from any thread; without signal handlers of its own.

    Args:
        app: which it starts and closes.
        sockets: that listen.
        proxies: whose word of the scheme is taken.
        headers_s: for the headers of a request to arrive.
    """

    def __init__(
        self,
        app: App,
        sockets: Sequence[socket.socket],
        *,
        proxies: Sequence[str] = (),
        headers_s: float = HEADERS_S,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=timed_protocol(headers_s),
            ws="none",
            lifespan="off",
            log_level="warning",
            log_config=None,
            access_log=False,  # in which the token of the printed link would be
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=GRACE_S,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=64 * 1024,
        )
        super().__init__(config)
        self._app = app
        self._sockets = list(sockets)
        self._closing = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to whoever has us serve."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as uvicorn does, and close the connections whose requests did not end in time, too."""
        await super().shutdown(sockets)
        if tasks := list(self.server_state.tasks):  # which were told to end, and say so to whoever asked
            await asyncio.wait(tasks, timeout=GRACE_S)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.close()
        await asyncio.sleep(0)

    def serve_all(self) -> None:
        """Serve until `end` is called; returns when all is closed."""
        try:
            self.run(sockets=self._sockets)
        finally:
            self.end()
            for one in self._sockets:
                one.close()

    def end(self) -> None:
        """Take no more, end every stream, and stop soon. From any thread, any number of times."""
        self.should_exit = True
        with self._closing:
            if not self._closed:
                self._closed = True
                self._app.close()
