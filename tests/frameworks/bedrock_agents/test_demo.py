"""The demo: an ordinary program, which prints its answer with us and without, and whose journal tells it all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.demo_bedrock_agent import ANSWER, SESSION_ID

PROGRAM = [sys.executable, "-m", "otel_agent_journal.testing.demo_bedrock_agent"]
RUN = [str(Path(sys.executable).with_name("agent-journal")), "run", "--"]


@pytest.mark.parametrize("command", [PROGRAM, [*RUN, *PROGRAM]], ids=["alone", "journaled"])
def test_demo(tmp_path: Path, command: list[str]) -> None:
    """It prints the answer and nothing else; journaled it is a session of every kind of step, throttled once."""
    environ = {**os.environ, "AGENT_JOURNAL_DEMO_PACE": "0"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{ANSWER}\n"
    if command == PROGRAM:
        assert done.stderr == ""
        assert not list(tmp_path.iterdir())
        return
    store = open_store(f"sqlite:///{tmp_path}/.agent-journal/journal.db")
    try:
        events = list(store.read(SESSION_ID))
        (head,) = store.sessions()
    finally:
        store.close()
    assert (head.status, head.stage) == ("COMPLETED", "Deployments")
    steps = fold_steps(events).steps
    assert {step.kind for step in steps} == {"AGENT", "MODEL", "TOOL", "RETRIEVAL"}
    assert {step.last.outcome for step in steps} == {"ok"}
    assert [one.details["attempt"] for one in events if one.type == "WARNING"] == [1]
