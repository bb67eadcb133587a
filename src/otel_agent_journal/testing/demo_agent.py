"""The agent of `agent-journal demo`: a LangGraph research agent that needs no key, since its model is scripted.

An ordinary program that knows nothing of the journal: a planning model, three researchers at once (each a subgraph
with a model that streams and calls a search tool; one source is down at first, and the node is retried), and a
writer. `python -m otel_agent_journal.testing.demo_agent` runs it without us.
"""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, TypedDict

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy, Send

PACE_S: Final = float(os.environ.get("AGENT_JOURNAL_DEMO_PACE", "0.06"))  # seconds a streamed word takes
QUESTION: Final = "What does a crashed agent leave behind?"
TOPICS: Final = ("spans", "checkpoints", "journals")

_FINDINGS: Final = {
    "spans": "A span is exported when it ends, so what ran at the crash was never seen.",
    "checkpoints": "A checkpoint knows the state, but neither time nor cost nor tools.",
    "journals": "An event written as a step begins is still there after kill -9.",
}
_down: set[str] = {"checkpoints"}  # sources that fail once


class ScriptedResearcher(BaseChatModel):
    """Answers by what it is asked: plans, calls the search tool, sums up. Streams word by word, and counts tokens."""

    model: str = "scripted-1"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "scripted", "ls_model_name": self.model, "ls_model_type": "chat", "ls_temperature": 0.0}

    def _answer(self, messages: Sequence[BaseMessage]) -> AIMessage:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            return AIMessage(f"In short: {last.content}")
        text = str(last.content)
        for topic in TOPICS:
            if text == f"Research {topic}.":
                call = {"name": "search", "args": {"topic": topic}, "id": f"call-{topic}"}
                return AIMessage("", tool_calls=[call])
        if text.startswith("Write up"):
            return AIMessage("Spans show what ended, checkpoints show state; only a journal shows where it died.")
        return AIMessage(f"I will look into {', '.join(TOPICS)}.")

    def _usage(self, messages: Sequence[BaseMessage], answer: AIMessage) -> dict[str, Any]:
        asked = sum(len(str(message.content)) // 4 + 4 for message in messages)
        said = len(str(answer.content)) // 4 + 12 * len(answer.tool_calls) + 1
        return {
            "input_tokens": asked,
            "output_tokens": said,
            "total_tokens": asked + said,
            "input_token_details": {"cache_read": asked // 2},
            "output_token_details": {"reasoning": said // 3},
        }

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._answer(messages)
        time.sleep(PACE_S * 4)
        answer.usage_metadata = self._usage(messages, answer)  # type: ignore[assignment]
        answer.response_metadata = {"model_name": self.model, "finish_reason": "stop"}
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages)
        for word in str(answer.content).split(" "):
            time.sleep(PACE_S)
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        last = AIMessageChunk(
            content="",
            usage_metadata=self._usage(messages, answer),  # type: ignore[arg-type]
            response_metadata={"model_name": self.model, "finish_reason": "stop"},
        )
        yield ChatGenerationChunk(message=last)


@tool
def search(topic: str) -> str:
    """Look a topic up."""
    time.sleep(PACE_S * 5)
    if topic in _down:
        _down.discard(topic)
        raise ConnectionError(f"the {topic} archive did not answer")
    return _FINDINGS[topic]


class Research(TypedDict):
    """What the agent knows."""

    question: str
    findings: Annotated[list[str], operator.add]
    answer: str


class Topic(TypedDict):
    """What one researcher knows."""

    topic: str
    call: AIMessage
    found: str
    findings: Annotated[list[str], operator.add]


def researcher(model: BaseChatModel) -> Any:
    """Return the subgraph that looks one topic up: ask, search, sum up."""

    def ask(state: Topic) -> dict[str, Any]:
        return {"call": model.invoke([HumanMessage(f"Research {state['topic']}.")])}

    def look_up(state: Topic) -> dict[str, Any]:
        return {"found": search.invoke(state["call"].tool_calls[0]).content}

    def sum_up(state: Topic) -> dict[str, Any]:
        messages = [state["call"], ToolMessage(state["found"], tool_call_id=state["call"].tool_calls[0]["id"])]
        text = "".join(str(chunk.content) for chunk in model.stream(messages))
        return {"findings": [text.strip()]}

    graph = StateGraph(Topic)
    graph.add_node("ask", ask)
    graph.add_node("look_up", look_up, retry_policy=RetryPolicy(initial_interval=PACE_S * 2, jitter=False))
    graph.add_node("sum_up", sum_up)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "look_up")
    graph.add_edge("look_up", "sum_up")
    return graph.compile(name="researcher")


def agent() -> Any:
    """Return the research agent: plan, research three topics at once, write up."""
    model = ScriptedResearcher()

    def plan(state: Research) -> dict[str, Any]:
        model.invoke([HumanMessage(state["question"])])
        return {}

    def send_out(_: Research) -> list[Send]:
        return [Send("research", {"topic": topic, "findings": []}) for topic in TOPICS]

    def write_up(state: Research) -> dict[str, Any]:
        asked = HumanMessage("Write up:\n" + "\n".join(state["findings"]))
        return {"answer": "".join(str(chunk.content) for chunk in model.stream([asked])).strip()}

    graph = StateGraph(Research)
    graph.add_node("plan", plan)
    graph.add_node("research", researcher(model))
    graph.add_node("write_up", write_up)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", send_out, ["research"])
    graph.add_edge("research", "write_up")
    return graph.compile(name="research_agent")


def main() -> None:
    """Ask the question and print the answer."""
    result = agent().invoke({"question": QUESTION, "findings": [], "answer": ""})
    print(result["answer"])  # noqa: T201 - the program's own output


if __name__ == "__main__":
    main()
