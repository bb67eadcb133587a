"""Sinks as an operator meets them: `collect` that sends, lag in commands and metrics, a sink that is given up."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from otel_agent_journal.codec import decode_line
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.builders import events
from tests.cli.command_line import pipes, program
from tests.contract.test_toy_backend import install
from tests.e2e.conftest import Workdir
from tests.receiver.collecting import ANY, Collecting, eventually, request

TOY = Path(__file__).parent / "toy_sink"
HTTP = ("--no-grpc", "--http", ANY)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy, installed."""
    folder = tmp_path_factory.mktemp("site")
    install(TOY, folder)
    return folder


@pytest.fixture
def sent(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the sink of this test's processes writes to; not made yet, so the sink is away."""
    sent = tmp_path / "sent"
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.setenv("AGENT_JOURNAL_SINKS", f"folder:///{sent}")
    monkeypatch.setenv("AGENT_JOURNAL_STORE", f"sqlite:///{tmp_path}/journal.db")
    return sent


def came(sent: Path, session_id: str = "s1") -> list[JournalEvent]:
    """Return what the sink was sent of a session, in order, doubles too."""
    file = sent / f"{session_id}.jsonl"
    return [decode_line(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def first_of(found: list[JournalEvent]) -> list[JournalEvent]:
    """Return the first of each event."""
    by_id: dict[str, JournalEvent] = {}
    for event in found:
        by_id.setdefault(event.event_id, event)
    return list(by_id.values())


def arrived(url: str) -> list[JournalEvent]:
    """Return what the store has, in the order in which it came."""
    store = open_store(url)
    try:
        return list(store.follow(None).events)
    finally:
        store.close()


def post(collecting: Collecting, *spans: str) -> None:
    """Send model calls, and be answered that they are taken."""
    body = request([("a" * 32, span) for span in spans]).SerializeToString()
    answer = httpx.post(
        f"http://{collecting.http.removeprefix('http://')}/v1/traces",
        content=body,
        headers={"content-type": "application/x-protobuf"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


def lag() -> dict[str, Any]:
    """Return how the sink stands, as `sinks` says it."""
    (line,) = pipes(("sinks", "-o", "jsonl")).splitlines()
    return json.loads(line)


def test_collect_sends_what_it_receives(sent: Path, tmp_path: Path) -> None:
    """Away, a sink costs a client nothing and is said; killed, who comes next sends the rest; each event, in order."""
    with Collecting(tmp_path, *HTTP) as collecting:
        post(collecting, "1" * 16)
        eventually(lambda: "no such folder" in collecting.said())
        eventually(lambda: "no such folder" in (lag()["error"] or ""))
        found = lag()
        assert (found["sink"], found["behind"], found["sent"]) == (f"folder:///{sent}", 2, 0)
        assert found["lag_s"] > 0
        assert found["held_by"].endswith(f"process {collecting.process.pid}")
        collecting.kill()
    sent.mkdir()
    with Collecting(tmp_path, *HTTP) as collecting:
        eventually(lambda: len(came(sent)) == 2)
        post(collecting, "2" * 16)
        eventually(lambda: len(first_of(came(sent))) == 4)
        said = collecting.stop()
        assert "not everything was sent" not in said
        assert first_of(came(sent)) == arrived(collecting.url)
    found = lag()
    assert (found["behind"], found["lag_s"], found["error"], found["held_by"]) == (0, 0, None, None)


def test_collect_says_what_it_leaves(sent: Path, tmp_path: Path) -> None:
    """Ended in order while a sink is away, it says that not everything was sent, and does not wait for it."""
    with Collecting(tmp_path, *HTTP) as collecting:
        post(collecting, "1" * 16)
        eventually(lambda: "no such folder" in collecting.said())
        assert f"not everything was sent to folder:///{sent}" in collecting.stop()
        assert len(collecting.events("s1")) == 2


def test_a_sink_that_is_forgotten_begins_anew(sent: Path, tmp_path: Path) -> None:
    """By its URL or its name, also amid a sender: all comes again, told by ids; what is not there is said."""
    sent.mkdir()
    with Collecting(tmp_path, *HTTP) as collecting:
        post(collecting, "1" * 16)
        eventually(lambda: len(came(sent)) == 2)
        eventually(lambda: lag()["sent"] == 2)
        done = json.loads(pipes(("sinks", "forget", f"folder:///{sent}", "--yes", "-o", "json")))
        assert (done["sink"], done["forgotten"]) == (f"folder:///{sent}", True)
        post(collecting, "2" * 16)
        eventually(lambda: len(came(sent)) >= 6)
        assert first_of(came(sent)) == arrived(collecting.url)
        collecting.stop()
    found = lag()
    assert (found["begun"], found["behind"]) == (True, 0)
    pipes(("sinks", "forget", found["name"], "--yes"))
    found = lag()
    assert (found["begun"], found["behind"], found["sent"]) == (False, 4, 0)
    for gone in (f"folder:///{sent}", found["name"], "kinesis://nobody?region=eu-central-1"):
        refused = program("sinks", "forget", gone, "--yes")
        assert (refused.returncode, "sent nothing" in refused.stderr) == (3, True)
    unsure = program("sinks", "forget", f"folder:///{sent}")
    assert unsure.returncode == 3


def test_lag_is_said_wherever_one_looks(sent: Path, tmp_path: Path) -> None:
    """`sinks`, `status` and `doctor` agree; a prune spares what a sink lacks, until that is given up."""
    store = open_store(f"sqlite:///{tmp_path}/journal.db")
    store.append(events(5))
    store.close()
    found = lag()
    assert (found["begun"], found["behind"], found["or_more"]) == (False, 5, False)
    (told,) = json.loads(pipes(("status", "s1", "-o", "json")))["sinks"]
    assert told["behind"] == 5
    checks = json.loads(program("doctor", "-o", "json").stdout)
    (check,) = [one for one in checks if one["check"] == "sinks"]
    assert check["state"] == "warning"
    assert program("drain").returncode == 4
    assert "no such folder" in lag()["error"]
    shown = program("sinks", "-o", "table").stdout
    assert "5 events behind" in shown
    assert "no such folder" in shown
    prune = ("store", "prune", "--older-than", "1s", "--yes", "-o", "json")
    spared = program(*prune)
    assert json.loads(spared.stdout)["sessions"] == 0, spared.stdout
    pipes(("sinks", "forget", f"folder:///{sent}", "--yes"))
    assert json.loads(program(*prune).stdout)["sessions"] == 1


AGENT = """
import json, pathlib, sys, time
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
import otel_agent_journal as journal

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
journal.configure()

def seen():
    data = reader.get_metrics_data()
    found = [one for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for one in s.metrics]
    return {
        one.name.removeprefix("agent_journal.sink."): (point.value, dict(point.attributes), one.unit)
        for one in found if one.name.startswith("agent_journal.sink.") for point in one.data.data_points
    }

def when(holds):
    deadline = time.monotonic() + 60
    while not holds(found := seen()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    print(json.dumps(found), flush=True)

with journal.session("s1"), journal.step("TOOL", "work"):
    pass
when(lambda found: found.get("pending", (0,))[0] and found["failures"][0] and found["lag"][0] > 0.2)
pathlib.Path(sys.argv[1]).mkdir()
when(lambda found: found["events"][0] and not found["pending"][0] and not found["lag"][0])
journal.shutdown()
"""


def test_lag_is_in_the_metrics_of_who_sends(sent: Path, tmp_path: Path) -> None:
    """Where a program has a MeterProvider: lag and what is pending while a sink is away, nothing once it is back."""
    work = Workdir(tmp_path)
    done = work.command(sys.executable, work.write("agent.py", AGENT), str(sent))
    assert done.returncode == 0, done.stderr
    away, back = map(json.loads, done.stdout.splitlines())
    assert {name: unit for name, (_, _, unit) in away.items()} == {
        "lag": "s",
        "pending": "{event}",
        "events": "{event}",
        "withheld": "{event}",
        "failures": "{failure}",
    }
    assert {attributes["agent_journal.sink"] for _, attributes, _ in away.values()} == {f"folder:///{sent}"}
    assert (away["events"][0], away["withheld"][0]) == (0, 0)
    assert back["events"][0] == len(came(sent)) > 0
    assert back["failures"][0] >= away["failures"][0] > 0
