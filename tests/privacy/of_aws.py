"""Agents of Bedrock, asked over its wire format, and apps of AgentCore over HTTP, with secrets wherever one can be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from bedrock_agentcore.runtime import BedrockAgentCoreApp
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from otel_agent_journal.frameworks.agentcore import AgentCoreInstrumentor
from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.testing.bedrock import BedrockServer, fail, stream
from otel_agent_journal.testing.bedrock import agent_parts as part
from tests.frameworks.agentcore.serving import served
from tests.privacy.places import CONTENT, NAME, NOWHERE, Kind, Scenario

BEDROCK_PLACES: dict[str, Kind] = {
    "session": NAME,
    "agent": NAME,
    "action group": NAME,
    "action": NAME,
    "knowledge base": NAME,
    "collaborator": NAME,
    "input": CONTENT,
    "session attribute": CONTENT,
    "prompt session attribute": CONTENT,
    "instruction": CONTENT,
    "prompt": CONTENT,
    "thought": CONTENT,
    "rationale": CONTENT,
    "answer of a model": CONTENT,
    "parsed answer": CONTENT,
    "action argument": CONTENT,
    "action result": CONTENT,
    "query": CONTENT,
    "document": CONTENT,
    "document address": CONTENT,
    "document metadata": CONTENT,
    "code": CONTENT,
    "file of code": CONTENT,
    "output of code": CONTENT,
    "error of code": CONTENT,
    "asked of a collaborator": CONTENT,
    "answered by a collaborator": CONTENT,
    "reprompt": CONTENT,
    "topic of a guardrail": CONTENT,
    "custom orchestration": CONTENT,
    "last word": CONTENT,
    "chunk": CONTENT,
    "citation": CONTENT,
    "asked of the program": CONTENT,
    "result of the program": CONTENT,
    "failure": CONTENT,
    "refusal": CONTENT,
    "repeated refusal": CONTENT,
}


def bedrock(say: Callable[[str], str]) -> None:
    """Ask agents that say all of it."""
    with BedrockServer() as server:
        client = server.client("bedrock-agent-runtime", config=Config(retries={"total_max_attempts": 1}))

        def ask(**more: Any) -> None:
            given = {"agentId": say("agent"), "agentAliasId": "LIVE123456", "sessionId": say("session"), **more}
            with contextlib.suppress(ClientError, EventStreamError):
                list(client.invoke_agent(**given, enableTrace=True, inputText=say("input"))["completion"])

        server.script(stream(_trace(say)))
        ask(
            sessionState={
                "sessionAttributes": {"note": say("session attribute")},
                "promptSessionAttributes": {"note": say("prompt session attribute")},
            }
        )
        asked = part.function_input("group", "pay", {"to": say("asked of the program")})
        server.script(stream(part.return_control(asked)))
        ask()
        result = {
            "actionGroup": "group",
            "function": "pay",
            "responseBody": {"TEXT": {"body": say("result of the program")}},
        }
        server.script(stream(part.final_response("done")))
        ask(
            sessionState={
                "invocationId": "invocation-1",
                "returnControlInvocationResults": [{"functionResult": result}],
            }
        )
        server.script(stream(part.failure(say("failure"))))
        ask()
        server.script(fail("ValidationException", say("refusal")))
        ask()
        patient = server.client(
            "bedrock-agent-runtime", config=Config(retries={"mode": "standard", "total_max_attempts": 2})
        )
        server.script(fail("ThrottlingException", say("repeated refusal")), stream(part.final_response("done")))
        list(
            patient.invoke_inline_agent(
                foundationModel="m",
                instruction=f"You are careful with {say('instruction')}, always.",
                sessionId="s2",
                inputText="go",
            )["completion"]
        )


def _trace(say: Callable[[str], str]) -> list[Any]:
    found = part.reference(
        say("document"), uri=f"s3://docs/{say('document address')}", metadata={"note": say("document metadata")}
    )
    return [
        part.rationale(say("rationale")),
        part.model_input(f'{{"system":"s","messages":[{{"role":"user","content":"{say("prompt")}"}}]}}'),
        part.model_output(say("answer of a model"), thinking=say("thought")),
        part.model_input("polish", phase="postProcessing"),
        part.model_output("", phase="postProcessing", parsed={"text": say("parsed answer")}),
        part.action_group_input(say("action group"), say("action"), {"to": say("action argument")}),
        part.action_group_output(say("action result")),
        part.knowledge_base_input(say("query"), knowledge_base_id=say("knowledge base")),
        part.knowledge_base_output(found),
        part.code_interpreter_input(say("code"), names=[say("file of code")]),
        part.code_interpreter_output(say("output of code")),
        part.code_interpreter_input("fail"),
        part.code_interpreter_output(error=say("error of code")),
        part.collaborator_input(say("collaborator"), say("asked of a collaborator")),
        part.collaborator_output(say("collaborator"), say("answered by a collaborator")),
        part.reprompt(say("reprompt")),
        part.guardrail(topic=say("topic of a guardrail")),
        part.custom_orchestration(say("custom orchestration")),
        part.final_response(say("last word")),
        part.chunk(say("chunk"), [part.citation("x", part.reference("y", uri=f"s3://docs/{say('citation')}"))]),
    ]


AGENTCORE_PLACES: dict[str, Kind] = {
    "session": NAME,
    "request id": NAME,
    "handler": NAME,
    "payload": CONTENT,
    "name in the payload": CONTENT,
    "response": CONTENT,
    "part of a stream": CONTENT,
    "structured part of a stream": NOWHERE,
    "error": CONTENT,
    "error in a stream": CONTENT,
    "header": NOWHERE,
}


def agentcore(say: Callable[[str], str]) -> None:
    """Serve apps that say all of it."""

    def answers(payload: Any) -> Any:
        return {"result": say("response")}

    def streams(payload: Any) -> Any:
        yield say("part of a stream")
        yield {"note": say("structured part of a stream")}
        raise ValueError(say("error in a stream"))

    def fails(payload: Any) -> Any:
        raise ValueError(say("error"))

    answers.__name__ = say("handler")
    headers = {
        "X-Amzn-Bedrock-AgentCore-Runtime-Request-Id": say("request id"),
        "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Note": say("header"),
    }
    for handler in (answers, streams, fails):
        app = BedrockAgentCoreApp()
        app.entrypoint(handler)
        with served(app) as server:
            server.call({"prompt": say("payload"), say("name in the payload"): 1}, say("session"), **headers)


BEDROCK = Scenario(bedrock, BEDROCK_PLACES, instrumentors=lambda: [BedrockAgentsInstrumentor()])
AGENTCORE = Scenario(agentcore, AGENTCORE_PLACES, instrumentors=lambda: [AgentCoreInstrumentor()])
