"""Agents and flows as a program asks them, and what a recording says without chance: ports, times, waits."""

from __future__ import annotations

import re
from typing import Any

from botocore.config import Config

from otel_agent_journal.testing.bedrock import Part, Usage
from otel_agent_journal.testing.bedrock.agent_parts import (
    action_group_input,
    action_group_output,
    by_collaborator,
    chunk,
    citation,
    collaborator_input,
    collaborator_output,
    final_response,
    knowledge_base_input,
    knowledge_base_output,
    model_input,
    model_output,
    rationale,
    reference,
)
from tests.frameworks.langgraph.recording import Recording

PROMPT = '{"system":"You book trips.","messages":[{"role":"user","content":"To Rome, please."}]}'
LONGER = (
    '{"system":"You book trips.","messages":[{"role":"user","content":"To Rome, please."},'
    '{"role":"assistant","content":"I look for flights."},{"role":"user","content":"AZ 1, 90 EUR"}]}'
)
_CHANCE = (
    (re.compile(r"('server\.port': |server\.port=)\d+"), r"\1<port>"),
    (re.compile(r"'(start_time|end_time)': '[^']+'"), r"'\1': '<time>'"),
    (re.compile(r"'backoff_s': [0-9.e-]+"), "'backoff_s': <s>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
)


def ask(client: Any, text: str = "To Rome, please.", *, session: str = "s1", **more: Any) -> Any:
    """Invoke the agent with its trace, and return the response."""
    given = {"agentId": "TRAVEL1234", "agentAliasId": "LIVE123456", "sessionId": session, "enableTrace": True}
    return client.invoke_agent(**{**given, **({"inputText": text} if text else {}), **more})


def read(response: Any, member: str = "completion") -> list[Any]:
    """Read a response's stream to its end."""
    return list(response[member])


def patient(mode: str = "standard", attempts: int = 4) -> Config:
    """Return the configuration of a client that repeats what fails."""
    return Config(retries={"mode": mode, "total_max_attempts": attempts})


def told(recording: Recording) -> str:
    """Return steps and spans for a snapshot."""
    said = recording.snapshot()
    for pattern, instead in _CHANCE:
        said = pattern.sub(instead, said)
    return said


def outcomes(recording: Recording) -> dict[str, str | None]:
    """Return how the last attempt at each step ended, by its name."""
    return {step.last.name or "": step.last.outcome for step in recording.steps.steps}


def notes(recording: Recording, kind: str) -> list[dict[str, Any]]:
    """Return the details of every event of a type, in order."""
    return [dict(event.details) for event in recording.events if event.type == kind]


def thinks(prompt: str = PROMPT, answer: str = "I look for flights.", *, turn: int = 0, **more: Any) -> list[Part]:
    """Return a model call of the orchestration, and the reason it gives."""
    usage = Usage(input_tokens=120 + turn, output_tokens=30)
    return [model_input(prompt, turn=turn), model_output(answer, turn=turn, usage=usage, **more)]


FLIGHTS = [
    action_group_input("SearchFlights", "find", {"to": "Rome", "seats": 2}),
    action_group_output('{"flight":"AZ 1","price":90}'),
]
GUIDE = [
    knowledge_base_input("visa for Italy", knowledge_base_id="KBTRAVEL01"),
    knowledge_base_output(
        reference("No visa up to 90 days.", uri="s3://guides/italy.md", metadata={"year": 2026}),
        reference("Bring a passport.", uri="s3://guides/europe.md"),
    ),
]
HOTEL = [
    collaborator_input("Hotels", "a room in Rome", turn=1),
    *by_collaborator(
        "Hotels",
        *thinks("Find a room.", "I ask the hotels.", turn=0),
        action_group_input("SearchRooms", api_path="/rooms/{city}", verb="POST", arguments={"city": "Rome"}),
        action_group_output("Albergo Uno"),
        final_response("Albergo Uno, 80 EUR"),
    ),
    collaborator_output("Hotels", "Albergo Uno, 80 EUR", turn=1),
]
ANSWER = "AZ 1 and Albergo Uno."
LAST = [
    final_response(ANSWER),
    chunk("AZ 1 and ", [citation("AZ 1", reference("AZ 1", uri="s3://flights/az.md"))]),
    chunk("Albergo Uno."),
]
TRIP = [rationale("Flights first."), *thinks(), *FLIGHTS, *thinks(LONGER, turn=1), *GUIDE, *HOTEL, *LAST]
OPEN = [*thinks(), *FLIGHTS[:1], *HOTEL[:2]]  # an action, a collaborator and its model are under way
