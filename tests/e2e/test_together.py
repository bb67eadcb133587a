"""A program of every framework at once: AgentCore serves a LangGraph graph whose node runs a Strands agent, whose tool
calls a Bedrock agent. One session, one tree, one trace."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Workdir

PROGRAM = '''
import asyncio, http.client, json, logging, socket, sys, threading, time
from typing import TypedDict
{provider}
import boto3
import uvicorn
from bedrock_agentcore import BedrockAgentCoreApp
from langgraph.graph import START, StateGraph
from strands import Agent, tool
from strands.models import BedrockModel

from otel_agent_journal import session, step
from otel_agent_journal.testing.bedrock import BedrockServer, agent_parts as parts, call_tool, say, stream

logging.getLogger("bedrock_agentcore.app").setLevel(logging.ERROR)
bedrock = BedrockServer().start()
bedrock.script(
    call_tool("ask_the_desk", {{"question": "which trains?"}}, tool_use_id="desk"),
    stream(
        parts.rationale("I look them up."),
        parts.action_group_input("Trains", "list_trains", {{"to": "Lisbon"}}),
        parts.action_group_output("two a day"),
        parts.final_response("two a day"),
        parts.chunk("two a day"),
    ),
    say("Take one of the two trains."),
)
runtime = bedrock.client("bedrock-agent-runtime")


class State(TypedDict, total=False):
    question: str
    answer: str


@tool
def ask_the_desk(question: str) -> str:
    """Ask the travel desk."""
    reply = runtime.invoke_agent(
        agentId="DESK123456", agentAliasId="LIVE", sessionId="desk-9", inputText=question, enableTrace=True
    )
    return "".join(event["chunk"]["bytes"].decode() for event in reply["completion"] if "chunk" in event)


model = BedrockModel(boto_session=bedrock.session(), endpoint_url=bedrock.url, model_id="nova", streaming=True)


def advise(state: State) -> State:
    with step("retrieval", "timetable", input="Lisbon") as block:
        block.complete(["a page"])
    adviser = Agent(model=model, tools=[ask_the_desk], name="adviser", callback_handler=None)
    return {{"answer": str(adviser(state["question"]))}}


graph = StateGraph(State)
graph.add_node(advise)
graph.add_edge(START, "advise")
planner = graph.compile(name="planner")

app = BedrockAgentCoreApp()


@app.async_task
async def follow_up():
    await asyncio.sleep(0.2)


@app.entrypoint
async def handle(payload):
    answer = (await planner.ainvoke({{"question": payload["question"]}}))["answer"]
    handle.task = asyncio.create_task(follow_up())
    await asyncio.sleep(0)
    return {{"answer": answer.strip()}}


listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
thread = threading.Thread(target=server.run, kwargs={{"sockets": [listener]}})
thread.start()
try:
    connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=60)
    headers = {{"Content-Type": "application/json", "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": "trip-1"}}
    connection.request("POST", "/invocations", json.dumps({{"question": "How do I get to Lisbon?"}}), headers)
    print(json.loads(connection.getresponse().read()))
    time.sleep(0.5)
finally:
    connection.close()
    server.should_exit = True
    thread.join(30)
    bedrock.close()
{after}
'''

OWN_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""

TELL_SPANS = """
for span in exporter.get_finished_spans():
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    step_id = span.attributes.get("agent_journal.step.id", "-")
    print("span", f"{span.context.span_id:016x}", parent, f"{span.context.trace_id:032x}", step_id)
"""

TREE = [
    (0, "STEP", "handle"),
    (1, "AGENT", "planner"),
    (2, "NODE", "advise"),
    (3, "RETRIEVAL", "timetable"),
    (3, "AGENT", "adviser"),
    (4, "MODEL", "nova"),
    (4, "TOOL", "ask_the_desk"),
    (5, "AGENT", "DESK123456"),
    (6, "TOOL", "Trains.list_trains"),
    (4, "MODEL", "nova"),
    (0, "STEP", "follow_up"),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("provider", ["none", "own"])
def test_every_framework_at_once_is_one_session(workdir: Workdir, provider: str) -> None:
    """The runtime's session is that of all that runs below it, and every step hangs where it was begun."""
    own = provider == "own"
    workdir.write("app.py", PROGRAM.format(provider=OWN_PROVIDER if own else "", after=TELL_SPANS if own else ""))

    done = workdir.run("app.py")

    assert "Take one of the two trains." in done.stdout, done.stderr
    (session,) = workdir.sessions()
    assert (session["session_id"], session["status"], session["errors"]) == ("trip-1", "COMPLETED", 0)
    steps = [
        (row["depth"], row["kind"], row["name"])
        for row in map(json.loads, workdir.journal("show", "trip-1").stdout.splitlines())
    ]
    assert steps == TREE
    events = workdir.events("trip-1")
    starts = sorted(event["step_id"] for event in events if event["event_type"].endswith("_START"))
    ends = sorted(event["step_id"] for event in events if "outcome" in event)
    assert starts == ends
    assert len({event["trace_id"] for event in events if "trace_id" in event}) == 1
    assert workdir.journal("verify").returncode == 0
    if own:
        check_spans([line.split()[1:] for line in done.stdout.splitlines() if line.startswith("span ")], starts)


def check_spans(spans: list[list[str]], steps: list[str]) -> None:
    """Every step has one span, and every span's parent is there."""
    spans = [[*span[:1], *([""] if len(span) == 3 else []), *span[1:]] for span in spans]
    assert sorted(span[3] for span in spans if span[3] != "-") == steps
    ids = {span[0] for span in spans}
    assert {span[1] for span in spans if span[1]} <= ids
    assert len({span[2] for span in spans}) == 1
