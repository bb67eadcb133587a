"""Content in the journal and on spans: off, redacted, asked for; stages and sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.testing.bedrock import BedrockServer, agent_parts, exception, stream, throttle
from otel_agent_journal.testing.bedrock.agent_parts import chunk
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, notes, patient, read, told
from tests.frameworks.langgraph.recording import recording_at

MORE = [
    agent_parts.code_interpreter_input("print('Rome')"),
    agent_parts.code_interpreter_output("Rome"),
    agent_parts.guardrail(topic="Rome"),
    agent_parts.reprompt("Rome?"),
    agent_parts.files(("Rome.csv", b"Rome")),
]


def test_without_content(tmp_path: Path, server: BedrockServer, snapshot: Any) -> None:
    """Without content the journal has steps, times, tokens, models, stages and attempts, and nothing that was said."""
    server.script(throttle(), stream(asking.TRIP[:-3], MORE, asking.LAST))
    with recording_at(tmp_path, content=False, instrumentor=BedrockAgentsInstrumentor()) as recording:
        read(ask(server.client("bedrock-agent-runtime", config=patient())))
        recording.check()
        said = told(recording)
    assert said == snapshot
    for word in ("Rome", "Albergo", "flights", "visa", "passport", "Italy"):
        assert word not in said.replace("SearchFlights", "")


def test_redacted(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """Whatever is said passes the redactor before anything is written, on spans too."""

    def redact(_: str, value: Any) -> Any:
        return _without(value)

    server.script(stream(asking.TRIP[:-3], MORE, asking.LAST))
    provider = TracerProvider()
    with recording_at(
        tmp_path, provider=provider, redactor=redact, span_content=True, instrumentor=BedrockAgentsInstrumentor()
    ) as recording:
        read(ask(client))
        recording.check()
        said = told(recording)
    assert "Rome" not in said
    assert "R***" in said


def _without(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("Rome", "R***")
    if isinstance(value, list):
        return [_without(item) for item in value]
    return {key: _without(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_content_on_spans(tmp_path: Path, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """Where spans take content they have it by the names of the conventions."""
    server.script(stream(asking.TRIP))
    with recording_at(
        tmp_path, provider=TracerProvider(), span_content=True, instrumentor=BedrockAgentsInstrumentor()
    ) as recording:
        read(ask(client))
        recording.check()
        content = {
            span.name: {
                key: value
                for key, value in (span.attributes or {}).items()
                if key.endswith((".messages", ".arguments", ".result", ".text", ".documents"))
            }
            for span in recording.spans
        }
    assert content == snapshot


def test_stages(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """An action group is a stage; how far the work is then, the settings say."""
    server.script(stream(asking.TRIP[:-3], exception("throttlingException")))
    stages = {"SearchFlights": 30.0}
    with recording_at(tmp_path, stages=stages, instrumentor=BedrockAgentsInstrumentor()) as recording:
        with pytest.raises(Exception, match="throttling"):
            read(ask(client))
        assert notes(recording, "STAGE_CHANGED") == [
            {"stage": "SearchFlights", "progress": 30.0},
            {"stage": "SearchRooms"},
        ]
        (head,) = recording.store.sessions()
        assert head.stage == "SearchRooms"


@pytest.mark.parametrize(
    ("given", "around", "found"),
    [
        (None, None, "s1"),
        ("run-1", None, "run-1"),
        ("run-1", "baggage-1", "run-1"),
        (None, "baggage-1", "s1"),
    ],
)
def test_session(
    tmp_path: Path, server: BedrockServer, client: Any, given: str | None, around: str | None, found: str
) -> None:
    """The request's session is the session where neither the program around it nor `--session` names another."""
    server.script(stream(asking.LAST))
    instrumentor = BedrockAgentsInstrumentor()
    with recording_at(tmp_path, session_id=given, trusts_baggage=True, instrumentor=instrumentor) as recording:
        named = baggage.set_baggage("gen_ai.conversation.id", around) if around else context.get_current()
        token = context.attach(named)
        read(ask(client))
        context.detach(token)
        assert list(recording.sessions) == [found]
        start = recording.attempt("TRAVEL1234").details_start
        assert start.get("framework_session_id") == (None if found == "s1" else "s1")


def test_what_else_a_request_says(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """Session attributes are kept as metadata of the root."""
    server.script(stream(chunk("yes")))
    state = {"sessionAttributes": {"tier": "gold"}, "promptSessionAttributes": {"today": "Monday"}}
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        read(ask(client, sessionState=state))
        assert recording.attempt("TRAVEL1234").details_start["metadata"] == state
