"""Programs that ask models by `bedrock-runtime` themselves, each over the wire once, and then from its recording."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from otel_agent_journal import session
from otel_agent_journal.testing.bedrock import (
    Usage,
    body,
    break_off,
    call_tool,
    die,
    event,
    fail,
    message,
    reasoning,
    say,
    stream,
    throttle,
    tool_use,
)
from otel_agent_journal.testing.bedrock.invoke import json_chunk

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": [{"text": "Where to?"}]}]
TOOLS = {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]}
ANTHROPIC = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": "Where to?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "map"}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Rome", "is_error": True}],
        },
    ],
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
}

FUNCTION = {"name": "f", "arguments": "{}"}

Scenario = tuple[Sequence[Any], Callable[[Any], Any]]
"""What the service answers, and what of a client the program asks."""


def asks(do: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a program that does it in a step of a session by hand."""

    def program(client: Any) -> Any:
        with session("by-hand-1") as run, run.step("node", "plan"):
            return do(client)

    return program


def converse(client: Any, **more: Any) -> Any:
    """All of an answer that comes whole."""
    response = client.converse(**{"modelId": MODEL, "messages": HELLO, **more})
    return {name: one for name, one in response.items() if name != "ResponseMetadata"}


def streamed(client: Any, **more: Any) -> Any:
    """The parts of one that is streamed."""
    return list(client.converse_stream(**{"modelId": MODEL, "messages": HELLO, **more})["stream"])


def invoke(client: Any, asked: Mapping[str, Any] | bytes = ANTHROPIC, **more: Any) -> Any:
    """The body of an answer, and what is told beside it."""
    given = asked if isinstance(asked, bytes) else json.dumps(asked)
    response = client.invoke_model(**{"modelId": MODEL, "body": given, **more})
    return response["body"].read(), response["contentType"], response["ResponseMetadata"]["HTTPStatusCode"]


def invoke_streamed(client: Any, asked: Mapping[str, Any] = ANTHROPIC, **more: Any) -> Any:
    """What the chunks say."""
    response = client.invoke_model_with_response_stream(**{"modelId": MODEL, "body": json.dumps(asked), **more})
    return [json.loads(part["chunk"]["bytes"]) for part in response["body"]]


def loop(client: Any) -> Any:
    """An agent by hand: it asks, does what it is asked for, and asks on."""
    messages = list(HELLO)
    for _ in range(5):
        answer = client.converse(modelId=MODEL, messages=messages, toolConfig=TOOLS)["output"]["message"]
        messages.append(answer)
        calls = [block["toolUse"] for block in answer["content"] if "toolUse" in block]
        if not calls:
            break
        results = [
            {"toolResult": {"toolUseId": one["toolUseId"], "content": [{"json": one["input"]}]}} for one in calls
        ]
        messages.append({"role": "user", "content": results})
    return messages


def left(client: Any) -> Any:
    """A program that reads two parts, and closes the stream."""
    events = client.converse_stream(modelId=MODEL, messages=HELLO)["stream"]
    parts = iter(events)
    found = [next(parts), next(parts)]
    events.close()
    return found


def failed(client: Any) -> Any:
    """A call that is refused, by the client's own class."""
    try:
        client.converse(modelId=MODEL, messages=HELLO)
    except client.exceptions.AccessDeniedException as error:
        return str(error), error.response["Error"]
    raise AssertionError("it was not refused")


def broken(client: Any) -> Any:
    """A stream that raises, and what had come."""
    found: list[Any] = []
    try:
        found.extend(client.converse_stream(modelId=MODEL, messages=HELLO)["stream"])
    except Exception as error:
        return found, type(error).__name__
    raise AssertionError("it did not break")


def broken_body(client: Any) -> Any:
    """A body that dies: it is raised where the program reads it."""
    response = client.invoke_model(modelId=MODEL, body=json.dumps(ANTHROPIC))
    try:
        response["body"].read()
    except Exception as error:
        return type(error).__name__
    raise AssertionError("it did not break")


def picture(client: Any) -> Any:
    """A picture goes with the question."""
    shown = {"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n" + bytes(range(256))}}}
    return converse(client, messages=[{"role": "user", "content": [{"text": "What is it?"}, shown]}])


def chunks(*said: Mapping[str, Any]) -> Any:
    """A stream of a provider's own."""
    return stream(*map(json_chunk, said))


_THOUGHT = message(reasoning("The user travels."), "To Rome.", usage=Usage(cache_read_tokens=7))
_CALLS = message("I look.", tool_use("look", {"at": "map", "é": [1, {"deep": None}]}), tool_use("look", {}))
_REDACTED = message({"reasoningContent": {"redactedContent": "c2VjcmV0"}}, "To Rome.")

SCENARIOS: dict[str, Scenario] = {
    "whole": ([say("To Rome.")], asks(lambda client: converse(client, system=[{"text": "Be brief."}]))),
    "whole, with thoughts": ([_THOUGHT], asks(converse)),
    "whole, with thoughts that are kept secret": ([_REDACTED], asks(converse)),
    "whole, with calls": ([_CALLS], asks(lambda client: converse(client, toolConfig=TOOLS))),
    "streamed": ([say("To Rome, of course: 'Città eterna'.")], asks(streamed)),
    "streamed, with thoughts": ([_THOUGHT], asks(streamed)),
    "streamed, with thoughts that are kept secret": ([_REDACTED], asks(streamed)),
    "streamed, with calls": ([_CALLS], asks(lambda client: streamed(client, toolConfig=TOOLS))),
    "a loop": ([call_tool("look", {"at": "map"}), call_tool("look", {"at": "sea"}), say("To Rome.")], asks(loop)),
    "left": ([say("To Rome, and then to Paris, and home.")], asks(left)),
    "refused": ([fail("AccessDeniedException", "no")], asks(failed)),
    "throttled": ([throttle(2), say("To Rome.")], asks(converse)),
    "broken off": ([break_off(say("To Rome, and home."), "throttlingException", after=2)], asks(broken)),
    "a connection that dies": ([die(say("To Rome, and home."), after=2, how="truncate")], asks(broken)),
    "stopped by a guardrail": ([say("No.", stop_reason="guardrail_intervened")], asks(converse)),
    "a picture": ([say("A map.")], asks(picture)),
    "a body of Anthropic's": ([_CALLS], asks(invoke)),
    "a stream of Anthropic's": (
        [message(reasoning("Hm."), "To Rome.", tool_use("look", {"a": 1}))],
        asks(invoke_streamed),
    ),
    "a body of Amazon's": (
        [body({"output": {"message": {"role": "assistant", "content": [{"text": "Rome"}]}}, "stopReason": "end_turn"})],
        asks(lambda client: invoke(client, {"schemaVersion": "messages-v1", "messages": HELLO})),
    ),
    "a stream of Amazon's": (
        [
            chunks(
                {"messageStart": {"role": "assistant"}},
                {"contentBlockDelta": {"delta": {"text": "Ro"}, "contentBlockIndex": 0}},
                {"contentBlockDelta": {"delta": {"text": "me"}, "contentBlockIndex": 0}},
                {"messageStop": {"stopReason": "end_turn"}},
                {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 4}}},
            )
        ],
        asks(lambda client: invoke_streamed(client, {"schemaVersion": "messages-v1", "messages": HELLO})),
    ),
    "a body of OpenAI's": (
        [body({"choices": [{"message": {"role": "assistant", "content": "Rome"}, "finish_reason": "stop"}]})],
        asks(
            lambda client: invoke(
                client,
                {
                    "messages": [
                        {"role": "user", "content": "Where to?"},
                        {
                            "role": "assistant",
                            "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}],
                        },
                        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
                    ]
                },
            )
        ),
    ),
    "a stream of OpenAI's": (
        [
            chunks(
                {"choices": [{"delta": {"role": "assistant", "content": "Ro"}}]},
                {"choices": [{"delta": {"content": "me"}, "finish_reason": "stop"}]},
            )
        ],
        asks(lambda client: invoke_streamed(client, {"messages": [{"role": "user", "content": "Where to?"}]})),
    ),
    "a stream of OpenAI's, with calls": (
        [
            chunks(
                {"choices": [{"delta": {"role": "assistant", "content": "I look."}}]},
                {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look"}}]}}]},
                {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"at": '}}]}}]},
                {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"map"}'}}]}}]},
                {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
            )
        ],
        asks(lambda client: invoke_streamed(client, {"messages": [{"role": "user", "content": "Where to?"}]})),
    ),
    "a body of Meta's": (
        [body({"generation": "Rome", "stop_reason": "stop", "prompt_token_count": 3, "generation_token_count": 4})],
        asks(lambda client: invoke(client, {"prompt": "Where to?", "max_gen_len": 9})),
    ),
    "a body of Cohere's": (
        [body({"text": "Rome", "finish_reason": "COMPLETE"})],
        asks(lambda client: invoke(client, {"message": "Where to?", "temperature": 0.5})),
    ),
    "a body of Mistral's": (
        [body({"outputs": [{"text": "Rome", "stop_reason": "stop"}]})],
        asks(lambda client: invoke(client, {"prompt": "<s>[INST] Where to? [/INST]"})),
    ),
    "a stream of Titan's": (
        [chunks({"outputText": "Ro", "index": 0}, {"outputText": "me", "index": 0, "completionReason": "FINISH"})],
        asks(lambda client: invoke_streamed(client, {"inputText": "Where to?"})),
    ),
    "numbers for a text": (
        [body({"embedding": [0.25, -1.5], "inputTextTokenCount": 3})],
        asks(lambda client: invoke(client, {"inputText": "Where to?"}, modelId="amazon.titan-embed-text-v2:0")),
    ),
    "a body that is no JSON": ([body(b"\x00\xff\x10")], asks(lambda client: invoke(client, b"\x01\xfe"))),
    "a body that dies": ([die(_CALLS, after=1)], asks(broken_body)),
    "an event that nobody knows": (
        [stream(event("messageStart", {"role": "assistant"}), event("futureEvent", {"text": "?"}))],
        asks(streamed),
    ),
}
