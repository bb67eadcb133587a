"""Many runs at once: each step is journaled once, in the session of its own run, below its own parent."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.tools import tool
from opentelemetry import trace

from otel_agent_journal.testing.scripted import reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording

RUNS = 24

AGENT = """\
AGENT researcher ok
  NODE model ok
    MODEL scripted-1 ok
  NODE tools ok
    TOOL work ok
      AGENT two ok
        NODE plan ok
        NODE write ok
  NODE model ok
    MODEL scripted-1 ok"""


def agent() -> Any:
    """An agent whose tool runs a graph, with a span of the user's own around it."""
    inner = graphs.two_nodes()

    @tool
    def work(number: int) -> str:
        """Work."""
        with trace.get_tracer("user").start_as_current_span(f"mine {number}"):
            return str(inner.invoke({"notes": []})["notes"])

    def called(messages: Any) -> Any:
        return reply("", calls=[("work", {"number": int(messages[0].content)})])

    return graphs.agent([called, "done"], [work])


def checked(recording: Recording) -> None:
    """Check every session and the trace of each."""
    sessions = recording.sessions
    assert set(sessions) == {f"t{number}" for number in range(RUNS)}
    spans = {span.context.span_id: span for span in recording.spans}
    for number in range(RUNS):
        assert recording.tree(session=f"t{number}", details=False) == AGENT
        own = recording.span(f"mine {number}")
        assert own.parent is not None
        assert spans[own.parent.span_id].name == "execute_tool work"
        assert f"{own.context.trace_id:032x}" == sessions[f"t{number}"][0].trace_id


def test_in_threads(recording: Recording) -> None:
    """Runs in many threads do not mix."""
    shared = agent()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: shared.invoke(graphs.question(str(number)), graphs.on_thread(f"t{number}")), range(RUNS)
            )
        )
    checked(recording)


async def test_in_asyncio(recording: Recording) -> None:
    """Runs in many tasks of one loop do not mix."""
    shared = agent()
    await asyncio.gather(
        *(shared.ainvoke(graphs.question(str(number)), graphs.on_thread(f"t{number}")) for number in range(RUNS))
    )
    checked(recording)


def test_in_loops_of_many_threads(recording: Recording) -> None:
    """Runs in event loops of several threads do not mix."""
    shared = agent()

    def loop(first: int) -> None:
        async def many() -> None:
            await asyncio.gather(
                *(
                    shared.ainvoke(graphs.question(str(number)), graphs.on_thread(f"t{number}"))
                    for number in range(first, RUNS, 3)
                )
            )

        asyncio.run(many())

    threads = [threading.Thread(target=loop, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    checked(recording)


def test_one_session_in_many_threads(recording: Recording) -> None:
    """Runs of one session at once are roots beside each other, all of them in its head."""
    graph = graphs.two_nodes()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: graph.invoke({"notes": [str(number)]}, graphs.on_thread()), range(RUNS)))
    assert recording.tree(details=False).splitlines() == ["AGENT two ok", "  NODE plan ok", "  NODE write ok"] * RUNS
    recording.drain()
    head = recording.store.head("t1")
    assert head is not None
    assert (head.status, head.steps) == ("COMPLETED", 3 * RUNS)
