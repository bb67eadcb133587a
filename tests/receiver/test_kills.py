"""SIGKILL at any moment: what was acknowledged is in the journal, once."""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from pathlib import Path

import grpc
import pytest

from otel_agent_journal.mapping.from_otlp import span_records
from otel_agent_journal.mapping.to_events import step_id_of
from scripts.ports import reserved_port
from tests.e2e.conftest import Workdir
from tests.receiver.asking import PROTOBUF, over_http
from tests.receiver.collecting import TRACES, Collecting, request

LONG = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
KILLS = {"worker": 200 if LONG else 14, "all": 200 if LONG else 6}
SPANS = 5
PACE_S = 0.03  # between requests of a client, so that what is kept does not outgrow what is delivered


class Client(threading.Thread):
    """Sends requests, each again until it is acknowledged; knows the steps that were. Every other client over HTTP."""

    def __init__(self, number: int, running: Collecting, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.acknowledged: set[str] = set()
        self.surprises: list[str] = []  # answers after which a client drops its data
        self._grpc, self._http = running.grpc, running.http
        self._over = over

    def run(self) -> None:
        """Send until it is over."""
        turn = 0
        while not self._over.is_set():
            trace_id = f"{self.number:08x}{turn:024x}"
            made = request([(trace_id, f"{number + 1:016x}") for number in range(SPANS)], f"s{self.number}")
            body = made.SerializeToString()
            while not self._over.is_set() and not self._send(body):
                time.sleep(0.02)
            if not self._over.is_set():
                self.acknowledged.update(step_id_of(record) for record in span_records(made))
            turn += 1
            time.sleep(PACE_S)

    def _send(self, body: bytes) -> bool:
        return self._over_http(body) if self.number % 2 else self._over_grpc(body)

    def _over_grpc(self, body: bytes) -> bool:
        with grpc.insecure_channel(self._grpc) as channel:
            try:
                channel.unary_unary(TRACES)(body, timeout=10)
            except grpc.RpcError as error:
                if error.code().name not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"):
                    self.surprises.append(str(error))
                return False
            return True

    def _over_http(self, body: bytes) -> bool:
        try:
            status, said, _ = over_http(self._http, "/v1/traces", body, {"content-type": PROTOBUF})
        except (OSError, http.client.HTTPException):
            return False
        if status not in (200, 503):
            self.surprises.append(f"{status} {said!r}")
        return status == 200


@pytest.mark.long_form
@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("victim", ["worker", "all"])
def test_killed(tmp_path: Path, victim: str) -> None:
    """Of spans sent while processes are killed at random moments every acknowledged one is there once."""
    seeded = random.Random(victim)
    over = threading.Event()
    options = ("--workers", "2") if victim == "worker" else ()
    addresses = ("--grpc", f"127.0.0.1:{reserved_port()}", "--http", f"127.0.0.1:{reserved_port()}")
    running = Collecting(tmp_path, *addresses, *options)
    clients = [Client(number, running, over) for number in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(KILLS[victim]):
            time.sleep(seeded.uniform(0.05, 0.6))
            if victim == "worker":
                before = running.workers()
                seeded.choice(before).kill()
                deadline = time.monotonic() + 30
                while set(running.workers()) == set(before) or len(running.workers()) < 2:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            else:
                running.close()
                running = Collecting(tmp_path, *addresses)
        time.sleep(0.5)
    except BaseException:
        running.close()
        raise
    finally:
        over.set()
        for client in clients:
            client.join(30)
    with running:
        running.stop()
    left = Workdir(tmp_path).journal("drain", "--store", running.url)  # what was not delivered by the end of its grace
    assert left.returncode == 0, left.stderr
    for client in clients:
        events = running.events(f"s{client.number}")
        ended = [event.step_id for event in events if event.type == "MODEL_END"]
        assert client.surprises == []
        assert len(client.acknowledged) >= SPANS
        assert client.acknowledged <= set(ended)
        assert len(ended) == len(set(ended))
        assert len(events) == 2 * len(ended)
