"""Each model request rebuilt from the journal is the request that the model saw: messages, tools and parameters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry import baggage
from opentelemetry import context as context_api
from pydantic import BaseModel, PrivateAttr

from otel_agent_journal.codec import encode_line
from otel_agent_journal.spool.keeping import KeptFiles
from otel_agent_journal.testing.scripted import reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording, recording_at
from tests.frameworks.requests_told import prompts_of

ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


class Witness(BaseChatModel):
    """A chat model that keeps what it was called with."""

    answer: Callable[[Sequence[BaseMessage]], AIMessage | str]
    temperature: float = 0.3
    _seen: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "witness"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "witness-1", "temperature": self.temperature, "api_key": "sk-secret"}

    @property
    def seen(self) -> list[dict[str, Any]]:
        """What each call was given, in the shape of the contract."""
        return self._seen

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Offer tools, as a provider's model does."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        tools = [tool["function"] for tool in kwargs.pop("tools", ())]
        self._seen.append({"messages": [as_told(one) for one in messages], "tools": tools, "params": kwargs})
        said = self.answer(messages)
        message = AIMessage(said) if isinstance(said, str) else said.model_copy(deep=True)
        return ChatResult(generations=[ChatGeneration(message=message)])


def as_told(message: BaseMessage) -> dict[str, Any]:
    """Return a message as the contract has it."""
    told: dict[str, Any] = {"role": ROLES[message.type], "content": json.loads(json.dumps(message.content))}
    if message.name:
        told["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        told["tool_calls"] = [
            {"id": one["id"], "name": one["name"], "arguments": one["args"]} for one in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        told["tool_call_id"] = message.tool_call_id
    return told


def check(recording: Recording, model: Witness, session: str = "t1", *, of_process: slice = slice(None)) -> None:
    """Every request is told whole and is what the model saw."""
    recording.drain()
    told = prompts_of(recording.store, session)[of_process]
    assert [one.get("why") for one in told] == [None] * len(model.seen)
    for one, seen in zip(told, model.seen, strict=True):
        assert one["messages"] == seen["messages"]
        assert one["tools"] == seen["tools"]
        assert one["complete"] is True
        assert one["model"] == "witness-1"
        given = {name: value for name, value in seen["params"].items() if value is not None}
        assert one["params"] == {"temperature": model.temperature, "_type": "witness", **given}
    assert "sk-secret" not in "".join(encode_line(event).decode() for event in recording.sessions[session])


def chat(node: Callable[[MessagesState], Any], checkpointer: Any = None) -> Any:
    """A graph of one node on messages."""
    builder = StateGraph(MessagesState)
    builder.add_node("chat", node)
    builder.add_edge(START, "chat")
    return builder.compile(name="chat", checkpointer=checkpointer)


def looking_up(messages: Sequence[BaseMessage]) -> AIMessage | str:
    """Ask for a tool three times, twice at once in the second round, then answer."""
    asked = sum(message.type == "ai" for message in messages)
    if asked < 3:
        queries = ["x", "y"] if asked == 1 else ["x"]
        return reply(
            "",
            calls=[("search", {"query": query}) for query in queries],
            call_ids=[f"c{asked}{query}" for query in queries],
        )
    return "done"


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_loops_of_an_agent(recording: Recording, way: str) -> None:
    """Over a loop with tools, a system prompt and two turns of a thread, sync, async and streamed."""
    from langchain.agents import create_agent

    model = Witness(answer=looking_up)
    agent = create_agent(model, [graphs.search], name="clerk", system_prompt="Be brief.", checkpointer=InMemorySaver())
    for _ in range(2):
        if way == "invoke":
            agent.invoke(graphs.question(), graphs.on_thread())
        elif way == "stream":
            list(agent.stream(graphs.question(), graphs.on_thread()))
        elif way == "ainvoke":
            asyncio.run(agent.ainvoke(graphs.question(), graphs.on_thread()))
        else:

            async def read() -> None:
                async for _ in agent.astream(graphs.question(), graphs.on_thread()):
                    pass

            asyncio.run(read())
    assert len(model.seen) == 5
    check(recording, model)


def test_a_window_of_the_history(recording: Recording) -> None:
    """Where the model is shown a window, its beginning and end, or the history in another order."""
    windows: list[Callable[[list[Any]], list[Any]]] = [
        lambda said: said[-3:],
        lambda said: [said[0], said[-1]],
        lambda said: list(reversed(said)),
        lambda said: [said[-1], *said, said[-1]],
        lambda said: said,
        lambda said: said[:1],
    ]
    model = Witness(answer=lambda messages: f"answer to {messages[-1].content}")
    turns = iter(windows * 2)
    agent = chat(
        lambda state: {"messages": [model.invoke([SystemMessage("be brief"), *next(turns)(state["messages"])])]},
        InMemorySaver(),
    )
    for turn in range(12):
        agent.invoke({"messages": [HumanMessage(f"question {turn}")]}, graphs.on_thread())
    check(recording, model)


def test_a_summary_in_place_of_the_history(recording: Recording) -> None:
    """Where messages are removed from the state and a summary takes their place, under another id or the same."""
    model = Witness(answer=lambda messages: f"answer {len(messages)}")

    def talk(state: MessagesState) -> Any:
        said = state["messages"]
        answer = model.invoke(said)
        if len(said) < 4:
            return {"messages": [answer]}
        gone = [RemoveMessage(id=one.id) for one in said[1:] if one.id]
        return {"messages": [*gone, HumanMessage(f"summary of {len(said)}", id=said[0].id), answer]}

    agent = chat(talk, InMemorySaver())
    for turn in range(8):
        agent.invoke({"messages": [HumanMessage(f"question {turn}")]}, graphs.on_thread())
    check(recording, model)


def test_a_system_prompt_that_changes(recording: Recording) -> None:
    """Where the system prompt is another one at each call, and comes back."""
    model = Witness(answer=lambda messages: f"answer {len(messages)}")
    prompts = iter(["be brief", "be long", "be brief", "be kind", "be brief"])
    agent = chat(
        lambda state: {"messages": [model.invoke([SystemMessage(next(prompts)), *state["messages"]])]}, InMemorySaver()
    )
    for turn in range(5):
        agent.invoke({"messages": [HumanMessage(f"question {turn}")]}, graphs.on_thread())
    check(recording, model)


def test_content_of_several_blocks(recording: Recording) -> None:
    """Where content is blocks: texts, a picture by its data URL, what a tool shows."""
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    block = {"type": "text", "text": "What is this?"}
    thought = AIMessage([{"type": "thinking", "thought": "hm", "signature": "s"}, {"type": "text", "text": "A cat."}])
    shown = [
        HumanMessage([block]),
        HumanMessage([block, url]),
        thought,
        AIMessage("", tool_calls=[{"id": "c1", "name": "look", "args": {}}]),
        ToolMessage([block, url], tool_call_id="c1"),
    ]
    model = Witness(answer=lambda _: thought)
    chat(lambda _: {"messages": [model.invoke(shown), model.invoke([*shown, HumanMessage("and?")])]}).invoke(
        {"messages": []}, graphs.on_thread()
    )
    check(recording, model)


def test_messages_changed_in_place(recording: Recording) -> None:
    """Where a message that was shown says something else now, though it is the same object."""
    model = Witness(answer=lambda _: "yes")
    said: list[BaseMessage] = [SystemMessage("one"), *(HumanMessage(str(number)) for number in range(5))]

    def talk(_: Any) -> Any:
        model.invoke(said)
        said[0].content = "two"
        model.invoke(said)
        said[-1].content = "last"
        model.invoke([*said, HumanMessage("more")])
        return {}

    chat(talk).invoke({"messages": []}, graphs.on_thread())
    check(recording, model)


def test_names_and_ids(recording: Recording) -> None:
    """Where messages differ in their names alone, or in their ids alone."""
    model = Witness(answer=lambda _: AIMessage("yes", name="first"))
    lists = [
        [HumanMessage("hi", name="ann")],
        [HumanMessage("hi", name="bob"), HumanMessage("hi", id="1"), HumanMessage("hi", id="2")],
        [AIMessage("yes", name="second"), AIMessage("yes")],
    ]
    chat(lambda _: {"messages": [model.invoke(one) for one in lists][:0]}).invoke({"messages": []}, graphs.on_thread())
    check(recording, model)


def test_agents_side_by_side(recording: Recording) -> None:
    """Where two agents of one session talk to their models in turns, and begin alike."""
    model = Witness(answer=looking_up)
    agents = [graphs.create_agent(model, [graphs.search], name=name, system_prompt="Be brief.") for name in ("a", "b")]

    async def both() -> None:
        await asyncio.gather(*(agent.ainvoke(graphs.question(), graphs.on_thread()) for agent in agents))

    asyncio.run(both())
    recording.drain()
    told = [one["messages"] for one in prompts_of(recording.store, "t1")]
    assert sorted(map(str, told)) == sorted(str(one["messages"]) for one in model.seen)


def test_models_outside_of_any_graph(recording: Recording) -> None:
    """Where models are called by themselves: each is a session of its own, whose journal has all of it."""
    model = Witness(answer=lambda _: "yes")
    for _ in range(2):
        model.invoke([HumanMessage("hi")])
    recording.drain()
    for session in recording.sessions:
        (told,) = prompts_of(recording.store, session)
        assert told["messages"] == [{"role": "user", "content": "hi"}]
        assert told["complete"]


def test_models_of_threads_beside_baggage(tmp_path: Path) -> None:
    """A call outside of any graph is of its thread's session, whatever baggage says, and told in that one whole."""
    with recording_at(tmp_path, trusts_baggage=True) as recording:
        token = context_api.attach(baggage.set_baggage("session.id", "from-baggage"))
        for thread in ("t1", "t2"):
            Witness(answer=lambda _: "yes").invoke("is it?", {"metadata": {"thread_id": thread}})
        context_api.detach(token)
        assert set(recording.sessions) == {"t1", "t2"}
        for events in recording.sessions.values():
            (start,) = (event for event in events if event.type == "MODEL_START")
            assert [message["content"] for message in start.details["messages"]] == ["is it?"]


def test_parameters_of_a_call(recording: Recording) -> None:
    """Where calls differ in what they are bound to: a choice of tools, a format, words to stop at."""

    class Place(BaseModel):
        """A place."""

        city: str

    model = Witness(answer=lambda _: "yes")
    chat(
        lambda _: {
            "messages": [
                model.bind_tools([graphs.search], tool_choice="any").invoke("a"),
                model.bind(response_format={"type": "json_object"}, seed=7).invoke("a"),
                model.bind_tools([Place]).invoke("a"),
                model.invoke("a"),
            ][:0]
        }
    ).invoke({"messages": []}, graphs.on_thread())
    check(recording, model)


class Process:
    """Turns of a thread, each in a process of its own: all that they share is the spool, the store and a file."""

    def __init__(self, root: Path, answer: Callable[[Sequence[BaseMessage]], AIMessage | str], **options: Any) -> None:
        self.root, self.answer, self.options = root, answer, options
        self.store: Any = None
        self.before = ""
        self.turns = 0

    def turn(self, question: str, *, show: Callable[[list[Any]], list[Any]] = list) -> tuple[Recording, Witness]:
        """Take a turn and return what was recorded so far, and its model."""
        self.turns += 1
        keeping = KeptFiles(self.root)
        with recording_at(self.root, writer=f"{self.turns:032x}", keeping=keeping, **self.options) as recording:
            recording.store = self.store = self.store or recording.store
            model = Witness(answer=self.answer)
            agent = chat(
                lambda state: {"messages": [model.invoke(show([SystemMessage("be brief"), *state["messages"]]))]}
            )
            before = messages_from_dict(json.loads(self.before)) if self.before else []
            out = agent.invoke({"messages": [*before, HumanMessage(question)]}, graphs.on_thread())
            self.before = json.dumps(messages_to_dict(out["messages"]))
            recording.drain()
        return recording, model


def test_over_processes(tmp_path: Path) -> None:
    """Where each turn is a new process that is handed the whole thread: no message is journaled twice."""
    thread = Process(tmp_path, lambda messages: f"answer {len(messages)}")
    for turn in range(6):
        recording, model = thread.turn(f"question {turn}")
        check(recording, model, of_process=slice(turn, None))
    starts = [event.details for event in thread.store.read("t1") if event.type == "MODEL_START"]
    assert [len(one["messages"]) for one in starts] == [2, 1, 1, 1, 1, 1]
    sizes = [len(encode_line(event)) for event in thread.store.read("t1")]
    per_turn = len(sizes) // 6
    assert sum(sizes[-per_turn:]) < sum(sizes[per_turn : 2 * per_turn]) + 100


def test_windows_over_processes(tmp_path: Path) -> None:
    """Where each of them is shown a window of the thread."""
    thread = Process(tmp_path, lambda messages: f"answer {messages[-1].content}")
    for turn in range(8):
        recording, model = thread.turn(f"question {turn}", show=lambda said: [said[0], *said[1:][-3:]])
        check(recording, model, of_process=slice(turn, None))


def test_what_was_not_delivered_is_told_again(tmp_path: Path) -> None:
    """Where the file beside the spool is gone, as on another machine, the history is journaled once more."""
    thread = Process(tmp_path, lambda messages: f"answer {len(messages)}")
    thread.turn("one")
    KeptFiles(tmp_path).forget("t1")
    recording, model = thread.turn("two")
    check(recording, model, of_process=slice(1, None))
    assert len(list(thread.store.read("t1"))[-6:]) == 6


def test_a_journal_that_has_lost_a_message(recording: Recording) -> None:
    """What is not in the journal is said, and how much."""
    model = Witness(answer=lambda messages: f"answer {len(messages)}")
    agent = chat(lambda state: {"messages": [model.invoke(state["messages"])]}, InMemorySaver())
    for turn in range(3):
        agent.invoke({"messages": [HumanMessage(f"question {turn}")]}, graphs.on_thread())
    recording.drain()
    events = list(recording.store.read("t1"))
    starts = [event for event in events if event.type == "MODEL_START"]
    ends = [event for event in events if event.type == "MODEL_END"]
    told = prompts_of(recording.store, "t1", [event for event in events if event is not ends[0]])[-1]
    assert (told["complete"], told["why"]) == (False, "1 of its 5 messages is not in the journal")
    told = prompts_of(recording.store, "t1", [event for event in events if event is not starts[0]])[-1]
    assert told["complete"] is False


def test_content_off(tmp_path: Path) -> None:
    """Without content a request is told by digests that say nothing to who guesses, and the same over processes."""
    digests = []
    for number in (1, 2):
        keeping = KeptFiles(tmp_path / "spool")
        with recording_at(tmp_path / "spool", writer=f"{number:032x}", content=False, keeping=keeping) as recording:
            model = Witness(answer=lambda _: "the secret answer")
            graphs.create_agent(model, [graphs.search], name="clerk").invoke(
                graphs.question("the secret question"), graphs.on_thread()
            )
            (start,) = (event for event in recording.events if event.type == "MODEL_START")
            (told,) = prompts_of(recording.store, "t1")
            assert (told["complete"], told["messages"], told["tools"]) == (False, [], [])
            assert "search" not in str(start.details)
            digests.append(start.details["request"])
    assert digests[0] == digests[1]
    assert set(digests[0]["messages"]) == {"digest", "count"}
    with recording_at(tmp_path / "other", content=False, keeping=KeptFiles(tmp_path / "other")) as recording:
        Witness(answer=lambda _: "yes").invoke("the secret question", graphs.on_thread())
        ((other,),) = [
            [event for event in events if event.type == "MODEL_START"] for events in recording.sessions.values()
        ]
    assert other.details["request"]["messages"]["digest"] != digests[0]["messages"]["digest"]


def test_redacted(tmp_path: Path) -> None:
    """What was redacted is told as it was redacted."""

    def redact(_: str, value: Any) -> Any:
        return json.loads(json.dumps(value).replace("secret", "***"))

    with recording_at(tmp_path, redactor=redact) as recording:
        model = Witness(answer=lambda _: "a secret")
        agent = chat(lambda state: {"messages": [model.invoke(state["messages"])]}, InMemorySaver())
        for _ in range(2):
            agent.invoke({"messages": [HumanMessage("the secret", name="secret")]}, graphs.on_thread())
        told = prompts_of(recording.store, "t1", recording.events)[-1]
    assert [one["content"] for one in told["messages"]] == ["the ***", "a ***", "the ***"]
    assert told["complete"]
    assert "secret" not in str(recording.events)
