"""An agent whose store is `otlp://`: what it journals crosses the wire whole, and dies no sooner than elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal import JournalEvent
from scripts.ports import reserved_port
from tests.e2e.conftest import BIN, WALKER, Workdir
from tests.processes import started
from tests.receiver.collecting import ANY, Collecting, eventually

AGENT = (
    WALKER
    + """
def work(state):
    return {"notes": ["x" * 200_000]}

agent = build(("a", work), ("b", lambda s: {"notes": ["b"]}))
agent.invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})
"""
)
HANGS = (
    WALKER
    + """
import time

def hang(state):
    print(os.getpid(), flush=True)
    time.sleep(600)

agent = build(("a", lambda s: {"notes": ["a"]}), ("b", hang))
agent.invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})
"""
)


def told(events: list[JournalEvent]) -> list[tuple[str, str | None]]:
    """Return what events say that no run changes."""
    return [(event.type, event.name) for event in events]


def listed(workdir: Workdir, collecting: Collecting) -> list[dict[str, Any]]:
    """Return what `ls` lists of the receiver's journal."""
    return [json.loads(line) for line in workdir.journal("ls", "--store", collecting.url).stdout.splitlines()]


def last_of(collecting: Collecting) -> JournalEvent | None:
    """Return the last event of the session."""
    events = collecting.events("s1")
    return events[-1] if events else None


@contextlib.contextmanager
def under_run(workdir: Workdir, store: str) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Run the agent that hangs under `run`; yield that, and the agent's process id once it hangs."""
    workdir.write("agent.py", HANGS)
    with started(
        [BIN / "agent-journal", "run", "--", sys.executable, "agent.py"],
        cwd=workdir.path,
        env={**workdir.env, "AGENT_JOURNAL_STORE": store},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.wait(60)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder for the receiver."""
    folder = tmp_path / "receiver"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("scheme", ["otlp", "otlp+http"])
def test_whole(workdir: Workdir, there: Path, scheme: str) -> None:
    """The receiver's journal is the one that the agent would have written itself, large values included."""
    workdir.write("agent.py", AGENT)
    workdir.run("agent.py")
    with Collecting(there) as collecting:
        address = collecting.grpc if scheme == "otlp" else collecting.http
        done = workdir.run("agent.py", env={"AGENT_JOURNAL_STORE": f"{scheme}://{address}"})
        assert f"1 session shipped to {scheme}://{address}" in done.stderr
        eventually(lambda: len(collecting.events("s1")) == 6)
        collecting.stop()
        assert told(collecting.events("s1")) == [
            ("AGENT_START", "walker"),
            ("NODE_START", "a"),
            ("NODE_END", "a"),
            ("NODE_START", "b"),
            ("NODE_END", "b"),
            ("AGENT_END", "walker"),
        ]
        at_receiver = workdir.journal("verify", "--store", collecting.url)
        assert at_receiver.returncode == 0, at_receiver.stdout
        shown = workdir.journal("show", "s1", "--store", collecting.url, "--events").stdout
        assert "x" * 100 in shown or "$blob" in shown
        (session,) = listed(workdir, collecting)
        assert (session["status"], session["steps"]) == ("COMPLETED", 3)


def test_spans_and_events_make_one_journal(workdir: Workdir, there: Path) -> None:
    """An agent that sends both is journaled once: a step that comes through two doors is one step."""
    workdir.write("agent.py", AGENT)
    with Collecting(there) as collecting:
        env = {"AGENT_JOURNAL_STORE": f"otlp://{collecting.grpc}"}
        done = workdir.run("agent.py", env=env, options=("--otlp", f"http://{collecting.http}"))
        assert done.returncode == 0, done.stderr
        eventually(lambda: len(collecting.events("s1")) == 6)
        collecting.stop()
        events = collecting.events("s1")
        assert len({event.event_id for event in events}) == len(events) == 6
        (session,) = listed(workdir, collecting)
        assert (session["session_id"], session["status"], session["steps"]) == ("s1", "COMPLETED", 3)


def test_seen_while_it_runs_and_lost_when_it_is_killed(workdir: Workdir, there: Path) -> None:
    """A step shows as it begins; of an agent of which nothing is heard any more the session is interrupted, lost."""
    workdir.write("agent.py", "import otel_agent_journal\notel_agent_journal.configure()\n" + HANGS)
    with Collecting(there, "--grpc", ANY, "--http", ANY, "--silence", "4") as collecting:
        agent = subprocess.Popen(
            [sys.executable, "agent.py"],
            cwd=workdir.path,
            env={**workdir.env, "AGENT_JOURNAL_STORE": f"otlp://{collecting.grpc}"},
            stdout=subprocess.PIPE,
        )
        try:
            assert agent.stdout is not None
            agent.stdout.readline()
            eventually(lambda: ("NODE_START", "b") in told(collecting.events("s1")))
            agent.kill()
        finally:
            agent.kill()
            agent.wait(30)
            if agent.stdout:
                agent.stdout.close()
        eventually(lambda: (last := last_of(collecting)) is not None and last.type == "SESSION_INTERRUPTED")
        assert collecting.events("s1")[-1].details["reason"] == "lost"
        eventually(lambda: listed(workdir, collecting)[0]["status"] == "INTERRUPTED")


def test_killed_under_run(workdir: Workdir, there: Path) -> None:
    """The parent ships what the killed agent had journaled, and says that it was killed."""
    with Collecting(there) as collecting:
        with under_run(workdir, f"otlp://{collecting.grpc}") as (_, agent):
            os.kill(agent, signal.SIGKILL)
        eventually(lambda: (last := last_of(collecting)) is not None and last.type == "SESSION_INTERRUPTED")
        assert collecting.events("s1")[-1].details["reason"] == "killed"


def test_a_receiver_that_is_away(workdir: Workdir, there: Path) -> None:
    """What an agent journals meanwhile waits in its spool, and the next drain ships it, each event once."""
    workdir.write("agent.py", AGENT)
    address = f"127.0.0.1:{reserved_port()}"
    env = {"AGENT_JOURNAL_STORE": f"otlp://{address}"}
    done = workdir.run("agent.py", env=env)
    assert done.returncode == 0
    assert "agent-journal drain" in done.stderr
    with Collecting(there, "--grpc", address, "--http", ANY) as collecting:
        drained = workdir.journal("drain", env=env)
        assert drained.returncode == 0, drained.stderr
        eventually(lambda: len(collecting.events("s1")) == 6)


def test_what_it_cannot_is_said(workdir: Workdir) -> None:
    """A reader is told that this store only ships; `doctor` and `store info` ask whether it answers."""
    url = "otlp://127.0.0.1:9"
    for command in (("ls",), ("tail",), ("show", "s1"), ("verify",)):
        done = workdir.journal(*command, "--store", url)
        assert done.returncode != 0
        assert "name the store of the receiver behind it" in done.stderr, (command, done.stderr)
    assert "refused" in workdir.journal("store", "info", url).stderr
    assert "refused" in workdir.journal("doctor", "--store", url).stdout
    assert "names no OTLP endpoint" in workdir.journal("ls", "--store", "otlp://").stderr


def test_ctrl_c_during_the_outage_loses_nothing(workdir: Workdir, there: Path) -> None:
    """An agent that is stopped while nobody takes its events leaves them in the spool."""
    address = f"127.0.0.1:{reserved_port()}"
    with under_run(workdir, f"otlp://{address}") as (process, _):
        process.send_signal(signal.SIGINT)
    with Collecting(there, "--grpc", address, "--http", ANY) as collecting:
        assert workdir.journal("drain", env={"AGENT_JOURNAL_STORE": f"otlp://{address}"}).returncode == 0
        eventually(lambda: ("NODE_START", "b") in told(collecting.events("s1")))
