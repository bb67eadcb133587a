"""How an invocation ends that fails: refused, never sent, broken off by the service, dead with its connection."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError, NoCredentialsError, ParamValidationError

from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.testing.bedrock import BedrockServer, Death, agent_parts, die, exception, fail, hang_up, stream
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import OPEN, ask, outcomes, read, told
from tests.frameworks.langgraph.recording import Recording

# --- the call ---


def test_call_that_is_refused(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """A call that the service refuses is the root's error, with the service's code and message."""
    server.script(fail("AccessDeniedException", "no such agent for you"))
    with pytest.raises(ClientError):
        ask(client)
    assert told(recording) == snapshot
    assert recording.status == ("ERROR", None)


def test_call_without_credentials(recording: Recording, server: BedrockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without credentials is told so by botocore, and its journal says the same."""
    import boto3

    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NoCredentialsError):
        ask(boto3.Session(region_name="us-east-1").client("bedrock-agent-runtime"))
    error = recording.attempt("TRAVEL1234").error
    assert error is not None
    assert error.code == "NoCredentialsError"


def test_call_that_is_malformed(recording: Recording, client: Any) -> None:
    """A call that never leaves the program, since its parameters are wrong, is an error too."""
    with pytest.raises(ParamValidationError):
        client.invoke_agent(agentId=7, sessionId="s1")
    assert outcomes(recording) == {"agent": "error"}


def test_service_that_hangs_up(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A connection that is closed without an answer is the root's error."""
    server.script(hang_up())
    with pytest.raises(Exception, match="closed") as raised:
        ask(client)
    error = recording.attempt("TRAVEL1234").error
    assert error is not None
    assert error.type == f"{type(raised.value).__module__}.{type(raised.value).__qualname__}"


# --- the stream ---


def test_exception_in_the_stream(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """A modelled exception ends all that is open as failed, with its code and message."""
    server.script(stream(OPEN, agent_parts.chunk("So far"), exception("throttlingException", "too many")))
    with pytest.raises(EventStreamError, match="too many"):
        read(ask(client))
    assert told(recording) == snapshot
    error = recording.attempt("SearchFlights.find").error
    assert error is not None
    assert (error.code, error.message) == ("throttlingException", "too many")


@pytest.mark.parametrize("how", ["close", "truncate", "reset"])
def test_connection_that_dies(recording: Recording, server: BedrockServer, client: Any, how: Death) -> None:
    """A connection that dies in the stream ends what is open as failed, whichever way it dies."""
    server.script(die(stream(OPEN, asking.LAST), after=len(OPEN), how=how))
    with pytest.raises(Exception) as raised:
        read(ask(client))
    found = outcomes(recording)
    assert found["TRAVEL1234"] == found["SearchFlights.find"] == found["Hotels"] == "error"
    error = recording.attempt("TRAVEL1234").error
    assert error is not None
    assert error.type.endswith(type(raised.value).__qualname__)


def test_stream_that_ends_early_in_good_order(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A stream that simply says no more is over, for the program and for the journal."""
    server.script(die(stream(OPEN, asking.LAST), after=len(OPEN), how="end"))
    read(ask(client))
    assert set(outcomes(recording).values()) == {"ok"}


def test_failure_trace(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """A failure that the trace tells is the error of the agent and of what it had open."""
    server.script(stream(OPEN, agent_parts.failure("the Lambda said no", code=424)))
    read(ask(client))
    assert told(recording) == snapshot


def test_failure_of_a_collaborator(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A collaborator that failed is failed, though the agent that asked it goes on and answers."""
    failed = agent_parts.by_collaborator("Hotels", agent_parts.failure("no rooms"))
    ended = agent_parts.collaborator_output("Hotels", "sorry", turn=1)
    server.script(stream(asking.HOTEL[:2], failed, ended, asking.LAST), stream(asking.HOTEL[:2], failed, asking.LAST))
    for session in ("told", "untold"):
        read(ask(client, session=session))
    for events in recording.sessions.values():
        found = {step.last.name: step.last for step in fold_steps(events).steps}
        assert found["TRAVEL1234"].outcome == "ok"
        assert found["Hotels"].outcome == "error"
        assert found["Hotels"].error is not None
        assert found["Hotels"].error.message == "no rooms"


def test_failure_that_the_agent_got_over(recording: Recording, server: BedrockServer, client: Any) -> None:
    """An agent that answers after a failure has not failed; the failure stands as a warning."""
    server.script(stream(OPEN, agent_parts.failure("once"), asking.LAST))
    read(ask(client))
    assert outcomes(recording)["TRAVEL1234"] == "ok"
    (warning,) = (event for event in recording.events if event.type == "WARNING")
    assert (warning.level, warning.details["message"]) == ("ERROR", "once")
