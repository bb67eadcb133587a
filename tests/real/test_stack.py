"""`make stack`, run as a user runs it: a Collector, a Jaeger, a receiver and a demo agent, ended by a signal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import BIN
from tests.processes import started
from tests.real.fixtures import server_program
from tests.real.servers import ROOT, tied

LIMIT_S = 90
STACK = [sys.executable, str(ROOT / "scripts" / "stack.py")]


class Running:
    """A stack in a process of its own, and what it says."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.process = process

    def until(self, text: str) -> str:
        """Read up to the line that has a text, and return that line."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + LIMIT_S
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
            assert time.monotonic() < deadline, self.said()
        raise AssertionError(self.said())

    def said(self) -> str:
        """Return what was read."""
        return "".join(self.lines)

    def pids(self) -> list[int]:
        """Return the processes that it named."""
        return [int(pid) for pid in re.findall(r"process (\d+)", self.said())]

    def end(self) -> int:
        """Read the rest and return its exit code."""
        rest, _ = self.process.communicate(timeout=LIMIT_S)
        self.lines.append(rest)
        return self.process.returncode


@pytest.fixture
def stack(tmp_path: Path, jaeger_program: Path) -> Iterator[Running]:
    """A stack that was just started; the first port that it would take is somebody else's."""
    server_program("collector")
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # somebody has it: that will do
            taken.bind(("127.0.0.1", 4317))
            taken.listen()
        with started(
            [*tied("TERM"), *STACK, "--folder", str(tmp_path / "stack")],
            env={**os.environ, "AGENT_JOURNAL_DEMO_PACE": "0.005"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            yield Running(tmp_path / "stack", process)
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=LIMIT_S)


def test_a_demo_agent_in_both(stack: Running) -> None:
    """Its trace is in Jaeger and its session in the journal, where it says; SIGTERM ends all of it."""
    stack.until("Ctrl-C ends")
    said = stack.said()
    assert "port 4317 is taken" in said
    found = re.search(r"(http://\S+/api/traces/\w+)", said)
    assert found is not None
    with urllib.request.urlopen(found[1], timeout=10) as answer:
        (trace,) = json.load(answer)["data"]
    assert {span["operationName"] for span in trace["spans"]} >= {
        "invoke_workflow research_agent",
        "execute_tool search",
    }
    shown = re.search(r"agent-journal (show .*)", said)
    assert shown is not None
    told = subprocess.run(
        [BIN / "agent-journal", *shown[1].split(), "-o", "table"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "research_agent  COMPLETED" in told.stdout
    for url in re.findall(r"(http://\S+/metrics)", said):
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert b"# TYPE" in answer.read()
    second = subprocess.run([*STACK, "--folder", stack.folder], capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"a stack runs in {stack.folder} already" in second.stdout
    assert len(stack.pids()) == 3
    stack.process.send_signal(signal.SIGTERM)
    assert stack.end() == 0
    assert "ended; the journal stays" in stack.said()
    assert not any(map(psutil.pid_exists, stack.pids()))


def test_a_server_that_ends_by_itself(stack: Running) -> None:
    """It says which one, with the end of its log, and ends the others."""
    stack.until("collector  up")
    pids = stack.pids()
    os.kill(pids[0], signal.SIGKILL)
    assert stack.end() == 1
    assert "jaeger ended by itself, code -9; the end of" in stack.said()
    assert not any(map(psutil.pid_exists, pids))


def test_without_a_toolchain(tmp_path: Path) -> None:
    """Where nothing is built and Go is too old, it says what is missing and what works without it."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.19\n")
    go.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(STACK, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "jaeger is built once, with Go 1.25 or newer: about three minutes" in done.stdout
    assert "Install Go 1.25" in done.stderr
    assert "`make demo` needs Python alone" in done.stdout
