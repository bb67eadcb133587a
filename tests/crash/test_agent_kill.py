"""A real LangGraph agent is killed with SIGKILL at random moments: nothing durable is lost, nothing doubled."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.event import END_TYPES, START_TYPES, JournalEvent
from otel_agent_journal.projections.head import INTERRUPTED, KILLED
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store

AGENT = Path(__file__).with_name("witnessed_agent.py")
KILLS = 200 if os.environ.get("AGENT_JOURNAL_SOAK") else 20
START_TIMEOUT_S = 60.0
SEED = int(os.environ.get("AGENT_JOURNAL_SEED", "20261121"))


def kill_one(folder: Path, delay_s: float, *, under_run: bool, at_least: int = 0) -> list[str]:
    """Start an agent, kill it after a delay, and return the ids of the events that were durable by then.

    With `at_least` the delay begins when so many events are durable.
    """
    read, write = os.pipe()
    command = [sys.executable, str(AGENT), str(write)]
    if under_run:
        command = [str(Path(sys.executable).with_name("agent-journal")), "run", "--", *command]
    else:
        command.append("configure")
    child = subprocess.Popen(
        command, cwd=folder, pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    seen = bytearray()
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"ready\n" not in seen or seen.count(b"\n") <= at_least:
            ready, _, _ = select.select([read], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(read, 65536) if ready else b""
            if not chunk:
                child.kill()
                pytest.fail(f"the agent did not start: {child.communicate(timeout=10)[1]}")
            seen += chunk
        until = time.monotonic() + delay_s
        while (left := until - time.monotonic()) > 0:
            if select.select([read], [], [], left)[0]:
                seen += os.read(read, 65536)
        for process in victims(child.pid) if under_run else [psutil.Process(child.pid)]:
            process.send_signal(signal.SIGKILL)
        while chunk := os.read(read, 65536):
            seen += chunk
        _, said = child.communicate(timeout=60)
        if under_run:
            assert child.returncode == 128 + signal.SIGKILL, said
    finally:
        os.close(read)
        if child.poll() is None:
            child.kill()
            child.wait()
    return [line for line in seen.decode().split("\n")[:-1] if line != "ready"]


def victims(runner: int) -> list[psutil.Process]:
    """Return the agent below a runner, not the runner itself."""
    return psutil.Process(runner).children(recursive=True)


def events_in(store: JournalStore) -> list[JournalEvent]:
    """Return every event of a store, in the order they arrived."""
    events: list[JournalEvent] = []
    cursor: str | None = None
    while True:
        page = store.follow(cursor)
        if not page.events:
            return events
        events += page.events
        cursor = page.cursor


@pytest.mark.long_form
@pytest.mark.timeout(60 + KILLS * 20)
@pytest.mark.parametrize("under_run", [True, False], ids=["run", "configure"])
def test_kill_loses_nothing(tmp_path: Path, under_run: bool) -> None:
    """After SIGKILL every event whose append had returned is in the store once, and what ran shows as interrupted."""
    chance = random.Random(SEED + under_run)
    durable_in_all = 0
    for turn in range(KILLS // 2):
        folder = tmp_path / str(turn)
        folder.mkdir()
        durable = kill_one(folder, chance.random() * 0.4, under_run=under_run)
        durable_in_all += len(durable)
        store = open_store(f"sqlite:///{folder}/.agent-journal/journal.db")
        Drain(folder / ".agent-journal" / "spool", store).drain_once()
        events = events_in(store)
        counts = Counter(event.event_id for event in events)
        assert not [event_id for event_id in durable if event_id not in counts], "durable events were lost"
        assert not [event_id for event_id, count in counts.items() if count > 1], "events are there twice"
        check_sessions(store, events)
        store.close()
    assert durable_in_all > KILLS


def check_sessions(store: JournalStore, events: list[JournalEvent]) -> None:
    """Check order, and that exactly the sessions with an open step are interrupted."""
    for session_id in {event.session_id for event in events}:
        session = list(store.read(session_id))
        assert [event.key for event in session] == sorted(event.key for event in session)
        started = {(event.step_id, event.attempt) for event in session if event.type in START_TYPES}
        ended = {(event.step_id, event.attempt) for event in session if event.type in END_TYPES}
        assert ended <= started, "an ending without its start"
        places = {
            (event.step_id, event.attempt): place for place, event in enumerate(session) if event.type in START_TYPES
        }
        for place, event in enumerate(session):
            if event.parent_step_id is not None and event.type in START_TYPES:
                parents = [at for (step_id, _), at in places.items() if step_id == event.parent_step_id]
                assert parents, "a step without its parent"
                assert min(parents) < place, "a step before its parent"
        head = head_of(fold(session), session_id)
        stored = store.head(session_id)
        assert stored is not None
        assert (stored.status, stored.steps, stored.reason) == (head.status, head.steps, head.reason)
        if started - ended:
            assert (head.status, head.reason) == (INTERRUPTED, KILLED)
