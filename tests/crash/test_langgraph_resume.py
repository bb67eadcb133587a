"""A LangGraph agent is killed at random moments and resumed in a new process: it ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.reading.prompts import prompt_of
from otel_agent_journal.store.registry import open_store
from tests.processes import started

AGENT = Path(__file__).with_name("resumable_agent.py")
KILLS = 100 if os.environ.get("AGENT_JOURNAL_SOAK") else 20
SEED = int(os.environ.get("AGENT_JOURNAL_SEED", "20261201"))
TIMEOUT_S = 60.0
SESSION = "errand"


class Agents:
    """The agent's process, which forks one for each run."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def run(self, what: str, folder: Path, *, kill_at: int | None = None, delay_s: float = 0.0) -> tuple[int, int]:
        """Run an agent; kill it once it has said so many bytes. Return its exit code, and how many it said."""
        process = self.process
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(f"{what} {folder}\n".encode())
        process.stdin.flush()
        pid, said = int(process.stdout.readline()), 0
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            ready, _, _ = select.select([process.stderr, process.stdout], [], [], 1.0)
            if process.stderr in ready:
                said += os.read(process.stderr.fileno(), 1).count(b".")
                if said == kill_at:
                    time.sleep(delay_s)
                    os.kill(pid, signal.SIGKILL)
            elif process.stdout in ready:
                return int(process.stdout.readline()), said
        os.kill(pid, signal.SIGKILL)
        pytest.fail(f"the agent did not end in {TIMEOUT_S} s")


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    """One process for all runs."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with started([sys.executable, str(AGENT)], **pipes) as process:
        yield Agents(process)
        assert process.stdin
        process.stdin.close()
        process.wait(TIMEOUT_S)


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def real_calls(folder: Path) -> Counter[str]:
    """Count the calls of tools that were made and came to their end, served ones not among them."""
    store = open_store(f"sqlite:///{folder}/journal.db")
    try:
        ends = [event for event in store.read(SESSION) if event.type == "TOOL_END" and "served" not in event.details]
        return Counter(str(event.details["output"]["content"]).removeprefix("paid ") for event in ends)
    finally:
        store.close()


def requests_in(folder: Path) -> list[list[str]]:
    """Return the requests of models as the journal has them."""
    store = open_store(f"sqlite:///{folder}/journal.db")
    try:
        tree = fold_steps(store.read(SESSION))
        found: list[list[str]] = []
        each = [replace(step, attempts=(one,)) for step in tree.steps for one in step.attempts]
        for step in each:
            prompt = prompt_of(lambda: store.read(SESSION), SESSION, step, lambda _, value: value)
            if prompt is not None:
                assert prompt["complete"], prompt
                found.append([message["content"] for message in prompt["messages"]])
        return found
    finally:
        store.close()


@pytest.mark.long_form
@pytest.mark.timeout(3600 if KILLS > 20 else 300)
def test_killed_at_any_moment_it_ends_as_ever(agents: Agents, tmp_path: Path) -> None:
    """The result is that of an undisturbed run, no completed tool is run twice, and requests are the journal's."""
    whole = tmp_path / "whole"
    whole.mkdir()
    code, moments = agents.run("begin", whole)
    assert code == 0, (whole / "failed").read_text()
    expected = json.loads((whole / "result").read_text())
    assert Counter(lines(whole / "world")).most_common(1)[0][1] == 1
    chance = random.Random(SEED)
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        kill_at, delay_s = chance.randint(1, moments), chance.choice((0.0, chance.random() * 0.01))
        code, _ = agents.run("begin", folder, kill_at=kill_at, delay_s=delay_s)
        if code == 0:
            continue  # it was quicker
        assert code == -signal.SIGKILL, (folder / "failed").read_text()
        where = f"seed {SEED}, kill {number} at {kill_at} of {moments}"
        code, _ = agents.run("resume", folder)
        assert code == 0, f"{where}: {(folder / 'failed').read_text()}"
        result = json.loads((folder / "result").read_text())
        assert result[: len(expected)] == expected, where
        times = Counter(lines(folder / "world"))
        assert set(times) == set(lines(whole / "world")), where
        assert real_calls(folder) == dict.fromkeys(times, 1), where
        asked, journaled = Counter(map(tuple, lines(folder / "requests"))), Counter(map(tuple, requests_in(folder)))
        assert not asked - journaled, where
        assert (journaled - asked).total() <= 1, where
