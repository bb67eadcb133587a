"""The processes of `agent-journal collect`: how they end, share ports, wait for the store, and what a death costs."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import grpc
import pytest

from otel_agent_journal.mapping.from_otlp import span_records
from otel_agent_journal.mapping.to_events import step_id_of
from otel_agent_journal.receiver.intake import STORE_PATIENCE_S
from tests.clock import by_the_clock, in_time
from tests.e2e.faults import locked
from tests.receiver.asking import METHODS, PROTOBUF, Told, ask, over_http, spans
from tests.receiver.collecting import ANY, Collecting, eventually
from tests.receiver.test_counted import counted

DOORS = ("--grpc", ANY, "--http", ANY)


def steps(collecting: Collecting, session_id: str = "s1") -> list[str | None]:
    """Return the steps that ended, as another process reads them in the store."""
    return [event.step_id for event in collecting.events(session_id) if event.type == "MODEL_END"]


def test_acknowledged_means_in_the_store(tmp_path: Path) -> None:
    """With `--ack store` what was acknowledged is in the store, though everything is killed as the answer arrives."""
    for turn in range(2):
        with Collecting(tmp_path, *DOORS, "--ack", "store", "--workers", "2") as collecting:
            for door in ("grpc", "protobuf"):
                made = spans(f"{turn} {door}", session_id=f"{turn}-{door}")
                assert ask(collecting, door, "traces", made) == Told("OK")
                if door == "grpc":
                    assert steps(collecting, f"{turn}-{door}") == [step_id_of(next(iter(span_records(made))))]
            collecting.kill()
            assert len(steps(collecting, f"{turn}-protobuf")) == 1


def test_store_down(tmp_path: Path) -> None:
    """With `--ack store` and a store that is away clients are told in time; each span is in it once, later."""
    with Collecting(tmp_path, *DOORS, "--ack", "store") as collecting:
        made = spans("a", "b")
        with locked(tmp_path / "journal.db"):
            for door in ("grpc", "protobuf"):
                began = time.monotonic()
                told = ask(collecting, door, "traces", made)
                assert (told.status, told.retry_s) == ("UNAVAILABLE", 1)
                assert time.monotonic() - began < STORE_PATIENCE_S + 5, "told in time, on a busy machine too"
        eventually(lambda: ask(collecting, "grpc", "traces", made) == Told("OK"), 30)
        assert len(steps(collecting)) == 2
        victim = collecting.workers()[0]
        victim.kill()
        eventually(lambda: collecting.workers() not in ([], [victim]), 30)
        eventually(lambda: ask(collecting, "grpc", "traces", spans("c")) == Told("OK"), 30)
        assert len(steps(collecting)) == 3, "and the worker in its place is told too"
        assert collecting.stop().count("delivered") == 1
        assert len(steps(collecting)) == 3


def test_spool_full(tmp_path: Path) -> None:
    """With the store away and the spool full clients are to come again; what was refused is not in the journal."""
    with Collecting(tmp_path, *DOORS, env={"AGENT_JOURNAL_SPOOL_CAP": "16"}) as collecting:
        taken: list[str] = []
        with locked(tmp_path / "journal.db"):
            for number in range(100):
                name = f"{number}"
                made = spans(name)
                made.resource_spans[0].resource.attributes.add(key="large").value.string_value = "x" * 1_000_000
                told = ask(collecting, "grpc" if number % 2 else "protobuf", "traces", made)
                if told != Told("OK"):
                    assert (told.status, told.retry_s) == ("UNAVAILABLE", 1)
                    assert "the spool takes nothing" in told.message
                    break
                taken.append(name)
        assert 0 < len(taken) < 100
        eventually(lambda: ask(collecting, "grpc", "traces", spans("after")) == Told("OK"), 60)
        collecting.stop()
        made = spans(*taken, "after")
        assert sorted(map(str, steps(collecting))) == sorted(step_id_of(record) for record in span_records(made))


def test_workers_share(tmp_path: Path) -> None:
    """Of several workers each gets some of the connections, through both doors."""
    with Collecting(tmp_path, *DOORS, "--workers", "2") as collecting:
        ports = {int(address.rpartition(":")[2]) for address in (collecting.grpc, collecting.http)}
        for worker in collecting.workers():
            listening = {each.laddr.port for each in worker.net_connections("tcp") if each.status == "LISTEN"}
            assert ports <= listening
        with locked(tmp_path / "journal.db"):
            for number in range(30):
                assert ask(collecting, "grpc", "traces", spans(f"g{number}")) == Told("OK")
                assert ask(collecting, "protobuf", "traces", spans(f"h{number}")) == Told("OK")
            folders = [folder for folder in (tmp_path / "spool").iterdir() if folder.is_dir()]
            kept = [b"".join(file.read_bytes() for file in folder.iterdir()) for folder in folders]
            assert sum(b"chat" in data for data in kept) == 2
        collecting.stop()
        assert len(set(steps(collecting))) == 60


def test_what_is_in_hand_is_answered(tmp_path: Path) -> None:
    """SIGTERM while requests are in hand: they are answered and kept, and nothing more is taken."""
    with Collecting(tmp_path, *DOORS) as collecting:
        begun, go = threading.Event(), threading.Event()

        def slowly():
            begun.set()
            go.wait(30)
            yield spans("in hand").SerializeToString()

        with grpc.insecure_channel(collecting.grpc) as channel:
            assert ask(collecting, "grpc", "traces", spans("before")) == Told("OK")
            answer = channel.stream_unary(METHODS["traces"]).future(slowly(), timeout=30)
            assert begun.wait(30)
            eventually(lambda: counted(collecting)["requests"] == 2)
            os.kill(collecting.process.pid, signal.SIGTERM)
            time.sleep(1)
            go.set()
            failure = answer.exception(30)
            assert failure is None or failure.code() is grpc.StatusCode.UNAVAILABLE
        assert collecting.process.wait(60) == 0
        assert len(steps(collecting)) == (2 if failure is None else 1)


@by_the_clock
def test_sigterm_twice(tmp_path: Path) -> None:
    """The second SIGTERM ends it at once, however long the store would still be waited for; what it has stays there."""
    with Collecting(tmp_path, *DOORS) as collecting:
        with locked(tmp_path / "journal.db"):
            assert ask(collecting, "grpc", "traces", spans("a")) == Told("OK")
            workers = collecting.workers()
            collecting.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            assert collecting.process.poll() is None, "it waits for the store"
            began = time.monotonic()
            collecting.process.send_signal(signal.SIGTERM)
            assert collecting.process.wait(10) == -signal.SIGTERM
            in_time(time.monotonic() - began, 5)
        eventually(lambda: not any(worker.is_running() for worker in workers), 20)
    with Collecting(tmp_path) as collecting:
        eventually(lambda: len(steps(collecting)) == 1, 30)
        eventually(lambda: counted(collecting)["recovered"] == 1, 30)
        collecting.stop()


def is_alive(collecting: Collecting) -> bool:
    """Tell whether somebody answers."""
    try:
        return over_http(collecting.http, "/healthz", method="GET")[0] == 200
    except ConnectionError:
        return False


@pytest.mark.parametrize("killed", ["worker", "parent"])
def test_no_orphans(tmp_path: Path, killed: str) -> None:
    """A worker whose parent is killed ends by itself, and the port is free for the next."""
    with Collecting(tmp_path, *DOORS) as collecting:
        workers = collecting.workers()
        if killed == "parent":
            collecting.process.kill()
            collecting.process.wait(10)
            eventually(lambda: not any(worker.is_running() for worker in workers), 20)
        else:
            workers[0].kill()
            eventually(lambda: collecting.workers() not in ([], workers), 30)
            eventually(lambda: is_alive(collecting), 30)
            headers = {"content-type": PROTOBUF}
            assert over_http(collecting.http, "/v1/traces", spans("a").SerializeToString(), headers)[0] == 200
            assert counted(collecting)["in_flight_bytes"] == 0
