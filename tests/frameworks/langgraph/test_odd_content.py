"""Whatever content a graph has: it is journaled as well as it can be, no event is lost, the agent does not notice."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import decimal
import enum
import gc
import uuid
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel

from otel_agent_journal.event import Usage
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.testing.scripted import ScriptedModel
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording


class Color(enum.Enum):
    """An enum."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    inner: Any = None


class Model(BaseModel):
    """A pydantic model."""

    path: Path
    color: Color = Color.RED


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


ODD: dict[str, Any] = {
    "half of a pair": "\ud83d",
    "binary": b"\x00\xff",
    "large numbers": [2**70, -(2**70), 2**64 - 1, -(2**63)],
    "no numbers": [float("nan"), float("inf")],
    "keys": {1: "a", (1, 2): "b", None: "c", False: "d", 2.5: "e", b"f": "g", Color.RED: "h"},
    "half of a pair as a key": {"\ud83d": 1},
    "times": [dt.datetime.now(dt.UTC), dt.datetime(2026, 1, 1), dt.date(2026, 1, 1)],  # noqa: DTZ001
    "durations": dt.timedelta(seconds=3),
    "numbers of other kinds": [decimal.Decimal("1.5"), 1 + 2j, uuid.UUID(int=1)],
    "objects": [Point(1, Point(2)), Model(path=Path("/tmp")), Color.RED, object(), int, len, lambda: 0],
    "sets": [{1, 2}, frozenset((3,))],
    "deep": deep(5_000),
    "generator": (number for number in range(3)),
    "exception": ValueError("x"),
    "struct": Usage(input_tokens=1),
    "long": "x" * 1_000_000,
    "empty": [None, "", [], {}],
}


@pytest.mark.parametrize("kind", ODD)
def test_what_a_node_returns(recording: Recording, kind: str) -> None:
    """Any value in a state is journaled without a loss of its event."""
    value = ODD[kind]
    result = graphs.nested(lambda state: {"notes": [value]}).invoke({"notes": []}, graphs.on_thread())
    assert result["notes"][0] is value
    assert [step.status for step in recording.steps.walk()] == ["ok", "ok"]
    assert recording.attempt("sub").details_end["output"]


@pytest.mark.parametrize("kind", ODD)
def test_what_a_graph_is_given(recording: Recording, kind: str) -> None:
    """Any input, and any metadata, is journaled without a loss of its event."""
    graphs.nested(lambda state: {"notes": []}).invoke(
        {"notes": [ODD[kind]]}, graphs.on_thread(metadata={"mine": ODD[kind]})
    )
    assert [step.status for step in recording.steps.walk()] == ["ok", "ok"]


@pytest.mark.parametrize("thread", ["a/b", "..", "é" * 300, "x\ny", " ", "0"])
def test_any_thread(recording: Recording, thread: str) -> None:
    """Any thread id is a session."""
    graphs.two_nodes().invoke({"notes": []}, graphs.on_thread(thread))
    (events,) = recording.sessions.values()
    assert len(events) == 6


def test_a_text_model(recording: Recording) -> None:
    """A model that completes text instead of messages is a model step with its prompt and its answer."""
    graphs.nested(lambda state: {"notes": [FakeListLLM(responses=["done"]).invoke("begin")]}).invoke(
        {"notes": []}, graphs.on_thread()
    )
    step = next(step for step in recording.steps.steps if step.kind == "MODEL")
    assert step.last.details_start["input"] == ["begin"]
    assert step.last.details_end["output"] == "done"


def test_usage_of_older_models(recording: Recording) -> None:
    """Tokens that a model reports beside its message count too."""

    class Older(ScriptedModel):
        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            return ChatResult(
                generations=[ChatGeneration(message=AIMessage("x"))],
                llm_output={"token_usage": {"prompt_tokens": 5, "completion_tokens": 2}},
            )

    graphs.chat_node(Older(script=[])).invoke(graphs.question(), graphs.on_thread())
    assert recording.attempt("scripted-1").usage == Usage(input_tokens=5, output_tokens=2)


async def test_what_goes_on_after_its_node(recording: Recording) -> None:
    """A model call in a task that outlives its node is journaled in the same session."""
    model = ScriptedModel(script=["late"], delay_s=0.05)
    tasks: list[asyncio.Task[Any]] = []

    async def begin(state: graphs.Notes) -> graphs.Notes:
        tasks.append(asyncio.create_task(model.ainvoke("hi")))
        return {"notes": ["begun"]}

    await graphs.nested(begin).ainvoke({"notes": []}, graphs.on_thread())
    await asyncio.gather(*tasks)
    assert set(recording.sessions) == {"t1"}
    assert recording.attempt("scripted-1").outcome == "ok"


def test_nothing_is_kept_of_what_has_ended(recording: Recording) -> None:
    """After a hundred runs, also failed, interrupted and broken-off ones, no step is kept in memory."""
    before = [one for one in gc.get_objects() if isinstance(one, Step)]  # in the tracebacks of other tests, say
    for number in range(25):
        graphs.two_nodes().invoke({"notes": []}, graphs.on_thread(f"t{number}"))
        graphs.agent(graphs.SEARCH_THEN_ANSWER).invoke(graphs.question(), graphs.on_thread(f"t{number}"))
        with pytest.raises(ConnectionError):
            graphs.flaky(9).invoke({"notes": []}, graphs.on_thread(f"t{number}"))
        stream = graphs.two_nodes().stream({"notes": []}, graphs.on_thread(f"t{number}"))
        next(stream)
        stream.close()
    del stream
    gc.collect()
    assert [one for one in gc.get_objects() if isinstance(one, Step) and one not in before] == []
