"""Programs that call agents and flows of Bedrock, each over the wire once, and then from its recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.config import Config
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.testing.bedrock import (
    BedrockServer,
    agent_parts,
    break_off,
    die,
    event,
    exception,
    fail,
    flow_parts,
    stream,
    throttle,
)
from otel_agent_journal.testing.bedrock.agent_parts import chunk
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, patient, read
from tests.frameworks.bedrock_agents.test_control import ASKED, GONE_ON, STATE
from tests.frameworks.bedrock_agents.test_flows import ANSWER, run
from tests.frameworks.langgraph.recording import recording_at
from tests.replay.played import Played

Client = Any
Scenario = tuple[Sequence[Any], Callable[[Client], Any]]
"""What the service answers, and the program that asks it."""

NOWHERE = "http://127.0.0.1:9"  # where nobody listens
ONCE = Config(retries={"total_max_attempts": 1})


def bedrock_played(root: Path) -> Played:
    """A program that calls Bedrock."""
    return Played(root, recording_at, provider=TracerProvider(), instrumentor=BedrockAgentsInstrumentor())


@contextmanager
def service(replies: Sequence[Any]) -> Iterator[tuple[BedrockServer, Any]]:
    """Bedrock on loopback, and what makes a client of it."""
    with BedrockServer() as server:
        server.script(*replies)
        yield server, server.client("bedrock-agent-runtime", config=patient())


def nowhere(service: str = "bedrock-agent-runtime") -> Any:
    """A client of an endpoint at which nobody listens, without a key."""
    import botocore.session

    keys = {"aws_access_key_id": "", "aws_secret_access_key": ""}
    session = botocore.session.Session()
    return session.create_client(service, region_name="us-east-1", endpoint_url=NOWHERE, config=ONCE, **keys)


FILE = {"sourceType": "BYTE_CONTENT", "byteContent": {"mediaType": "text/csv", "data": b"a" * 3000}}


def a_trip(client: Client) -> Any:
    """All of an answer with everything."""
    response = ask(client)
    parts = read(response)
    return parts, [response["contentType"], response["sessionId"], response["ResponseMetadata"]["RetryAttempts"]]


def inline(client: Client) -> Any:
    """An agent that its request defines."""
    response = client.invoke_inline_agent(
        agentName="Concierge",
        foundationModel="anthropic.claude-sonnet-4-20250514-v1:0",
        instruction="You plan trips for two, with care, by train.",
        sessionId="s1",
        inputText="A trip.",
        enableTrace=True,
        inlineSessionState={"files": [{"name": "a.csv", "useCase": "CODE_INTERPRETER", "source": FILE}]},
    )
    return read(response)


def handed_back(client: Client) -> Any:
    """Control that is handed back, and what the program did."""
    return read(ask(client)), read(ask(client, "", sessionState=STATE))


def turns(client: Client) -> Any:
    """Two turns of one session."""
    return [read(ask(client, text)) for text in ("To Rome.", "And back.")]


def left(client: Client) -> Any:
    """A program that reads two parts, and closes the stream."""
    completion = ask(client)["completion"]
    parts = iter(completion)
    found = [next(parts), next(parts)]
    completion.close()
    return found


def failed(client: Client) -> Any:
    """A call or a stream that raises, and what had come."""
    found: list[Any] = []
    try:
        found.extend(ask(client)["completion"])
    except Exception as error:
        return found, type(error).__name__, str(error), getattr(error, "response", None)
    raise AssertionError("it did not fail")


def died(client: Client) -> Any:
    """A connection that dies, and what had come."""
    found, kind, said, _ = failed(client)
    return found, kind, said[:40]  # what follows is an object, which the journal has as data


def caught_by_class(client: Client) -> Any:
    """A refusal that the program knows by its class of the client."""
    try:
        ask(client)
    except client.exceptions.AccessDeniedException as error:
        return str(error), error.response["Error"], error.operation_name
    raise AssertionError("it was not refused")


def malformed(client: Client) -> Any:
    """A call that never leaves the program."""
    return client.invoke_agent(agentId=7, sessionId="s1")


def a_flow(client: Client) -> Any:
    """A flow that asks its user, and is answered."""
    response = run(client)
    first = read(response, "responseStream")
    return first, read(run(client, ANSWER, executionId=response["executionId"]), "responseStream")


PARALLEL = [
    agent_parts.action_group_input("A", "find", {"x": 1}, turn=1),
    agent_parts.action_group_input("A", "find", {"x": 1}, turn=2),
    agent_parts.action_group_output("one", turn=2),
    agent_parts.action_group_output("two", turn=1),
]
CODE = [
    agent_parts.code_interpreter_input("1 / 0"),
    agent_parts.code_interpreter_output(error="ZeroDivisionError: division by zero"),
    agent_parts.files(("plot.csv", b"a,b\n1,2\n"), ("large.bin", bytes(range(256)) * 20)),
]
QUESTION = [
    flow_parts.node_input("Agent", {"agentInputText": "To Rome."}),
    flow_parts.flow_question("When?"),
    flow_parts.flow_completion("INPUT_REQUIRED"),
]
NODES = [
    flow_parts.node_input("Agent", {"agentInputText": "To Rome."}),
    flow_parts.node_agent_trace("Agent", *asking.thinks()),
    flow_parts.node_output("Agent", {"agentResponse": "AZ 1"}),
    flow_parts.flow_output("AZ 1"),
    flow_parts.flow_completion(),
]
HALVES = [event("chunk", {"bytes": half}) for half in ("8A==", "n5mC")]  # a character that is cut in two
BROKEN = [event("chunk", {"bytes": "8A=="})]  # half of one

SCENARIOS: dict[str, Scenario] = {
    "a_trip": ([stream(asking.TRIP)], a_trip),
    "a_trip_without_a_trace": ([stream([chunk("Only "), chunk("text.")])], a_trip),
    "characters_cut": ([stream(HALVES)], a_trip),
    "characters_broken": ([stream(BROKEN)], a_trip),
    "parallel": ([stream(PARALLEL, asking.LAST)], a_trip),
    "code_and_files": ([stream(CODE, asking.LAST)], a_trip),
    "inline": ([stream(asking.TRIP)], inline),
    "throttled_once": ([throttle(), stream(asking.TRIP)], a_trip),
    "throttled_for_good": ([throttle(4)], failed),
    "refused": ([fail("AccessDeniedException", "no such agent for you")], caught_by_class),
    "malformed": ([], malformed),
    "handed_back": ([stream(ASKED), stream(GONE_ON)], handed_back),
    "turns": ([stream(asking.TRIP), stream(asking.TRIP)], turns),
    "left": ([stream(asking.TRIP)], left),
    "failure_trace": ([stream(asking.OPEN, agent_parts.failure("the Lambda said no", code=424))], a_trip),
    "exception_in_the_stream": ([stream(asking.OPEN, chunk("So far"), exception("throttlingException", "no"))], failed),
    "dependency": (
        [break_off(stream(asking.TRIP), "dependencyFailedException", "the Lambda", after=1, resourceName="book")],
        failed,
    ),
    "connection_that_dies": ([die(stream(asking.OPEN, asking.LAST), after=3, how="truncate")], died),
    "a_flow": ([stream(QUESTION), stream(NODES)], a_flow),
}
