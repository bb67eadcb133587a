"""bedrock-agent-runtime, spoken with the real boto3."""

from __future__ import annotations

from otel_agent_journal.testing.bedrock import (
    BedrockServer,
    say,
)


def invoke_agent(server: BedrockServer, **more) -> dict:
    given = {"agentId": "AGENT00001", "agentAliasId": "ALIAS00001", "sessionId": "s-1", "inputText": "Where?"}
    return server.client("bedrock-agent-runtime").invoke_agent(**given, **{"enableTrace": True, **more})


def test_a_text_is_one_chunk(server):
    """A scripted text answers an agent too, in one chunk, or word by word where the request asks for a stream."""
    server.script(say("On its way"), say("On its way"))
    response = invoke_agent(server)
    assert response["sessionId"] == "s-1"
    assert response["contentType"] == "application/json"
    assert list(response["completion"]) == [{"chunk": {"bytes": b"On its way"}}]
    streamed = invoke_agent(server, streamingConfigurations={"streamFinalResponse": True})["completion"]
    assert [part["chunk"]["bytes"] for part in streamed] == [b"On ", b"its ", b"way"]
