"""The agents whose steps are measured: a graph of 20 nodes, and `create_agent` with a scripted model and N tool loops.

They know nothing of instrumentation: the same code runs bare and under each of the peers. Their content is kept small
(one number of state, answers of about 150 characters), which favours whoever writes all of it again at every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypedDict

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

NODES: Final = 20
QUESTION: Final = "Which of these papers measure the cost of tracing, and what do they find? Look up one after another."
FINDING: Final = (
    "Found 3 of 10: the second one gives medians of 40 runs on two cores, without saying how warm the caches were; "
    "the others give means only."
)
THOUGHT: Final = "The last finding leaves the question of the variance open, so the next paper on the list comes first."

Invoke = Callable[[int], list[int]]
"""Run one invocation, the argument its number. Returns process CPU time in ns at each model call, if there are any."""


class Counter(TypedDict):
    """The state of the graph."""

    n: int


def graph() -> Invoke:
    """Return a chain of 20 nodes that each add one: 21 steps an invocation."""
    builder = StateGraph(Counter)
    names = [f"node_{i:02d}" for i in range(NODES)]
    for name in names:
        builder.add_node(name, lambda state: {"n": state["n"] + 1})
    for before, after in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(before, after)
    compiled = builder.compile(name="twenty")

    def invoke(number: int) -> list[int]:
        result = compiled.invoke({"n": 0}, {"configurable": {"thread_id": f"graph-{number}"}, "recursion_limit": 100})
        if result["n"] != NODES:
            raise AssertionError(result)
        return []

    return invoke


class ScriptedModel(BaseChatModel):
    """A chat model that asks for the tool in each of `loops` turns, then answers."""

    loops: int
    marks: list[int] = []  # noqa: RUF012  # pydantic copies it for each model
    model_name: str = "scripted-1"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "scripted", "ls_model_name": self.model_name, "ls_model_type": "chat"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Return itself: the script knows the tool."""
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.marks.append(time.process_time_ns())
        turn = sum(1 for message in messages if message.type == "ai")
        calls = [{"name": "search", "args": {"query": f"paper {turn}"}, "id": f"call-{turn}", "type": "tool_call"}]
        message = AIMessage(
            content=THOUGHT,
            tool_calls=calls if turn < self.loops else [],
            usage_metadata={"input_tokens": 40 * (turn + 1), "output_tokens": 30, "total_tokens": 40 * turn + 70},
            response_metadata={"model_name": self.model_name, "finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output={"model_name": self.model_name})


@tool
def search(query: str) -> str:
    """Search the papers."""
    return FINDING


def agent(loops: int) -> Invoke:
    """Return a `create_agent` agent that calls its tool `loops` times: 4 * loops + 3 steps an invocation."""
    model = ScriptedModel(loops=loops)
    compiled = create_agent(model, [search], name="researcher")

    def invoke(number: int) -> list[int]:
        model.marks.clear()
        config = {"configurable": {"thread_id": f"agent-{loops}-{number}"}, "recursion_limit": 10 * loops + 25}
        result = compiled.invoke({"messages": [{"role": "user", "content": QUESTION}]}, config)
        if len(result["messages"]) != 2 * loops + 2:
            raise AssertionError(len(result["messages"]))
        return list(model.marks)

    return invoke


class Workload(TypedDict):
    """How to make it, how many steps an invocation has, and how many invocations a measurement takes."""

    make: Callable[[], Invoke]
    steps: int
    invocations: int
    warmup: int


WORKLOADS: Final[dict[str, Workload]] = {
    # one full collection of garbage (55 ms) moves 400 invocations of the graph by 9 us a step: 1,000
    "graph": {"make": graph, "steps": NODES + 1, "invocations": 1000, "warmup": 40},
    "agent10": {"make": lambda: agent(10), "steps": 43, "invocations": 150, "warmup": 10},
    "agent100": {"make": lambda: agent(100), "steps": 403, "invocations": 16, "warmup": 2},
}
