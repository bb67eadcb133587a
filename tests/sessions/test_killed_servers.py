"""Servers of the session API are killed at random: no run vanishes, none is run twice, each ends as what it was."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.bootstrap.sessions import Sessions
from tests.sessions.conftest import ROOT

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
KILLS = 60 if SOAK else 3
RUNS = 20
BOUND_S = 900.0 if SOAK else 200.0
PATIENCE_S = 200.0


class Server:
    """A server on a socket of the test's, which outlives it: connections wait there until the next one comes up."""

    def __init__(self, store_url: str) -> None:
        self._store_url = store_url
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        fd = self.socket.fileno()
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sessions.server", str(fd), self._store_url],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=[fd],
        )

    def kill(self) -> None:
        """Kill it, and nothing else: what it has started is in sessions of its own."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def asked(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """Ask until there is an answer: a connection that breaks is tried again, with the same key."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                headers = {"content-type": "application/json"} | ({} if key is None else {"idempotency-key": key})
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                answer = connection.getresponse()
                told = json.loads(answer.read())
                if answer.status != 503:
                    return answer.status, told
            except (OSError, http.client.HTTPException, ValueError):
                assert time.monotonic() < deadline, "no server answers"
            finally:
                connection.close()
            time.sleep(0.05)


@pytest.fixture
def server(store_url: str) -> Iterator[Server]:
    """A server that runs, and is killed at the end."""
    one = Server(store_url)
    one.start()
    yield one
    one.kill()
    one.socket.close()


def asked_of(number: int, file: Path) -> tuple[str, Any, tuple[str, str | None]]:
    """Return what is asked under a number: the agent, its input, and how that must end."""
    match number % 5:
        case 0:
            return "failing", number, ("ERROR", None)
        case 1:
            return "suicidal", number, ("INTERRUPTED", "killed")
        case _:
            seconds = random.Random(number).uniform(0, 2)
            given = {"file": str(file), "name": f"run {number}", "seconds": seconds}
            return "counted", given, ("COMPLETED", None)


@pytest.mark.long_form
@pytest.mark.timeout(BOUND_S * 1.5)
def test_servers_are_killed_while_runs_are_under_way(server: Server, store_url: str, tmp_path: Path) -> None:
    """Twenty runs, their server killed again and again: each is run once, and ends in the journal as what it was."""
    file, found = tmp_path / "ran", dict[int, str]()

    def submit(number: int) -> None:
        time.sleep(random.uniform(0, 3))
        agent, given, _ = asked_of(number, file)
        status, told = server.asked("POST", "/api/sessions", {"agent": agent, "input": given}, f"key-{number}")
        assert status == 202, told
        found[number] = told["session_id"]

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(RUNS)]
    for thread in threads:
        thread.start()
    for _ in range(KILLS):
        time.sleep(random.uniform(0.5, 6))
        server.kill()
        server.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert len(set(found.values())) == RUNS
    endings: dict[int, tuple[str, str | None]] = {}
    deadline = time.monotonic() + BOUND_S
    while len(endings) < RUNS:
        assert time.monotonic() < deadline, f"no end of {set(found) - set(endings)}"
        for number in set(found) - set(endings):
            status, told = server.asked("GET", f"/api/sessions/{found[number]}/result")
            if status == 200:
                endings[number] = (told["status"], told["reason"])
        time.sleep(0.2)
    assert endings == {number: asked_of(number, file)[2] for number in range(RUNS)}
    ran = Counter(file.read_text().splitlines())
    assert ran == {f"run {number}": 1 for number in range(RUNS) if number % 5 > 1}
    with Sessions(store_url, {}) as reader:
        for session_id in found.values():
            types = Counter(event.type for event in reader.journal.store.read(session_id))
            assert types["AGENT_INVOCATION_STARTED"] == 1, session_id
        until_empty(reader)


def test_a_run_whose_process_is_killed_is_interrupted(server: Server, store_url: str, tmp_path: Path) -> None:
    """The process that runs an agent is killed with it: the session is INTERRUPTED, and the next input goes on."""
    given = {"file": str(tmp_path / "ran"), "name": "once", "seconds": 300}
    _, told = server.asked("POST", "/api/sessions", {"agent": "counted", "input": given})
    session_id, reader = told["session_id"], Sessions(store_url, {})
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "ran").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    line = reader.lines.get(session_id)
    assert line is not None
    os.killpg(line.runs[0].pid, signal.SIGKILL)
    status, told = server.asked("GET", f"/api/sessions/{session_id}/result?wait=60")
    assert (status, told["status"], told["reason"]) == (200, "INTERRUPTED", "killed")
    until_empty(reader)
    status, told = server.asked("POST", f"/api/sessions/{session_id}/input", {"agent": "echo", "input": "again"})
    assert status == 202
    deadline = time.monotonic() + PATIENCE_S
    while (told := server.asked("GET", f"/api/sessions/{session_id}/result?wait=30")[1])["status"] != "COMPLETED":
        assert time.monotonic() < deadline, told
    assert told["result"] == {"said": "again"}
    reader.close()


def until_empty(reader: Sessions) -> None:
    """Wait until nothing is asked of any session."""
    deadline = time.monotonic() + PATIENCE_S
    while list(reader.lines.all()):
        assert time.monotonic() < deadline, list(reader.lines.all())
        time.sleep(0.1)
