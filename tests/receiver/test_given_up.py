"""Clients that give up, at any stage of a request and in any way, through every door: nothing of theirs stays in hand.

That holds at once, while the disk or the store that the request waited for is still away.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.receiver.asking import DOORS, JSON, METHODS, PROTOBUF, Told, as_json, ask, spans
from tests.receiver.serving import MIB, Serving

ENCODINGS = {"plain": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
BODY = spans("a", "b")


class StoreIsAway:
    """Waits for as long as its client does."""

    async def wait(self, received_ns: int, timeout_s: float) -> bool:
        """Never be told of anything."""
        await asyncio.sleep(60)
        return False


def start(served: Serving, door: str, encoding: str, *, whole: bool = True) -> Callable[[str], None]:
    """Send a request, or half of one; return what gives it up, in a way."""
    body = ENCODINGS[encoding](as_json(BODY) if door == "json" else BODY.SerializeToString())
    if door == "grpc":
        channel = grpc.insecure_channel(served.grpc)
        if whole:
            call: Any = channel.unary_unary(METHODS["traces"]).future(body, timeout=1 if encoding == "plain" else 30)
        else:
            silent = threading.Event()
            call = channel.stream_unary(METHODS["traces"]).future(_nothing(silent), timeout=30)

        def stop(how: str) -> None:
            if how == "reset":
                channel.close()
            elif whole and encoding == "plain":
                assert call.exception(10).code() is grpc.StatusCode.DEADLINE_EXCEEDED
            else:
                call.cancel()

        return stop
    host, _, port = served.http.partition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    kind = JSON if door == "json" else PROTOBUF
    said = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
    said += "" if encoding == "plain" else f"content-encoding: {encoding}\r\n"
    connection.sendall(said.encode() + b"\r\n" + (body if whole else body[:-1]))

    def leave(how: str) -> None:
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_WR)
        connection.close()

    return leave


def _nothing(event: threading.Event) -> Iterator[bytes]:
    event.wait(30)
    yield b""


def until(true: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def held(served: Serving, stage: str) -> Iterator[None]:
    """Let no request pass a stage."""
    if stage == "reading":
        with served.intake.arriving() as other, other.reading(64 * MIB):
            yield
    elif stage == "disk":
        served.log.disk = threading.Event()
        yield
        served.log.disk.set()
        served.log.disk = None
    else:
        yield


@pytest.mark.parametrize("how", ["reset", "half-closed, cancelled or too late"])
@pytest.mark.parametrize("stage", ["arriving", "reading", "disk", "store"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("door", DOORS)
def test_given_up(slow: Serving, door: str, encoding: str, stage: str, how: str) -> None:
    """Nothing is in hand of a client that gave up, while what its request waits for has not come."""
    slow.log.payloads.clear()
    slow.log.asked = 0
    slow.stored.asked = 0

    def in_hand() -> int:
        return slow.counters.totals()["in_flight_bytes"]

    waits: dict[str, Callable[[], object]] = {
        "arriving": lambda: in_hand() or door == "grpc",
        "reading": in_hand,
        "disk": lambda: slow.log.asked,
        "store": lambda: slow.stored.asked,
    }
    before = slow.counters.totals()["requests"]
    with held(slow, stage):
        stop = start(slow, door, encoding, whole=stage != "arriving")
        until(lambda: slow.counters.totals()["requests"] > before)
        until(waits[stage])
        stop(how)
        until(lambda: in_hand() == 0)
    if stage in ("arriving", "reading"):
        time.sleep(0.05)
        assert slow.log.asked == 0, "nobody waits for it"


@pytest.fixture(scope="module")
def slow() -> Iterator[Serving]:
    """A receiver whose store is away."""
    with Serving(stored=_Asked()) as running:
        yield running


class _Asked(StoreIsAway):
    asked = 0

    async def wait(self, received_ns: int, timeout_s: float) -> bool:
        self.asked += 1
        return await super().wait(received_ns, timeout_s)


@pytest.mark.parametrize("stage", ["disk", "store"])
def test_shutting_down(stage: str) -> None:
    """What is still in hand when a receiver's grace is over is given back as well."""
    store = _Asked()
    with Serving(stored=store) as served:
        served.log.disk = threading.Event()
        if stage == "store":
            served.log.disk.set()
        clients = [start(served, door, "gzip") for door in DOORS]
        until(lambda: (served.log.asked if stage == "disk" else store.asked) == len(DOORS))
        assert served.counters.totals()["in_flight_bytes"] > 0
    assert served.counters.totals()["in_flight_bytes"] == 0
    served.log.disk.set()
    for client in clients:
        client("reset")


@pytest.mark.parametrize("door", DOORS)
def test_told_at_the_end(door: str) -> None:
    """A client whose request is still waiting when the receiver ends is to send it again: nobody knows it is kept."""
    with ThreadPoolExecutor(1) as pool:
        with Serving() as served:
            served.log.disk = threading.Event()
            asking = pool.submit(ask, served, door, "traces", BODY)
            until(lambda: served.log.asked)
        told = asking.result(20)
        served.log.disk.set()
    assert told.status in ("UNAVAILABLE", "CANCELLED"), told


def test_many_large_ones() -> None:
    """However many large requests are given up while they are decompressed and read, a large one is taken at once."""
    large = spans("large")
    large.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="x").value.string_value = "x" * (40 * MIB)
    body = gzip.compress(large.SerializeToString(), 1)
    with Serving(budget_bytes=64 * MIB) as served, grpc.insecure_channel(served.grpc) as channel:
        send = channel.unary_unary(METHODS["traces"])
        for number in range(12):
            with contextlib.suppress(grpc.RpcError):
                send(body, timeout=0.02 + number % 4 * 0.03)
        until(lambda: served.counters.totals()["in_flight_bytes"] == 0, 2)
        assert ask(served, "grpc", "traces", large, "gzip") == Told("OK")
