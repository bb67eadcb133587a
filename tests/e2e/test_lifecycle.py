"""The lifecycle around a real agent: one that runs in the block, in a thread, in another process, or not at all."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import GRAPH, Workdir

CALLER = """
import asyncio, contextvars, os, threading, time
import otel_agent_journal
from otel_agent_journal import invocation
otel_agent_journal.configure()
"""
PROGRAM = (
    CALLER
    + GRAPH
    + """
def fine(state):
    return {"notes": ["fine"]}
def broken(state):
    raise KeyError("x")
agent = build(("one", fine))
bad = build(("one", broken))
config = {"configurable": {"thread_id": "of-the-framework"}}
"""
)
LIFECYCLE = ["SESSION_INITIATED", "AGENT_INVOCATION_STARTED"]
STEPS = ["AGENT_START", "NODE_START", "NODE_END", "AGENT_END"]


def types(workdir: Workdir, session: str) -> list[object]:
    """The types of a session's events, in order."""
    return [event["event_type"] for event in workdir.events(session)]


@pytest.mark.parametrize(
    "call",
    [
        "with invocation('s1', agent='caller'): agent.invoke({'notes': []}, config)",
        """
async def main():
    async with invocation('s1', agent='caller'):
        await agent.ainvoke({'notes': []}, config)
asyncio.run(main())
""",
        """
async def main():
    async with invocation('s1', agent='caller'):
        await asyncio.to_thread(agent.invoke, {'notes': []}, config)
asyncio.run(main())
""",
        """
with invocation('s1', agent='caller'):
    copied = contextvars.copy_context()
    thread = threading.Thread(target=copied.run, args=(agent.invoke, {'notes': []}, config))
    thread.start()
    thread.join()
""",
    ],
    ids=["sync", "async", "to_thread", "thread"],
)
def test_an_agent_within_the_block(workdir: Workdir, call: str) -> None:
    """An instrumented agent that runs in the block has its own root in the block's session, not in its framework's."""
    done = workdir.python(workdir.write("program.py", PROGRAM + call))
    assert (done.returncode, done.stderr) == (0, "")
    (head,) = workdir.sessions()
    assert (head["session_id"], head["status"], head["agent"], head["steps"]) == ("s1", "COMPLETED", "walker", 2)
    assert types(workdir, "s1") == [*LIFECYCLE, *STEPS, "AGENT_INVOCATION_SUCCEEDED"]
    (root,) = [event for event in workdir.events("s1") if event["event_type"] == "AGENT_START"]
    assert "parent_step_id" not in root
    assert workdir.journal("verify").returncode == 0


def test_an_agent_that_fails_within_the_block(workdir: Workdir) -> None:
    """Its exception fails the agent's root and the invocation, and passes untouched."""
    call = "with invocation('s1'): bad.invoke({'notes': []}, config)"
    done = workdir.python(workdir.write("program.py", PROGRAM + call))
    assert done.returncode == 1
    assert "KeyError: 'x'" in done.stderr
    events = workdir.events("s1")
    assert [event["event_type"] for event in events][-2:] == ["AGENT_ERROR", "AGENT_INVOCATION_FAILED"]
    assert events[-1]["error"]["type"] == "KeyError"
    assert workdir.sessions()[0]["status"] == "ERROR"


def test_one_session_of_many_invocations(workdir: Workdir) -> None:
    """A chat: each message is an invocation of its own with a root of its own; the last one decides."""
    call = """
for graph in (bad, agent, agent):
    try:
        with invocation('s1'):
            graph.invoke({'notes': []}, config)
    except KeyError:
        pass
"""
    assert workdir.python(workdir.write("program.py", PROGRAM + call)).returncode == 0
    (head,) = workdir.sessions()
    assert (head["status"], head["errors"]) == ("COMPLETED", 1)
    assert types(workdir, "s1").count("AGENT_START") == 3


def test_an_exit_in_the_middle(workdir: Workdir) -> None:
    """A program that exits in the block gives up on its agent: INTERRUPTED, cancelled."""
    call = "import sys\nwith invocation('s1'):\n    sys.exit(3)"
    assert workdir.python(workdir.write("program.py", CALLER + call)).returncode == 3
    assert types(workdir, "s1") == [*LIFECYCLE, "AGENT_INVOCATION_FAILED"]
    assert workdir.events("s1")[-1]["details"]["reason"] == "cancelled"
    assert workdir.sessions()[0]["status"] == "INTERRUPTED"


def test_a_thread_that_is_left_behind(workdir: Workdir) -> None:
    """An invocation that a daemon thread is in the middle of ends as cancelled when the program exits."""
    call = """
def work():
    with invocation('s1'):
        time.sleep(60)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
"""
    assert workdir.python(workdir.write("program.py", CALLER + call)).returncode == 0
    assert types(workdir, "s1") == [*LIFECYCLE, "AGENT_INVOCATION_FAILED"]
    assert workdir.events("s1")[-1]["details"]["reason"] == "cancelled"


@pytest.mark.parametrize("level", ["spool", "store"])
def test_a_caller_that_is_killed(workdir: Workdir, level: str) -> None:
    """Under `run` a caller that is killed in the block, its agent elsewhere, leaves the session INTERRUPTED, killed."""
    call = "import signal\nwith invocation('s1', input='hi'):\n    os.kill(os.getpid(), signal.SIGKILL)"
    program = workdir.write("program.py", CALLER.replace("otel_agent_journal.configure()", "") + call)
    assert workdir.run(program, env={"AGENT_JOURNAL_DURABILITY": level}).returncode == 137
    assert types(workdir, "s1") == [*LIFECYCLE, "SESSION_INTERRUPTED"]
    (head,) = workdir.sessions()
    assert (head["status"], head["steps"]) == ("INTERRUPTED", 0)
    assert workdir.journal("verify").returncode == 0
