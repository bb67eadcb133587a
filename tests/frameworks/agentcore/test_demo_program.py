"""The program of `agent-journal demo --framework agentcore`, journaled and by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.store.registry import open_store

PROGRAM = [sys.executable, "-m", "otel_agent_journal.testing.demo_agentcore"]
ANSWER = "Lisbon. In May it is warm and dry, and not yet crowded.\n"


def run(folder: Path, *prefix: str) -> str:
    """Run the program and return what it printed on stdout."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "AGENT_JOURNAL_"))}
    done = subprocess.run(
        [*prefix, *PROGRAM],
        cwd=folder,
        env=env | {"AGENT_JOURNAL_DEMO_PACE": "0.01"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_untouched(tmp_path: Path) -> None:
    """Without us it prints its answer, and nothing else."""
    assert run(tmp_path) == ANSWER


def test_journaled(tmp_path: Path) -> None:
    """Under `agent-journal run` its Strands agent hangs below the request, and the task beside it outlives that."""
    journal = str(Path(sys.executable).with_name("agent-journal"))
    assert run(tmp_path, journal, "run", "--") == ANSWER
    store = open_store(f"sqlite:///{tmp_path}/.agent-journal/journal.db", create=False)
    (head,) = store.sessions()
    tree = fold_steps(store.read(head.session_id))
    store.close()
    assert (head.status, head.errors) == ("COMPLETED", 0)
    assert [(step.depth, step.kind, step.name) for step in tree.walk()] == [
        (0, "STEP", "travel_desk"),
        (1, "AGENT", "travel_agent"),
        (2, "MODEL", "us.amazon.nova-lite-v1:0"),
        (2, "TOOL", "weather"),
        (2, "MODEL", "us.amazon.nova-lite-v1:0"),
        (0, "STEP", "write_itinerary"),
    ]
    desk, task = tree.roots
    assert task.end_ns is not None
    assert desk.end_ns is not None
    assert task.end_ns > desk.end_ns
