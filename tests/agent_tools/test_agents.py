"""Real agents of both frameworks, their models scripted, that use the journal as a tool; and a real MCP client."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import otel_agent_journal
from otel_agent_journal import flush, langchain_tools, open_store, read_journal, strands_tools
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.scripted import ScriptedModel as ScriptedModelOfLangChain
from otel_agent_journal.testing.scripted import reply
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say

NAMES = ["write_journal_entry", "read_journal", "query_journal", "wait_for_journal"]
ENTRY = {"event_type": "DATA_CLEANED", "tool_name": "clean", "details": {"rows": 12}}


@pytest.fixture
def journaled(url: str) -> Iterator[str]:
    """The URL of a journal to which this process records what frameworks do."""
    otel_agent_journal.configure(url)
    yield url
    otel_agent_journal.shutdown()
    from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor
    from otel_agent_journal.frameworks.strands import StrandsInstrumentor

    for kind in (LangGraphInstrumentor, StrandsInstrumentor):
        kind().uninstrument()


def journal_of(url: str, session_id: str) -> list[JournalEvent]:
    assert flush()
    with closing(open_store(url)) as store:
        return list(store.read(session_id))


def is_under_its_tool(events: list[JournalEvent]) -> None:
    """The entry is an event of the tool's own step, and readers are told that an agent wrote it."""
    (start,) = [event for event in events if event.type == "TOOL_START" and event.name == "write_journal_entry"]
    (entry,) = [event for event in events if event.type == "DATA_CLEANED"]
    assert (entry.step_id, entry.parent_step_id) == (start.step_id, start.parent_step_id)
    assert (entry.name, dict(entry.details)) == ("clean", {"rows": 12, "written_by": "tool"})
    assert start.details["effects"] == "write"


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_langchain_agent(journaled: str, asynchronous: bool) -> None:
    """It writes, reads what it wrote with its point, and asks in SQL; what it gets is JSON."""
    from langchain.agents import create_agent

    sql = "SELECT details->>'rows' AS rows FROM events WHERE event_type = 'DATA_CLEANED'"
    model = ScriptedModelOfLangChain(
        script=[
            reply(calls=[("write_journal_entry", ENTRY)]),
            reply(calls=[("read_journal", {"filter_event_type": "DATA_CLEANED"}), ("query_journal", {"sql": sql})]),
            reply("done"),
        ]
    )
    agent = create_agent(model, langchain_tools())
    asked = {"messages": [("user", "go")]}
    config: Any = {"configurable": {"thread_id": "s1"}}
    done = await agent.ainvoke(asked, config) if asynchronous else agent.invoke(asked, config)
    written, read, queried = [json.loads(one.content) for one in done["messages"] if one.type == "tool"]
    assert (written["status"], written["session_id"]) == ("success", "s1")
    (entry,) = read["entries"]
    events = journal_of(journaled, "s1")
    is_under_its_tool(events)
    number = [event.step_id for event in events if event.type.endswith("_START")].index(
        next(event.step_id for event in events if event.type == "DATA_CLEANED")
    )
    assert entry["point"] == f"s1@{number + 1}"
    assert queried["entries"] == [{"rows": "12"}]
    effects = {event.name: event.details["effects"] for event in events if event.type == "TOOL_START"}
    assert effects == {"write_journal_entry": "write", "read_journal": "read", "query_journal": "read"}


def test_a_strands_agent(journaled: str) -> None:
    """It writes, and reads what it wrote; another's session it cannot reach, and is told so."""
    from strands import Agent

    model = ScriptedModel(
        [
            call(("write_journal_entry", ENTRY)),
            call(("read_journal", {"filter_event_type": "DATA_CLEANED"}), ("read_journal", {"session_id": "others"})),
            say("done"),
        ]
    )
    with otel_agent_journal.session("s1"):
        agent = Agent(model=model, tools=strands_tools(), callback_handler=None)
        agent("go")
    results = [
        json.loads(part["toolResult"]["content"][0]["text"])
        for message in agent.messages
        for part in message["content"]
        if "toolResult" in part
    ]
    assert sorted(result["status"] for result in results) == ["refused", "success", "success"]
    events = journal_of(journaled, "s1")
    (start,) = [event for event in events if event.type == "TOOL_START" and event.name == "write_journal_entry"]
    (entry,) = [event for event in events if event.type == "DATA_CLEANED"]
    assert entry.step_id == start.step_id
    assert any(one["entries"] and one["entries"][0]["details"]["rows"] == 12 for one in results if "cursor" in one)


def test_what_models_are_told() -> None:
    """Each tool has the same name, arguments and words in both frameworks, an argument's meaning among them."""
    ours = {tool.name: tool for tool in langchain_tools("s1")}
    theirs = {tool.tool_spec["name"]: tool.tool_spec for tool in strands_tools("s1")}
    assert [*ours] == [*theirs] == NAMES
    for name, tool in ours.items():
        schema: Any = tool.args
        other = theirs[name]["inputSchema"]["json"]["properties"]
        assert schema.keys() == other.keys()
        assert all(schema[key]["description"] for key in schema)
        assert all(other[key]["description"] for key in other)
        assert tool.description.startswith(theirs[name]["description"].splitlines()[0])


@pytest.mark.parametrize("read_only", [False, True])
async def test_by_mcp(url: str, read_only: bool) -> None:
    """`agent-journal mcp` over stdio: tools with their hints, confined to the session that it was started for."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    otel_agent_journal.write_journal_entry("s1", "JOB_STARTED", "train", {"job": "j1"})
    otel_agent_journal.write_journal_entry("s2", "JOB_STARTED", "train", {"job": "j2"})
    program = "import sys; from otel_agent_journal.cli import main; sys.exit(main())"
    command = ["-c", program, "mcp", "--store", url, "--session", "s1", *(["--read-only"] if read_only else [])]
    parameters = StdioServerParameters(
        command=sys.executable, args=command, env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    )
    async with (
        stdio_client(parameters, errlog=sys.__stderr__ or sys.stderr) as (read, write),
        ClientSession(read, write) as client,
    ):
        await client.initialize()
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert [*listed] == (NAMES[1:] if read_only else NAMES)
        for name, tool in listed.items():
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is (name != "write_journal_entry")
            assert tool.annotations.destructive_hint is False

        async def ask(name: str, **arguments: Any) -> Any:
            result: Any = await client.call_tool(name, arguments)
            assert not result.is_error
            return json.loads(result.content[0].text)

        if not read_only:
            assert (await ask("write_journal_entry", event_type="JOB_SEEN"))["status"] == "success"
        found = await ask("read_journal")
        assert [entry["event_type"] for entry in found["entries"]] == ["JOB_STARTED", "JOB_SEEN"][: 2 - read_only]
        assert (await ask("read_journal", session_id="s2"))["status"] == "refused"
        if not read_only:
            assert (await ask("query_journal", sql="SELECT count(*) AS n FROM events"))["entries"] == [{"n": 2}]
        waited = await ask("wait_for_journal", until="JOB_STARTED", timeout_s=5)
        assert waited["entries"][0]["details"]["job"] == "j1"
    if not read_only:
        (entry,) = read_journal("s1", "JOB_SEEN")["entries"]
        assert entry["details"] == {"written_by": "mcp"}
