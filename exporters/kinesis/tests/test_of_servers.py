"""Sinks of journals that are on servers: each stream of each store, through faults and kills of who sends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from exporters.kinesis.tests.streams import PUTS, Stream, first_of_each
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.sink_contract import event
from tests.cli.command_line import PROGRAM
from tests.contract.test_toy_backend import install
from tests.real.backends import NAMES, SERVERS, Backend
from tests.real.fault_proxy import APPLIED_RESET, PARTIAL, RESET, AtRandom

pytestmark = pytest.mark.real
TOY = Path(__file__).resolve().parents[3] / "tests" / "sinks" / "toy_sink"
EVENTS, SESSIONS = 200, 20
QUICK: Final = (PARTIAL, PARTIAL, RESET, APPLIED_RESET)  # faults that keep nobody waiting


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, aws: None) -> Backend:
    """Each store that is on a server."""
    return Backend(request.param, request.getfixturevalue(SERVERS[request.param]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the toy sink writes to, which processes of this test have."""
    site = tmp_path / "site"
    install(TOY, site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    (tmp_path / "sent").mkdir()
    return tmp_path / "sent"


def test_of_any_store_nothing_is_lost(
    backend: Backend, stream: Stream, firehose: Stream, folder: Path, tmp_path: Path
) -> None:
    """A drain is killed amid a stream, requests fail in part: every session comes whole, in order."""
    url, chance = backend.fresh(), random.Random(11)
    sent = [event(f"s{chance.randrange(SESSIONS)}", number) for number in range(EVENTS)]
    with backend.opened(url) as store:
        for first in range(0, EVENTS, 80):
            store.append(sent[first : first + 80])
    proxy = stream.proxy
    proxy.plan = AtRandom(0.4, 5, QUICK, on=PUTS)
    sinks = {
        "kinesis": stream.url(aggregate="false"),
        "firehose": firehose.url("firehose"),
        "folder": f"folder:///{folder}",
    }
    command = [*PROGRAM, "drain", "--store", url, "--sinks"]
    calls, sink = ("PutRecordBatch", "firehose") if backend.name == "s3" else ("PutRecords", "kinesis")
    child = subprocess.Popen([*command, sinks[sink]], cwd=tmp_path, stdout=subprocess.DEVNULL)
    enough = chance.randrange(2, 9)
    _until(lambda: proxy.calls[calls] >= enough or child.poll() is not None)
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    done = subprocess.run([*command, ",".join(sinks.values())], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert proxy.injected[PARTIAL] > 2
    for line in json.loads(done.stdout)["sinks"]:
        assert line["caught_up"], line
    wanted = {one: [two for two in sent if two.session_id == one] for one in {e.session_id for e in sent}}
    for came in (stream.lines(), firehose.delivered(), _lines(folder)):
        _agree(first_of_each(came), wanted)


def _agree(came: dict[str, list[JournalEvent]], wanted: dict[str, list[JournalEvent]]) -> None:
    assert {name: [one.event_id for one in events] for name, events in came.items()} == {
        name: [one.event_id for one in events] for name, events in wanted.items()
    }
    assert came == wanted


def _lines(folder: Path) -> list[bytes]:
    return [line for file in sorted(folder.iterdir()) for line in file.read_bytes().splitlines()]


def _until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
