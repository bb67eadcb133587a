"""How a worker hears that what it kept is in the store, for `--ack store`.

The drain runs in the process that started the workers. It tells each of its own records, by when they were received,
through a socket of datagrams: one that is lost costs its client another try, and nothing waits for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

_TIMES: Final = 512  # in a datagram
_REMEMBERED: Final = 10_000  # deliveries that came before anybody waited for them


class Teller:
    """Tells one worker. Used by the drain's thread; never waits, never raises."""

    def __init__(self, to: socket.socket) -> None:
        self._to = to
        to.setblocking(False)  # noqa: FBT003 - that is its only argument

    def tell(self, received_ns: Sequence[int]) -> None:
        """Tell that the records of these times are in the store."""
        for start in range(0, len(received_ns), _TIMES):
            times = received_ns[start : start + _TIMES]
            with contextlib.suppress(OSError):  # the worker is gone, or does not listen: its clients ask again
                self._to.send(struct.pack(f"<{len(times)}q", *times))

    def close(self) -> None:
        """Tell no more."""
        self._to.close()


class Deliveries:
    """Hears what is told, in a worker's event loop."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._early: OrderedDict[int, None] = OrderedDict()
        source.setblocking(False)  # noqa: FBT003
        asyncio.get_running_loop().add_reader(source, self._hear)

    async def wait(self, received_ns: int, timeout_s: float) -> bool:
        """Wait until the record of that time is in the store; return whether it is."""
        if received_ns in self._early:
            del self._early[received_ns]
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[received_ns] = future
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(received_ns, None)

    def _hear(self) -> None:
        try:
            data = self._source.recv(8 * _TIMES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._source)
            return
        for (at_ns,) in struct.iter_unpack("<q", data):
            future = self._waiting.get(at_ns)
            if future is None:
                self._early[at_ns] = None
                if len(self._early) > _REMEMBERED:
                    self._early.popitem(last=False)
            elif not future.done():
                future.set_result(True)
