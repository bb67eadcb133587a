"""LangGraph's own client against `serve`: the package of langgraph-sdk, over HTTP, with runs in real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from tests.server.clients.conftest import LONG_S, TOKEN, Serve, Serving
from tests.sessions.graphs import BULK

pytestmark = [pytest.mark.timeout(3 * LONG_S), pytest.mark.asyncio]
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Is it free?"}]}
MODES: Any = ["values", "updates", "messages-tuple", "custom"]


@pytest.fixture
async def client(served: Serving) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=served.url, api_key=TOKEN, timeout=LONG_S) as one:
        yield one


async def parts_of(stream: Any) -> list[Any]:
    return [part async for part in stream]


@contextmanager
def refused(status: int) -> Generator[pytest.ExceptionInfo[httpx.HTTPStatusError]]:
    """What is refused with this status, whatever the client makes of the words."""
    with pytest.raises(httpx.HTTPStatusError) as told:
        yield told
    assert told.value.response.status_code == status


async def test_a_conversation_from_its_first_word_to_its_answer(client: LangGraphClient) -> None:
    """A thread is made, a run streamed in four modes, it asks, is answered, and its state and history are read."""
    thread = await client.threads.create(metadata={"who": "ann"})
    name = thread["thread_id"]
    assert (thread["status"], thread["metadata"]) == ("idle", {"who": "ann"})
    made: list[Any] = []
    stream = client.runs.stream(name, "booking", input=HELLO, stream_mode=MODES, on_run_created=made.append)
    parts = await parts_of(stream)
    events = [part.event for part in parts]
    assert events[0] == "metadata"
    assert events[-1] == "end"
    assert made == [{"run_id": parts[0].data["run_id"], "thread_id": name}]
    words = [part.data[0]["content"] for part in parts if part.event == "messages"]
    assert "".join(words) == "The seat is free."
    assert [part.data for part in parts if part.event == "custom"] == [{"thinking": 1}]
    updates = [part.data for part in parts if part.event == "updates"]
    assert [list(one) for one in updates] == [["answer"], ["__interrupt__"]]
    values = [part.data for part in parts if part.event == "values"]
    assert [len(one["messages"]) for one in values] == [1, 2, 2]
    assert values[-1]["__interrupt__"][0]["value"] == "Book it?"

    state = await client.threads.get_state(name)
    assert state["values"] == {key: value for key, value in values[-1].items() if key != "__interrupt__"}
    assert (list(state["next"]), state["interrupts"][0]["value"]) == (["ask"], "Book it?")
    asking = await client.threads.get(name)
    assert (asking["status"], asking["metadata"]["graph_id"]) == ("interrupted", "booking")
    assert asking["values"] == state["values"]
    (run,) = await client.runs.list(name)
    assert (run["status"], run["assistant_id"]) == ("interrupted", "booking")

    done: Any = await client.runs.wait(name, "booking", command={"resume": "yes"})
    assert done["agreed"] == "yes"
    assert (await client.threads.get(name))["status"] == "idle"
    history = await client.threads.get_history(name)
    assert [one["metadata"]["step"] for one in history] == [2, 1, 0, -1]
    assert [list(one["next"]) for one in history] == [[], ["ask"], ["answer"], ["__start__"]]
    (older,) = await client.threads.get_history(name, limit=1, before=history[1]["checkpoint"])
    assert older["checkpoint"]["checkpoint_id"] == history[2]["checkpoint"]["checkpoint_id"]
    assert (await client.threads.get_state(name, history[2]["checkpoint"]))["values"] == history[2]["values"]
    assert [one["status"] for one in await client.runs.list(name)] == ["success", "interrupted"]

    found = await client.threads.search(metadata={"who": "ann"})
    assert [one["thread_id"] for one in found] == [name]
    assert await client.threads.search(metadata={"who": "bob"}) == []
    await client.threads.update(name, metadata={"topic": "seats"})
    assert (await client.threads.get(name))["metadata"]["topic"] == "seats"


async def test_a_stream_goes_on_behind_any_part(client: LangGraphClient) -> None:
    """Joined behind each id in turn, a stream gives the rest and nothing else: nothing is lost, nothing comes twice."""
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "chat", input=HELLO, stream_mode=MODES)
    assert run["status"] in ("pending", "running")
    whole = [
        part for part in await parts_of(client.runs.join_stream(thread, run["run_id"])) if part.event != "metadata"
    ]
    assert await client.runs.join(thread, run["run_id"]) == whole[-2].data
    for count, part in enumerate(whole[:-1], start=1):
        rest = await parts_of(client.runs.join_stream(thread, run["run_id"], last_event_id=part.id))
        assert [(one.event, one.data) for one in rest] == [(one.event, one.data) for one in whole[count:]]
    some = await parts_of(client.runs.join_stream(thread, run["run_id"], stream_mode=["custom"]))
    assert [one.event for one in some] == ["metadata", "custom", "end"]


async def test_whole_messages_and_events_are_streamed(client: LangGraphClient) -> None:
    """Mode `messages` gives a message as far as it has come; mode `events` what LangChain tells of everything."""
    thread = (await client.threads.create())["thread_id"]
    parts = await parts_of(client.runs.stream(thread, "chat", input=HELLO, stream_mode=["messages", "events"]))
    grown = [part.data[0]["content"] for part in parts if part.event == "messages/partial"]
    assert grown[0] == "The"
    assert grown[-1] == "The seat is free."
    assert [part.event for part in parts].count("messages/metadata") == 1
    kinds = {part.data["event"] for part in parts if part.event == "events"}
    assert {"on_chain_start", "on_chat_model_stream", "on_chain_end"} <= kinds


async def test_a_large_part_is_streamed_whole(client: LangGraphClient) -> None:
    """Parts and states of more than a megabyte come whole, and so does what a run has answered."""
    thread = (await client.threads.create())["thread_id"]
    parts = await parts_of(client.runs.stream(thread, "large", input=HELLO, stream_mode=MODES))
    assert parts[-1].event == "end"
    assert not [part.data for part in parts if part.event == "error"]
    assert [len(part.data["page"]) for part in parts if part.event == "custom" and "page" in part.data] == [BULK]
    values = [part.data for part in parts if part.event == "values"]
    assert [list(map(len, one["notes"])) for one in values if one.get("notes")] == [[BULK], [BULK, 8]]
    assert values[-1]["messages"][-1]["content"] == "The seat is free."
    (run,) = await client.runs.list(thread)
    assert await client.runs.join(thread, run["run_id"]) == values[-1]
    assert (await client.threads.get_state(thread))["values"] == values[-1]


async def test_what_was_run_without_a_checkpointer_is_a_thread(client: LangGraphClient, served: Serving) -> None:
    """Of a run of the session API it has status, runs and result; asked for a state, it says that it has none."""
    async with httpx.AsyncClient(base_url=served.url, headers={"x-api-key": TOKEN}, timeout=LONG_S) as http:
        for name, agent in (("bare", "chat"), ("bare question", "booking")):
            submitted = await http.post("/api/sessions", json={"agent": agent, "input": HELLO, "session_id": name})
            assert submitted.status_code == 202
            await client.runs.join(name, submitted.json()["run"])
    thread = await client.threads.get("bare")
    assert (thread["status"], thread["metadata"]["graph_id"]) == ("idle", "chat")
    values: Any = thread["values"]
    assert values["notes"] == ["answered"]
    (run,) = await client.runs.list("bare")
    assert (run["status"], await client.runs.join("bare", run["run_id"])) == ("success", values)
    told = await parts_of(client.runs.join_stream("bare", run["run_id"]))
    assert [(part.event, part.data) for part in told[1:]] == [("values", values), ("end", None)]
    with pytest.raises(NotFoundError, match="has no state"):
        await client.threads.get_state("bare")
    assert await client.threads.get_history("bare") == []
    assert (await client.threads.get("bare question"))["status"] == "interrupted"
    with refused(409):
        await client.runs.wait("bare question", "booking", command={"resume": "yes"})
    done: Any = await client.runs.wait("bare question", "chat", input=HELLO)
    assert (await client.threads.get_state("bare question"))["values"] == done


async def test_what_fails_says_so(client: LangGraphClient) -> None:
    """A graph that raises ends its stream with its error, its run as error, and waiting raises."""
    thread = (await client.threads.create())["thread_id"]
    parts = await parts_of(client.runs.stream(thread, "broken", input=HELLO))
    assert parts[-1].event == "error"
    assert parts[-1].data == {"error": "ValueError", "message": "the seat is broken"}
    assert (await client.threads.get(thread))["status"] == "error"
    with pytest.raises(Exception, match="ValueError: the seat is broken"):
        await client.runs.wait(thread, "broken", input=HELLO)


async def test_a_run_is_cancelled_and_the_next_is_kept_waiting_or_refused(client: LangGraphClient) -> None:
    """While one runs, `reject` is 409 and `enqueue` waits; cancelled, a run is interrupted and its thread idle."""
    thread = (await client.threads.create())["thread_id"]
    slow = await client.runs.create(thread, "sleeper", input=HELLO)
    with pytest.raises(ConflictError):
        await client.runs.create(thread, "chat", input=HELLO, multitask_strategy="reject")
    behind = await client.runs.create(thread, "chat", input=HELLO, multitask_strategy="enqueue")
    assert behind["status"] == "pending"
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.cancel(thread, slow["run_id"], wait=True)
    assert (await client.runs.get(thread, slow["run_id"]))["status"] == "interrupted"
    assert (await client.runs.join(thread, behind["run_id"]))["notes"] == ["answered"]
    assert (await client.threads.get(thread))["status"] == "idle"
    with pytest.raises(ConflictError):
        await client.runs.cancel(thread, slow["run_id"])


async def test_a_client_that_leaves_may_take_its_run_with_it(client: LangGraphClient) -> None:
    """With on_disconnect=cancel a run ends as its stream is closed."""
    thread = (await client.threads.create())["thread_id"]
    stream: Any = client.runs.stream(thread, "sleeper", input=HELLO, on_disconnect="cancel")
    await anext(stream)
    await stream.aclose()
    deadline = time.monotonic() + LONG_S
    while (run := (await client.runs.list(thread))[0])["status"] in ("pending", "running"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert run["status"] == "interrupted"


async def test_a_state_is_written_and_gone_on_from(client: LangGraphClient) -> None:
    """Values are written as a node would; a run goes on from an older checkpoint; a copy goes its own way."""
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "booking", input=HELLO)
    written = await client.threads.update_state(thread, {"agreed": "no"}, as_node="ask")
    state = await client.threads.get_state(thread)
    assert state["checkpoint"]["checkpoint_id"] == written["checkpoint"]["checkpoint_id"]
    assert (state["values"]["agreed"], list(state["next"])) == ("no", [])
    history = await client.threads.get_history(thread)
    asked = next(one for one in history if list(one["next"]) == ["ask"])
    copied: Any = await client.threads.copy(thread)
    again: Any = await client.runs.wait(
        thread, "booking", command={"resume": "yes"}, checkpoint_id=asked["checkpoint"]["checkpoint_id"]
    )
    assert again["agreed"] == "yes"
    assert (await client.threads.get_state(copied["thread_id"]))["values"]["agreed"] == "no"
    more: Any = await client.runs.wait(copied["thread_id"], "chat", input=HELLO)
    assert len(more["messages"]) == 4
    with pytest.raises(ConflictError, match="copied"):
        await client.threads.delete(thread)
    await client.threads.delete(copied["thread_id"])
    with pytest.raises(NotFoundError):
        await client.threads.get(copied["thread_id"])
    with pytest.raises(UnprocessableEntityError, match="nowhere"):
        await client.threads.update_state(thread, {"agreed": "no"}, as_node="nowhere")


async def test_ids_are_those_of_sessions(client: LangGraphClient, served: Serving) -> None:
    """A thread is named as one likes; what was run over the session API is a thread, and the other way round."""
    name = "team/42 ../ä"
    assert (await client.threads.create(thread_id=name, if_exists="do_nothing"))["thread_id"] == name
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=name)
    async with httpx.AsyncClient(base_url=served.url, headers={"x-api-key": TOKEN}, timeout=LONG_S) as http:
        submitted = await http.post("/api/sessions", json={"agent": "booking", "input": HELLO, "session_id": "by hand"})
        assert submitted.status_code == 202
        await client.runs.join("by hand", submitted.json()["run"])
        assert (await client.threads.get("by hand"))["status"] == "interrupted"
        await client.runs.wait("by client", "booking", input=HELLO, if_not_exists="create")
        done: Any = await client.runs.wait("by client", "booking", command={"resume": "of course"})
        assert done["agreed"] == "of course"
        told = (await http.get("/api/sessions/by%20client/result")).json()
        assert told["result"]["agreed"] == "of course"


async def test_assistants_are_the_agents(client: LangGraphClient) -> None:
    """They are listed, and say what their graph looks like and takes; one that is no graph says that."""
    names = [one["assistant_id"] for one in await client.assistants.search()]
    assert names == ["chat", "booking", "sleeper", "broken", "large", "echo", "talker"]
    assert (await client.assistants.get("chat"))["graph_id"] == "chat"
    graph = await client.assistants.get_graph("booking")
    assert [edge["target"] for edge in graph["edges"]] == ["answer", "ask", "__end__"]
    assert "messages" in ((await client.assistants.get_schemas("booking"))["input_schema"] or {})["properties"]
    with pytest.raises(UnprocessableEntityError, match="no graph"):
        await client.assistants.get_graph("echo")
    stateless: Any = await client.runs.wait(None, "echo", input={"it": 1})
    assert stateless == {"said": {"it": 1}}


async def test_what_is_not_done_is_refused_by_name(client: LangGraphClient, served: Serving) -> None:
    """501 names what is not done, 422 what does not fit, 404 what is not there; nothing is left out silently."""
    thread = (await client.threads.create())["thread_id"]
    for options in (
        {"after_seconds": 5},
        {"multitask_strategy": "rollback"},
        {"feedback_keys": ["a"]},
        {"stream_mode": "lifecycle"},
    ):
        with refused(501):
            await parts_of(client.runs.stream(thread, "chat", input=HELLO, **options))  # type: ignore[call-overload]
    with refused(501):
        await client.store.get_item(["a"], "b")
    with refused(501):
        await client.crons.search()
    with pytest.raises(NotFoundError):
        await client.runs.create("nobody", "chat", input=HELLO)
    with pytest.raises(NotFoundError):
        await client.runs.create(thread, "nobody", input=HELLO)
    async with httpx.AsyncClient(base_url=served.url, headers={"x-api-key": TOKEN}) as http:
        for body, status in ((b"{", 400), (b"[]", 422), (b'{"assistant_id": 1}', 422), (b"{}", 422), (b"\xff", 400)):
            answer = await http.post(
                f"/threads/{thread}/runs", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == status, answer.text
            assert answer.json()["detail"]
        inner = {"assistant_id": "chat", "config": {"configurable": {"__pregel_send": 1}}}
        assert (await http.post(f"/threads/{thread}/runs", json=inner)).status_code == 422
        assert (await http.get(f"/threads/{thread}/runs/nothing")).status_code == 404
        odd = await http.get(f"/threads/{thread}/runs/nothing/stream", headers={"last-event-id": "x"})
        assert odd.status_code == 400


async def test_a_graph_runs_here_for_another_graph(client: LangGraphClient) -> None:
    """RemoteGraph invokes, streams, asks and is answered, and reads and writes state, as a graph of this process."""
    remote = RemoteGraph("booking", client=client)
    config: Any = {"configurable": {"thread_id": "remote"}}
    modes = [mode async for mode, *_ in remote.astream(HELLO, config, stream_mode=["values", "custom", "messages"])]
    assert {"values", "custom", "messages"} <= set(modes)
    state = await remote.aget_state(config)
    assert (state.next, state.tasks[0].interrupts[0].value) == (("ask",), "Book it?")
    done: Any = await remote.ainvoke(Command(resume="gladly"), config)
    assert done["agreed"] == "gladly"
    assert len([one async for one in remote.aget_state_history(config)]) == 4
    await remote.aupdate_state(config, {"agreed": "later"}, as_node="ask")
    assert (await remote.aget_state(config)).values["agreed"] == "later"
    assert list((await remote.aget_graph()).nodes) == ["__start__", "answer", "ask", "__end__"]


async def test_a_server_that_only_reads_shows_threads_and_runs_nothing(served: Serving, serve: Serve) -> None:
    """Beside one that runs agents, one without --write reads the same threads, and refuses all else with 403."""
    async with get_client(url=served.url, api_key=TOKEN, timeout=LONG_S) as writer:
        await writer.runs.wait("read me", "chat", input=HELLO, if_not_exists="create")
    reading = serve(over=served, write=False)
    async with get_client(url=reading.url, api_key=TOKEN, timeout=LONG_S) as client:
        state = await client.threads.get_state("read me")
        assert len(state["values"]["messages"]) == 2
        (run,) = await client.runs.list("read me")
        parts = await parts_of(client.runs.join_stream("read me", run["run_id"]))
        assert parts[-2].data == state["values"]
        with refused(403):
            await client.runs.create("read me", "chat", input=HELLO)


async def test_a_server_that_is_killed_loses_no_stream(serve: Serve) -> None:
    """A run outlives its server; its stream goes on at the next one, behind what was had."""
    first = serve()
    async with get_client(url=first.url, api_key=TOKEN, timeout=LONG_S) as client:
        run = await client.runs.create("kept", "booking", input=HELLO, stream_mode=MODES, if_not_exists="create")
        stream: Any = client.runs.join_stream("kept", run["run_id"])
        had = [await anext(stream) for _ in range(2)]
        first.process.kill()
        await stream.aclose()
    second = serve(over=first)
    async with get_client(url=second.url, api_key=TOKEN, timeout=LONG_S) as client:
        rest = await parts_of(client.runs.join_stream("kept", run["run_id"], last_event_id=had[-1].id))
        whole = await parts_of(client.runs.join_stream("kept", run["run_id"]))
    assert [part.event for part in had[1:] + rest] == [part.event for part in whole[1:]]


async def test_without_content_a_stream_is_refused_and_a_state_is_there(serve: Serve) -> None:
    """Where content is not journaled nothing can be streamed, which is said; what checkpoints keep is read."""
    bare = serve(AGENT_JOURNAL_CONTENT="metadata")
    async with get_client(url=bare.url, api_key=TOKEN, timeout=LONG_S) as client:
        with refused(501):
            await parts_of(client.runs.stream(None, "chat", input=HELLO))
        done: Any = await client.runs.wait(None, "chat", input=HELLO)
        assert done["messages"][-1]["content"] == "The seat is free."
