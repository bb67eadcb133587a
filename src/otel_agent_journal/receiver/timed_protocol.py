"""HTTP/1.1 as uvicorn speaks it, with a limit on the time that the headers of a request may take: uvicorn has none."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S: Final = 15.0  # for the headers of a request, from its first byte, and for the first request


def timed_protocol(patience_s: float = HEADERS_S) -> type[H11Protocol]:
    """Return the protocol that gives headers so many seconds to arrive."""

    class Protocol(_TimedProtocol):
        headers_s = patience_s

    return Protocol


class _TimedProtocol(H11Protocol):
    """Closes connections whose headers do not come."""

    headers_s = HEADERS_S
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
