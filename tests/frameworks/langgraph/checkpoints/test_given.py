"""Graphs without a checkpointer are given one, whichever way they are called; those that have one keep it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from otel_agent_journal import JournalSaver
from otel_agent_journal.frameworks.langgraph.instrumentor import LangGraphInstrumentor
from otel_agent_journal.pipeline import checkpointing
from otel_agent_journal.store.memory import MemoryStore
from tests.frameworks.langgraph.graphs import two_nodes


@pytest.fixture
def given() -> Iterator[JournalSaver]:
    """The saver that graphs are given, in session `s`."""
    saver = JournalSaver(MemoryStore())
    checkpointing.provide_checkpointer(lambda: saver, "s")
    LangGraphInstrumentor().instrument()
    yield saver
    LangGraphInstrumentor().uninstrument()
    checkpointing._current.clear()


def threads(saver: JournalSaver) -> set[str]:
    return {one.config["configurable"]["thread_id"] for one in saver.list(None)}


def test_however_it_is_called(given: JournalSaver, capfd: pytest.CaptureFixture[str]) -> None:
    """By position or by name, each run without a thread has one of its own; it is said once."""
    graph: Any = two_nodes()
    results = [
        graph.invoke({}),
        graph.invoke(input={}, config={"tags": ["x"]}),
        list(graph.stream({}, None, stream_mode="values"))[-1],
        graph.invoke({}, {"configurable": {"thread_id": "own"}}),
    ]
    assert all(result == results[0] for result in results)
    assert "own" in threads(given)
    assert len(threads(given)) == 4
    assert capfd.readouterr().err.count("keeps its checkpoints in the journal") == 1


def test_one_that_has_a_checkpointer_keeps_it(given: JournalSaver) -> None:
    """Nothing of it is in the journal."""
    own = InMemorySaver()
    graph: Any = two_nodes(checkpointer=own)
    graph.invoke({}, {"configurable": {"thread_id": "t"}})
    assert threads(given) == set()
    assert list(own.storage) == ["t"]
