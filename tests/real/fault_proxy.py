"""What goes wrong between a store's client and its server, made to happen: the part that every proxy has.

A `FaultProxy` listens on loopback in front of a real server and passes everything on, except where its plan names a
fault for a call. What a call is, and what a fault looks like to the client, is the protocol's: `fault_proxy_http` for
DynamoDB and S3, `fault_proxy_postgresql` for PostgreSQL. Whatever is done to a call is counted in `injected`.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator
from typing import Final, NamedTuple, Self

THROTTLED: Final = "throttled"  # refused for being too fast; nothing is done
FAILED: Final = "failed"  # 500: nothing is done
UNAVAILABLE: Final = "unavailable"  # 503, or a server that shuts down: nothing is done
RESET: Final = "reset"  # the connection is reset before the call reaches the server
MIDWAY: Final = "midway"  # the connection is reset while the server works on the call
APPLIED_RESET: Final = "applied, then reset"  # the server has done it and its answer is lost
APPLIED_SILENT: Final = "applied, then silence"  # the same, and the client has to find out by its own clock
PARTIAL: Final = "partial"  # of a batch a part is done, the rest is handed back
CONFLICT: Final = "conflict"  # refused because of another call at the same time, as only the real services do it
SLOW: Final = "slow"  # done, later
OUTAGE: Final = "outage"  # nobody is there; not of a plan, see `FaultProxy.outage`

ALL: Final = (
    THROTTLED,
    FAILED,
    UNAVAILABLE,
    RESET,
    MIDWAY,
    APPLIED_RESET,
    APPLIED_SILENT,
    PARTIAL,
    CONFLICT,
    SLOW,
)
APPLIED: Final = (APPLIED_RESET, APPLIED_SILENT)


class Call(NamedTuple):
    """One call of a client: the operation, what it is about (a path, an SQL text), and what can befall it."""

    name: str
    about: str
    can: frozenset[str]


Plan = Callable[[Call], "str | None"]


def nothing(call: Call) -> str | None:
    """Let every call pass."""
    return None


class Scripted:
    """One fault after the other, each for the next call that it can befall; then nothing more.

    Args:
        faults: the faults, in order.
        on: the operations that they befall; any where none is named.
    """

    def __init__(self, *faults: str, on: Collection[str] = ()) -> None:
        self.left = list(faults)
        self._on = on
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> str | None:
        """Return the fault whose turn it is."""
        with self._lock:
            if not self.left or (self._on and call.name not in self._on) or self.left[0] not in call.can:
                return None
            return self.left.pop(0)


class AtRandom:
    """A share of all calls, each befallen by one of the faults that it can have.

    Args:
        rate: the share, 0..1.
        seed: what makes the same calls in the same order fail in the same way.
        faults: those to choose from.
        on: the operations that they befall; any where none is named.
    """

    def __init__(self, rate: float, seed: int, faults: Collection[str] = ALL, *, on: Collection[str] = ()) -> None:
        self._rate = rate
        self._random = random.Random(seed)
        self._faults = faults
        self._on = on
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> str | None:
        """Return a fault, or None for those that are spared."""
        possible = sorted(call.can.intersection(self._faults))
        with self._lock:
            if self._on and call.name not in self._on:
                return None
            struck = self._random.random() < self._rate
            return self._random.choice(possible) if struck and possible else None


class FaultProxy:
    """A listener in front of a server, a thread a connection. A context manager.

    Args:
        port: the server's, on loopback.
        plan: which fault befalls which call; may be replaced at any time.
        silence_s: how long a client waits in vain after `APPLIED_SILENT`; then its connection is reset.
        slow_s: how much later a `SLOW` call is passed on.
    """

    def __init__(self, port: int, plan: Plan = nothing, *, silence_s: float = 0.2, slow_s: float = 0.1) -> None:
        self.server = ("127.0.0.1", port)
        self.plan = plan
        self.silence_s = silence_s
        self.slow_s = slow_s
        self.calls: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.answered_bytes = 0  # of whole answers, as they went to clients
        self.broken: list[str] = []  # what went wrong in the proxy itself: a test's end asserts that nothing did
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._closing = threading.Event()
        # Bound and never listening: it keeps the port ours while nobody is there.
        self._holder = _bound(0)
        self.port = int(self._holder.getsockname()[1])

    @property
    def endpoint(self) -> str:
        """Its address, as the server's own would be written."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._listener is not None:
            self._go_away()
        self._holder.close()
        assert not self.broken, self.broken

    @contextlib.contextmanager
    def outage(self) -> Generator[None]:
        """Be gone: connections are reset, new ones refused, until the block ends."""
        self.go_away()
        try:
            yield
        finally:
            self.come_back()

    def go_away(self) -> None:
        """Begin an outage."""
        self.injected[OUTAGE] += 1
        self._go_away()

    def come_back(self) -> None:
        """End an outage, or start."""
        listener = _bound(self.port)
        listener.listen(256)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="fault-proxy", daemon=True).start()

    def decide(self, call: Call) -> str | None:
        """Count a call and return what befalls it."""
        fault = self.plan(call)
        with self._lock:
            self.calls[call.name] += 1
            if fault is not None:
                self.injected[fault] += 1
        return fault

    def answered(self, client: socket.socket, answer: bytes) -> None:
        """Send a client what the server has answered, and count it."""
        with self._lock:
            self.answered_bytes += len(answer)
        client.sendall(answer)

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the proxy."""
        self._closing.wait(seconds)

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the client says until either is gone. `Reset` resets the client."""
        raise NotImplementedError

    def _go_away(self) -> None:
        listener, self._listener = self._listener, None
        assert listener is not None, "it is gone already"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self._lock:
            found = list(self._open)
        for connection in found:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._connection, args=(listener, client), name="fault-proxy-connection", daemon=True
            ).start()

    def _connection(self, listener: socket.socket, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.create_connection(self.server, timeout=60)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            if self._listener is listener:  # an outage may have begun in between
                self.serve(client, server)
        except Reset:
            reset(client)
        except OSError:
            pass  # either end is gone: so is the other
        except Exception as error:
            self.broken.append(repr(error))
        finally:
            with self._lock:
                self._open -= {client} | ({server} if server else set())
            client.close()
            if server is not None:
                server.close()


class Reset(Exception):
    """The client's connection is to be reset."""


def reset(connection: socket.socket) -> None:
    """Close a connection so that the other end sees a reset, not an end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Wait for something that is about to be so."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.005)


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(("127.0.0.1", port))
    return found
