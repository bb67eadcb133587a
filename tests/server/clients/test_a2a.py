"""A2A's own client against `serve --a2a`: the package a2a-sdk, over HTTP, with runs in real processes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskState,
)
from a2a.utils.errors import A2AError

from tests.server.clients.conftest import LONG_S, TOKEN, Serving

pytestmark = [pytest.mark.timeout(3 * LONG_S), pytest.mark.asyncio]


@pytest.fixture
async def http(served: Serving) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=LONG_S) as one:
        yield one


async def client_of(http: httpx.AsyncClient, agent: str, *, streaming: bool = True) -> Client:
    card = await A2ACardResolver(http, f"{http.base_url}/a2a/{agent}".replace("//a2a", "/a2a")).get_agent_card()
    assert card.supported_interfaces[0].protocol_version == "1.0"
    return ClientFactory(ClientConfig(httpx_client=http, streaming=streaming)).create(card)


def says(text: str, *, at_once: bool = False, **where: str) -> SendMessageRequest:
    message = Message(message_id=uuid.uuid4().hex, role=Role.ROLE_USER, parts=[Part(text=text)], **where)
    return SendMessageRequest(message=message, configuration=SendMessageConfiguration(return_immediately=at_once))


async def all_of(stream: Any) -> list[Any]:
    return [one async for one in stream]


async def test_a_task_asks_is_answered_and_ends(http: httpx.AsyncClient) -> None:
    """Streamed, a task is submitted, works, asks; answered it is the same task, whose artifact is the result."""
    client = await client_of(http, "booking")
    first = await all_of(client.send_message(says("Is it free?")))
    task = first[0].task
    assert task.id == task.context_id
    asked = first[-1].status_update.status
    assert asked.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert asked.message.parts[0].text == "Book it?"
    again = await all_of(client.send_message(says("yes", task_id=task.id)))
    assert again[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
    done = await client.get_task(GetTaskRequest(id=task.id))
    assert done.artifacts[0].parts[0].text == "The seat is free."
    assert done.artifacts[0].parts[1].data.struct_value["agreed"] == "yes"
    assert [message.parts[0].text for message in done.history] == ["Is it free?", "The seat is free."]
    turn = await all_of(client.send_message(says("And now?", context_id=task.id)))
    assert turn[0].task.id.startswith(f"{task.id}#")
    listed = await client.list_tasks(ListTasksRequest(context_id=task.id))
    assert {one.id for one in listed.tasks} == {task.id, turn[0].task.id}
    with pytest.raises(A2AError, match="asks nothing"):
        await all_of(client.send_message(says("more", task_id=task.id)))
    shown = (await http.get(f"/api/sessions/{task.id}")).json()
    assert shown["status"] == "INTERRUPTED"


def said(stream: list[Any]) -> list[tuple[str, bool, bool]]:
    """Return the texts of a stream's artifacts, whether each goes on the one before, and whether it ends it."""
    found = [one.artifact_update for one in stream if one.HasField("artifact_update")]
    assert len({one.artifact.artifact_id for one in found}) <= 1
    return [(one.artifact.parts[0].text, one.append, one.last_chunk) for one in found]


@pytest.mark.parametrize("agent", ["chat", "talker"])
async def test_words_are_streamed_as_they_are_said(http: httpx.AsyncClient, agent: str) -> None:
    """The words of a graph's model, or of a step of any agent, grow an artifact, which the result replaces."""
    client = await client_of(http, agent)
    stream = await all_of(client.send_message(says("Is it free?")))
    *words, (result, goes_on, ends) = said(stream)
    assert (result, goes_on, ends) == ("The seat is free.", False, True)
    assert "".join(text for text, _, _ in words) == result
    assert [(append, last) for _, append, last in words] == [(number > 0, False) for number in range(len(words))]
    assert len(words) > 1 or agent == "chat"
    assert stream[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
    (artifact,) = (await client.get_task(GetTaskRequest(id=stream[0].task.id))).artifacts
    assert artifact.parts[0].text == result


async def test_a_task_is_cancelled_while_others_look(http: httpx.AsyncClient) -> None:
    """Sent without waiting it is there at once; who subscribes is told that it was cancelled; it ends so once."""
    client = await client_of(http, "sleeper", streaming=False)
    (sent,) = await all_of(client.send_message(says("sleep", at_once=True)))
    streaming = await client_of(http, "sleeper")
    watched = streaming.subscribe(SubscribeToTaskRequest(id=sent.task.id))
    assert (await anext(watched)).task.id == sent.task.id
    ended = await client.cancel_task(CancelTaskRequest(id=sent.task.id))
    assert ended.status.state == TaskState.TASK_STATE_CANCELED
    last = (await all_of(watched))[-1]
    assert last.status_update.status.state == TaskState.TASK_STATE_CANCELED
    with pytest.raises(A2AError):
        await client.cancel_task(CancelTaskRequest(id=sent.task.id))
    with pytest.raises(A2AError):
        await all_of(streaming.subscribe(SubscribeToTaskRequest(id=sent.task.id)))


async def test_what_fails_and_what_is_not_there(http: httpx.AsyncClient) -> None:
    """A failure is the task's, with its error; a message sent twice is one run; what is not known is an error."""
    client = await client_of(http, "broken", streaming=False)
    request = says("go")
    (failed,) = await all_of(client.send_message(request))
    assert failed.task.status.state == TaskState.TASK_STATE_FAILED
    assert failed.task.status.message.parts[0].text == "ValueError: the seat is broken"
    (again,) = await all_of(client.send_message(request))
    assert again.task.id == failed.task.id
    with pytest.raises(A2AError):
        await client.get_task(GetTaskRequest(id="nothing"))
    assert (await http.get("/a2a/nobody/.well-known/agent-card.json")).status_code == 404
    assert (await http.get("/.well-known/agent-card.json")).status_code == 404
    old = await http.post("/a2a/chat", json={"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}})
    assert "error" in old.json()  # without A2A-Version it is of 0.3
    bare = await http.post("/a2a/chat", json={}, headers={"authorization": ""})
    assert bare.status_code == 401
