"""What an event has reached before its step runs, at each level of durability, and what is known of who went silent."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.interruptions import interruptions
from otel_agent_journal.pipeline.heartbeat import Heartbeat
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.projections.head import COMPLETED, INTERRUPTED, LOST, PROCESSING
from otel_agent_journal.projections.verdict import SILENCE_NS, judged
from otel_agent_journal.store.registry import open_store
from tests.clock import by_the_clock, in_time
from tests.crash.test_agent_kill import check_sessions, events_in, kill_one
from tests.e2e.conftest import BIN, WALKER, Workdir
from tests.e2e.faults import locked
from tests.spool.spooling import eventually, new_writer

DOORS = ("run", "configure")
CONFIGURE = "import otel_agent_journal; otel_agent_journal.configure()\n"

SYNCED = """
import os
synced = []
before = os.fdatasync
def fdatasync(descriptor):
    before(descriptor)
    synced.append(os.readlink(f"/proc/self/fd/{descriptor}").rpartition(".")[2])
os.fdatasync = fdatasync
"""


def command(door: str, *options: str) -> list[str | Path]:
    """Return what runs the agent: by itself, where it configures itself, or under run."""
    python: list[str | Path] = [sys.executable, "agent.py"]
    return [BIN / "agent-journal", "run", *options, "--", *python] if door == "run" else python


def write_agent(workdir: Workdir, door: str, text: str, *, before: str = "") -> None:
    """Write an agent that configures itself where nothing else does."""
    workdir.write("agent.py", before + (CONFIGURE if door == "configure" else "") + WALKER + text)


@pytest.mark.skipif(not hasattr(__import__("os"), "fdatasync"), reason="the system has no fdatasync to listen to")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fsync", ["always", "never"])
def test_fsync_before_the_step_runs(workdir: Workdir, door: str, fsync: str) -> None:
    """With AGENT_JOURNAL_FSYNC=always a step's START is on the disk before its code runs; by default nothing waits."""
    text = """
def node(state):
    return {"notes": [synced.count("seg")]}
print(build(("a", node), ("b", node)).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})["notes"])
"""
    write_agent(workdir, door, text, before=SYNCED)
    done = workdir.command(*command(door), env={"AGENT_JOURNAL_FSYNC": fsync})
    assert done.returncode == 0, done.stderr
    # Before a: the starts of the graph and of a; before b: also the end of a and the start of b.
    first, second = json.loads(done.stdout)
    if fsync == "never":
        assert (first, second) == (0, 0)
    else:
        assert first >= 2
        assert second >= first + 2
    assert len(workdir.events("s1")) == 6


@pytest.mark.parametrize("door", DOORS)
def test_in_the_store_before_the_step_runs(workdir: Workdir, door: str) -> None:
    """With AGENT_JOURNAL_DURABILITY=store a step is in the store before its code runs, its ending before the next."""
    text = """
import sqlite3
def types(state):
    connection = sqlite3.connect(".agent-journal/journal.db")
    found = connection.execute("SELECT type, name FROM events ORDER BY timestamp_ns, rowid").fetchall()
    return {"notes": [" ".join(f"{kind}:{name}" for kind, name in found)]}
for note in build(("a", types), ("b", types)).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})["notes"]:
    print(note)
found = sqlite3.connect(".agent-journal/journal.db").execute("SELECT count(*) FROM events").fetchone()
print(*found)
"""
    write_agent(workdir, door, text)
    done = workdir.command(*command(door), env={"AGENT_JOURNAL_DURABILITY": "store"})
    assert done.stdout.splitlines() == [
        "AGENT_START:walker NODE_START:a",
        "AGENT_START:walker NODE_START:a NODE_END:a NODE_START:b",
        "6",
    ], done.stderr
    assert "did not take events in time" not in done.stderr
    assert len(workdir.events("s1")) == 6


@pytest.mark.serial
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("timeout", ["?timeout=60", ""])
def test_a_store_that_hangs_delays_for_a_limited_time(workdir: Workdir, door: str, timeout: str) -> None:
    """A store that does not answer, or takes long to refuse, delays a step at most AGENT_JOURNAL_STORE_TIMEOUT.

    It is said once, and `drain` delivers what the spool has kept.
    """
    text = """
times = []
def node(state):
    times.append(time.monotonic())
    time.sleep(0.1)
    times.append(time.monotonic())
    return {"notes": ["x"]}
build(*((name, node) for name in "abcdef")).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})
print(max(later - earlier for earlier, later in zip(times[1::2], times[2::2])), times[-1] - times[0])
"""
    write_agent(workdir, door, text)
    file = workdir.path / "journal.db"
    env = {"AGENT_JOURNAL_STORE": f"sqlite:///{file}{timeout}", "AGENT_JOURNAL_SPOOL": "spool"}
    slow = {"AGENT_JOURNAL_DURABILITY": "store", "AGENT_JOURNAL_STORE_TIMEOUT": "0.5"}
    begun = time.monotonic()
    with locked(file):
        done = workdir.command(*command(door), env=env | slow)
    assert time.monotonic() - begun < 30, "the end waits for nobody"
    assert done.returncode == 0, done.stderr
    longest, in_all = map(float, done.stdout.split())
    assert longest < 0.5 + 0.5
    assert in_all < 6 * 0.1 + 2 * 0.5 + 1
    assert done.stderr.count("did not take events in time; the agent goes on") == 1, done.stderr
    drained = workdir.journal("drain", env=env)
    assert drained.returncode == 0, drained.stderr
    assert len(workdir.events("s1", env=env)) == 14


@pytest.mark.timeout(300)
@pytest.mark.parametrize("under_run", [True, False], ids=DOORS)
@pytest.mark.parametrize("switch", ["AGENT_JOURNAL_FSYNC=always", "AGENT_JOURNAL_DURABILITY=store"])
def test_killed_at_each_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, under_run: bool, switch: str) -> None:
    """SIGKILL loses nothing at either level; with `store`, not even where the machine and its spool go too."""
    variable, _, value = switch.partition("=")
    monkeypatch.setenv(variable, value)
    for turn, delay_s in enumerate((0.05, 0.3)):
        folder = tmp_path / str(turn)
        folder.mkdir()
        durable = kill_one(folder, delay_s, under_run=under_run, at_least=1)
        assert durable
        if value == "store" and not under_run:
            shutil.rmtree(folder / ".agent-journal" / "spool")
        store = open_store(f"sqlite:///{folder}/.agent-journal/journal.db")
        if value != "store" or under_run:
            Drain(folder / ".agent-journal" / "spool", store).drain_once()
        found = [event.event_id for event in events_in(store)]
        assert set(durable) <= set(found)
        assert len(found) == len(set(found))
        if value != "store" or under_run:
            check_sessions(store, events_in(store))
        store.close()


@by_the_clock
def test_a_killed_step_was_seen_until_it_died(workdir: Workdir) -> None:
    """Of a killed agent's running step the journal says that it was alive until its parent saw it die."""
    write_agent(
        workdir,
        "run",
        'build(("slow", lambda s: time.sleep(60))).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})\n',
    )
    runner = psutil.Popen(command("run"), cwd=workdir.path, env=workdir.env, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: '"NODE_START"' in workdir.journal("show", "s1", "--events").stdout, 40)
        time.sleep(1.5)
        (agent,) = runner.children()
        killed_at = time.time()
        agent.send_signal(signal.SIGKILL)
        assert runner.wait(30) == 128 + signal.SIGKILL
    finally:
        for process in (*runner.children(recursive=True), runner) if runner.is_running() else ():
            process.kill()
    (interruption,) = [event for event in workdir.events("s1") if event["event_type"] == "SESSION_INTERRUPTED"]
    assert interruption["details"]["reason"] == "killed"
    in_time(abs(seconds(interruption["details"]["last_seen"]) - killed_at), 1)
    steps = {step["name"]: step for step in records(workdir, "show", "s1")}
    assert steps["slow"]["status"] == "interrupted"
    assert seconds(steps["slow"]["last_seen_at"]) - seconds(steps["slow"]["started_at"]) > 1.5


def test_heartbeats_reach_the_readers(workdir: Workdir) -> None:
    """While a step is silent for long, its process beats, and readers see that it was alive a moment ago."""
    quick = (
        "from otel_agent_journal.pipeline.heartbeat import Heartbeat\n"
        "Heartbeat.__init__.__kwdefaults__['heartbeat_s'] = 0.3\n"
    )
    text = """
def wait(state):
    while not os.path.exists("go"):
        time.sleep(0.05)
    return {"notes": []}
build(("wait", wait)).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})
"""
    write_agent(workdir, "configure", text, before=quick)
    agent = subprocess.Popen(command("configure"), cwd=workdir.path, env=workdir.env)
    try:
        eventually(lambda: workdir.journal("status", "s1").returncode == 0, 40)
        (first,) = records(workdir, "status", "s1")
        eventually(lambda: records(workdir, "status", "s1")[0]["last_seen_at"] > first["last_seen_at"], 20)
        (later,) = records(workdir, "status", "s1")
        assert later["status"] == PROCESSING
        assert later["updated_at"] == first["updated_at"], "a heartbeat is no event"
        (workdir.path / "go").touch()
        assert agent.wait(30) == 0
    finally:
        agent.kill()
        agent.wait()
    assert records(workdir, "status", "s1")[0]["status"] == COMPLETED
    assert len(workdir.events("s1")) == 4


def test_a_silent_writer_is_lost_until_it_speaks_again(tmp_path: Path) -> None:
    """After 60 s of silence readers call an open step's session lost, sweep writes it, a later event reopens it."""
    store = open_store(f"sqlite:///{tmp_path}/journal.db")
    writer = new_writer(tmp_path / "spool")
    recorder = Recorder(writer)
    drain = Drain(tmp_path / "spool", store, only_writer=writer.writer)
    drain.start()
    heart = Heartbeat(recorder, heartbeat_s=0.05)

    def seen_ns() -> int:
        drain.flush()
        head = store.head("s1")
        return head.writers[writer.writer] if head else 0

    root = recorder.start_step("AGENT", "worker", session_id="s1")
    begun_ns = seen_ns()
    eventually(lambda: seen_ns() > begun_ns)
    heart.stop()
    time.sleep(0.2)
    last_ns = seen_ns()
    head = store.head("s1")
    assert head is not None
    assert judged(head, last_ns + SILENCE_NS - 1).status == PROCESSING
    silent = judged(head, last_ns + SILENCE_NS + 1)
    assert (silent.status, silent.reason) == (INTERRUPTED, LOST)
    waits = judged(head, last_ns + SILENCE_NS + 1, waiting_writers=frozenset((writer.writer,)))
    assert waits.status == PROCESSING, "what is silent in the store may be waiting in the spool"

    here, elsewhere = tmp_path / "spool", tmp_path / "another machine"
    assert interruptions(store, here, last_ns + SILENCE_NS + 1) == [], "it lives: its lock is held"
    assert interruptions(store, elsewhere, last_ns + SILENCE_NS - 1) == []
    (swept,) = interruptions(store, elsewhere, last_ns + SILENCE_NS + 1)
    assert (swept.type, swept.details["reason"], swept.timestamp_ns) == ("SESSION_INTERRUPTED", LOST, last_ns + 1)
    assert status_of(store) == (INTERRUPTED, LOST)
    assert interruptions(store, elsewhere, last_ns + 2 * SILENCE_NS) == []

    root.note("PROGRESS", {"message": "still here"})
    eventually(lambda: drain.flush() and status_of(store) == (PROCESSING, None))
    root.end("ok")
    eventually(lambda: drain.flush() and status_of(store) == (COMPLETED, None))
    writer.close()
    assert drain.stop()
    store.close()


def status_of(store: Any) -> tuple[str, str | None]:
    head = store.head("s1")
    return head.status, head.reason


def records(workdir: Workdir, *arguments: str) -> list[dict[str, Any]]:
    """Return what a command prints, as data."""
    done = workdir.journal(*arguments, "-o", "jsonl")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def seconds(text: str) -> float:
    """Return a timestamp of nine digits as seconds."""
    return datetime.fromisoformat(text[:26] + "+00:00").timestamp()
