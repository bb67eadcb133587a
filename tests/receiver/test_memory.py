"""What a worker takes of memory, whatever it is sent: docs/collector.md has the figures."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.receiver.asking import PROTOBUF, Told, ask, over_grpc, over_http, spans
from tests.receiver.collecting import Collecting
from tests.receiver.serving import MIB

LIMIT = 64 * MIB


def peak_of(collecting: Collecting, work: Callable[[], None]) -> float:
    """Return the most that the worker takes of memory while something is done, in MiB."""
    worker = collecting.workers()[0]
    over, peak = threading.Event(), [0]

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], worker.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        work()
    finally:
        over.set()
        watching.join()
    return peak[0] / MIB


@pytest.mark.serial
def test_memory(tmp_path: Path) -> None:
    """Bombs, and as many requests at the limit as one likes, are refused before they take more than what is stated."""
    bomb = gzip.compress(bytes(4 * LIMIT))
    gzipped = {"content-type": PROTOBUF, "content-encoding": "gzip"}
    with Collecting(tmp_path) as collecting:
        told: list[str | int] = []

        def send_bomb(number: int) -> None:
            if number % 2:
                told.append(over_http(collecting.http, "/v1/traces", bomb, gzipped)[0])
            else:
                told.append(over_grpc(collecting.grpc, "traces", bomb).status)

        def bombs() -> None:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(send_bomb, range(24)))

        assert peak_of(collecting, bombs) < 450
        assert set(told) <= {413, 503, "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
        for number, refused in ((0, "RESOURCE_EXHAUSTED"), (1, 413)):  # alone, each is told that it is too large
            send_bomb(number)
            assert told[-1] == refused

        fits = spans("a")
        text = fits.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="x").value
        text.string_value = "x" * LIMIT
        text.string_value = "x" * (2 * LIMIT - fits.ByteSize())
        body = fits.SerializeToString()
        assert LIMIT - 8 <= len(body) <= LIMIT
        answers: list[Told] = []

        def large() -> None:
            with ThreadPoolExecutor(6) as pool:
                answers.extend(pool.map(lambda _: over_grpc(collecting.grpc, "traces", body), range(6)))

        assert peak_of(collecting, large) < 1500
        assert {answer.status for answer in answers} <= {"OK", "UNAVAILABLE"}
        assert "OK" in {answer.status for answer in answers}
        deadline = time.monotonic() + 60
        while ask(collecting, "grpc", "traces", spans("b")) != Told("OK"):
            assert time.monotonic() < deadline
        assert ask(collecting, "protobuf", "traces", body + b"\x0a\x00" * 8).status == "RESOURCE_EXHAUSTED"
