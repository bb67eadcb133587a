"""Which session: that of the enclosing step; `--session`; LangGraph's thread; baggage that is trusted; the trace."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry import context as context_api

from otel_agent_journal.pipeline.session import session
from otel_agent_journal.pipeline.session import step as own_step
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording, recording_at


def run(thread: Any = "t1") -> None:
    """Run a graph."""
    graphs.two_nodes().invoke({"notes": []}, graphs.on_thread(thread) if thread else None)


TWO = """\
AGENT two ok
  NODE plan ok
  NODE write ok"""


def test_the_thread(recording: Recording) -> None:
    """A graph's thread is its session, as text where it is none."""
    thread = uuid.UUID(int=7)
    run(thread)
    assert set(recording.sessions) == {str(thread)}


def test_a_session_block(recording: Recording) -> None:
    """In a `session()` block a graph is part of that session."""
    with session("s9", agent="boss"):
        run()
    assert set(recording.sessions) == {"s9"}
    assert recording.status == ("COMPLETED", None)


async def test_an_async_session_block(recording: Recording) -> None:
    """The same holds of an async block."""
    async with session("s9", agent="boss"):
        await graphs.async_nodes().ainvoke({"notes": []}, graphs.on_thread())
    assert set(recording.sessions) == {"s9"}


def test_a_step_of_ones_own(recording: Recording) -> None:
    """A graph that runs within a hand-written step hangs below it."""
    with session("s9", agent="boss") as own, own.step("tool", "delegate"):
        run()
    tree = recording.tree(details=False)
    assert "TOOL delegate ok\n" in tree
    depth = next(step.depth for step in recording.steps.walk() if step.name == "delegate")
    assert next(step.depth for step in recording.steps.walk() if step.name == "two") == depth + 1


def test_a_hand_written_step_in_a_node(recording: Recording) -> None:
    """A hand-written step within a node hangs below that node, in the same session."""

    def work(state: graphs.Notes) -> graphs.Notes:
        with own_step("tool", "look", input="x") as look:
            look.progress("3 of 10")
            look.complete("found")
        return {"notes": ["x"]}

    graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == "AGENT outer ok\n  NODE sub ok\n    TOOL look ok\n      · PROGRESS"


@pytest.mark.parametrize("key", ["gen_ai.conversation.id", "session.id"])
def test_baggage(tmp_path: Path, key: str) -> None:
    """Baggage that came with a request names no thread's session, and without a thread only where it is trusted."""
    with recording_at(tmp_path, trusts_baggage=True) as recording:
        token = context_api.attach(baggage.set_baggage(key, "from-baggage"))
        run()
        run(None)
        context_api.detach(token)
        assert set(recording.sessions) == {"t1", "from-baggage"}


def test_the_session_of_the_process(tmp_path: Path) -> None:
    """`--session` outweighs the thread."""
    with recording_at(tmp_path, session_id="cli") as recording:
        run()
        run(None)
        assert set(recording.sessions) == {"cli"}


def test_the_trace(recording: Recording) -> None:
    """Without any of these the session is the trace id."""
    run(None)
    (name,) = recording.sessions
    assert name == recording.attempt("two").trace_id
    assert recording.tree(details=False) == TWO


def test_a_session_block_keeps_the_thread(recording: Recording) -> None:
    """In a `session()` block the thread that was not used is kept."""
    with session("s9", agent="boss"):
        graphs.two_nodes().invoke({"notes": []}, graphs.on_thread())
    assert recording.attempt("two").details_start["framework_session_id"] == "t1"
