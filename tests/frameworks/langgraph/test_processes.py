"""Interrupted in one process and resumed in another: one session, two writers, joined by the checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.store.registry import open_store

PROGRAM = """
import os, pickle, sys
from pathlib import Path
import otel_agent_journal
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from tests.frameworks.langgraph import graphs
from otel_agent_journal.testing.scripted import reply

folder, what = Path(sys.argv[1]), sys.argv[2]
otel_agent_journal.configure(f"sqlite:///{folder}/journal.db")
kept, saver = folder / "checkpoints", InMemorySaver()
if kept.exists():
    storage, saver_writes, blobs = pickle.loads(kept.read_bytes())
    for thread, spaces in storage.items():
        for space, checkpoints in spaces.items():
            saver.storage[thread][space] = checkpoints
    saver.writes.update(saver_writes)
    saver.blobs.update(blobs)

script = [reply("", calls=[("ask_human", {"question": "sure?"})]), "They are sure."]
graph = {
    "graph": lambda: graphs.nested_asking(saver),
    "agent": lambda: graphs.agent(script, [graphs.ask_human], checkpointer=saver),
}[sys.argv[3]]()
if what == "kill":
    import threading
    threading.Timer(0.5, lambda: os.kill(os.getpid(), 9)).start()
    import time
    graphs.nested(lambda state: time.sleep(60)).invoke({"notes": []}, graphs.on_thread())
given = Command(resume="yes") if what == "resume" else graphs.question() if sys.argv[3] == "agent" else {"notes": []}
print(graph.invoke(given, graphs.on_thread()))
storage = {thread: {space: dict(found) for space, found in spaces.items()} for thread, spaces in saver.storage.items()}
kept.write_bytes(pickle.dumps((storage, {key: dict(found) for key, found in saver.writes.items()}, dict(saver.blobs))))
"""


def run(folder: Path, what: str, kind: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), what, kind],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def journal(folder: Path) -> tuple[StepTree, tuple[str, str | None]]:
    """The steps of the session and its status."""
    store = open_store(f"sqlite:///{folder}/journal.db")
    try:
        head = store.head("t1")
        assert head is not None
        return fold_steps(store.read("t1")), (head.status, head.reason)
    finally:
        store.close()


def told(tree: StepTree) -> list[str]:
    """The tree as lines."""
    return [
        "  " * step.depth
        + f"{step.kind} {step.name} "
        + " ".join(f"{one.ordinal}:{one.attempt}:{one.outcome}" for one in step.attempts)
        for step in tree.walk()
    ]


def test_a_graph(tmp_path: Path) -> None:
    """A question in a subgraph, answered in another process: every step around it is taken up again there."""
    done = run(tmp_path, "ask", "graph")
    assert done.returncode == 0, done.stderr
    assert journal(tmp_path)[1] == ("INTERRUPTED", "awaiting_input")
    done = run(tmp_path, "resume", "graph")
    assert done.returncode == 0, done.stderr
    assert "answered yes" in done.stdout
    tree, status = journal(tmp_path)
    assert status == ("COMPLETED", None)
    assert told(tree) == [
        "AGENT outer 1:1:interrupted",
        "  NODE before 1:1:ok",
        "  NODE sub 1:1:interrupted",
        "    AGENT approval 1:1:interrupted",
        "      NODE plan 1:1:ok",
        "      NODE approve 1:1:interrupted",
        "AGENT outer 1:1:ok",
        "  NODE sub 2:1:ok",
        "    AGENT approval 2:1:ok",
        "      NODE approve 2:1:ok",
        "  NODE after 1:1:ok",
    ]
    first, second = tree.roots
    assert tree.resumes == {second.step_id: first.step_id}
    assert len({one.writer for step in tree.steps for one in step.attempts}) == 2


def test_an_agent(tmp_path: Path) -> None:
    """A question in a tool, answered in another process, is another attempt at the same tool call."""
    assert run(tmp_path, "ask", "agent").returncode == 0
    done = run(tmp_path, "resume", "agent")
    assert done.returncode == 0, done.stderr
    tree, status = journal(tmp_path)
    assert status == ("COMPLETED", None)
    tool = next(step for step in tree.steps if step.kind == "TOOL")
    assert [(one.ordinal, one.outcome) for one in tool.attempts] == [(1, "interrupted"), (2, "ok")]
    first, second = tree.roots
    assert tree.resumes == {second.step_id: first.step_id}


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    """What a killed process left open is in the journal, interrupted, once the next process has started."""
    assert run(tmp_path, "kill", "graph").returncode == -9
    done = run(tmp_path, "ask", "graph")
    assert done.returncode == 0, done.stderr
    tree, _ = journal(tmp_path)
    assert told(tree)[:2] == ["AGENT outer 1:1:interrupted", "  NODE sub 1:1:interrupted"]
    assert tree.roots[0].last.reason in ("killed", "lost")


LEAVING = """
import sys, threading, time
import otel_agent_journal
from tests.frameworks.langgraph import graphs

otel_agent_journal.configure(f"sqlite:///{sys.argv[1]}/journal.db")
inside = threading.Event()

def wait(state):
    inside.set()
    time.sleep(60)

threading.Thread(
    target=lambda: graphs.nested(wait).invoke({"notes": []}, graphs.on_thread()), daemon=True
).start()
assert inside.wait(30)
"""


def test_a_process_that_leaves_in_the_middle(tmp_path: Path) -> None:
    """What is open when a process leaves in order ends as cancelled, every step of it."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, str(tmp_path)],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    tree, status = journal(tmp_path)
    assert status == ("INTERRUPTED", "cancelled")
    assert [(step.name, step.status) for step in tree.walk()] == [("outer", "cancelled"), ("sub", "cancelled")]
