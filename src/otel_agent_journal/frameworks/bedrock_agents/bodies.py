"""What a model is asked and answers, in the shape of Converse, whatever its provider's own body looks like. Pure.

`InvokeModel` carries the body of a model's provider. Anthropic's, Amazon's and OpenAI's are read; of others that ask by
one text and answer by one, the text. Any other body is told as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.frameworks.bedrock_agents.shapes import items, mapping, text
from otel_agent_journal.mapping.converse import system_message
from otel_agent_journal.masking import is_secret_parameter

_TOLD: Final = frozenset(("messages", "modelId", "system", "toolConfig", "tools", "body"))
_PROMPTS: Final = ("prompt", "inputText", "input", "message")
_TEXTS: Final = ("generation", "outputText", "completion", "text")
_STOPS: Final = ("stopReason", "stop_reason", "completionReason", "finish_reason")
_EVENTS: Final = frozenset(
    ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop")
)
_METRICS: Final = "amazon-bedrock-invocationMetrics"


class Asked(NamedTuple):
    """What a model is asked: messages, the system's first; tools that it is offered; all else."""

    messages: list[Any]
    tools: list[Any]
    params: dict[str, Any]


class Answer(NamedTuple):
    """What a model answered: its message, why it stopped, and what tells the tokens."""

    message: Mapping[str, Any] | None
    stop: str
    usage: Any


def decoded(body: Any) -> Any:
    """Return the JSON of a body; None where it is none, or cannot be read without taking it from the program."""
    if not isinstance(body, bytes | bytearray | str):
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError):
        return None


def asked_in(given: Mapping[str, Any]) -> Asked:
    """Return what a request of Converse asks."""
    system: Any = given.get("system")
    config = mapping(given.get("toolConfig"))
    listed: Any = given.get("messages")
    messages: list[Any] = [system_message(system)] if system else []
    messages += items(listed)
    tools = [one.get("toolSpec", one) for one in items(config.get("tools"))]
    return Asked(messages, tools, _params(given, config.get("toolChoice")))


def asked_by_body(body: Any) -> Asked:
    """Return what the body of a provider asks."""
    data = mapping(decoded(body))
    if "toolConfig" in data or "schemaVersion" in data:  # Amazon's own models
        return asked_in(data)
    messages = [_message(one) for one in items(data.get("messages"))]
    params = _params(data)
    if not messages:
        prompt = next((name for name in _PROMPTS if isinstance(data.get(name), str)), None)
        if prompt is not None:
            messages = [{"role": "user", "content": [{"text": data[prompt]}]}]
            del params[prompt]
    if data.get("system"):
        system: Any = data["system"]
        messages.insert(0, system_message(_blocks(system) if isinstance(system, list) else system))
    tools: Any = data.get("tools")
    return Asked(messages, cast("list[Any]", tools) if isinstance(tools, list) else [], params)


def _params(given: Mapping[str, Any], choice: Any = None) -> dict[str, Any]:
    found = {name: one for name, one in given.items() if name not in _TOLD and not is_secret_parameter(str(name))}
    return found if choice is None else {**found, "tool_choice": choice}


def _message(given: Mapping[str, Any]) -> dict[str, Any]:
    role, content = text(given.get("role")), given.get("content")
    if role == "tool":  # OpenAI's
        result = {"toolUseId": given.get("tool_call_id"), "content": _blocks(content)}
        return {"role": "user", "content": [{"toolResult": result}]}
    calls = [_call(one) for one in items(given.get("tool_calls"))]
    return {"role": role or "user", "content": [*_blocks(content), *calls]}


def _call(given: Mapping[str, Any]) -> dict[str, Any]:
    function = mapping(given.get("function"))
    asked = decoded(function.get("arguments"))
    use = {"toolUseId": given.get("id"), "name": function.get("name")}
    return {"toolUse": {**use, "input": function.get("arguments") if asked is None else asked}}


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [_block(one) for one in items(content)]


def _block(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a block of Anthropic's or OpenAI's as one of Converse; one of Converse as it is."""
    match given.get("type"):
        case "text":
            return {"text": given.get("text")}
        case "tool_use":
            return {"toolUse": {"toolUseId": given.get("id"), "name": given.get("name"), "input": given.get("input")}}
        case "tool_result":
            result = {"toolUseId": given.get("tool_use_id"), "content": _blocks(given.get("content"))}
            return {"toolResult": {**result, **({"status": "error"} if given.get("is_error") else {})}}
        case "thinking":
            thought = {"text": given.get("thinking"), "signature": given.get("signature")}
            return {"reasoningContent": {"reasoningText": thought}}
        case _:
            return given


def answer_in(data: Any) -> Answer:
    """Return what an answer says that came whole."""
    body = mapping(data)
    stop = next((text(body[name]) for name in _STOPS if body.get(name)), "")
    message = mapping(mapping(body.get("output")).get("message"))
    if message:
        return Answer(message, stop, body.get("usage"))
    if isinstance(body.get("content"), list):
        said = {"role": text(body.get("role")) or "assistant", "content": _blocks(body["content"])}
        return Answer(said, stop, body.get("usage"))
    one = _first(body)
    stop = stop or next((text(one[name]) for name in _STOPS if one.get(name)), "")
    if "message" in one:
        return Answer(_message(mapping(one["message"])), stop, body.get("usage"))
    found = next((one[name] for name in _TEXTS if isinstance(one.get(name), str)), None)
    message = None if found is None else {"role": "assistant", "content": [{"text": found}]}
    return Answer(message, stop, body)


def _first(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first of several answers, where a body has them in a list; else the body."""
    for name in ("choices", "results", "outputs"):
        listed = items(body.get(name))
        if listed:
            return listed[0]
    return body


def events_in_chunk(data: Any) -> Iterator[dict[str, Any]]:
    """Yield what a chunk of a provider's stream says as events of ConverseStream."""
    chunk = mapping(data)
    told = {name: dict(mapping(one)) for name, one in chunk.items() if name in _EVENTS}
    if told:
        yield told
    elif "type" in chunk:
        yield from _of_anthropic(chunk)
    else:
        yield from _of_others(_first(chunk))
    for name in ("metadata", _METRICS):
        counted = mapping(chunk.get(name))
        if counted:
            yield {"metadata": {"usage": counted.get("usage", counted)}}


def _of_others(chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    delta = mapping(chunk.get("delta"))
    found = next((chunk[name] for name in _TEXTS if isinstance(chunk.get(name), str)), None) or delta.get("content")
    if isinstance(found, str) and found:
        yield _delta(0, {"text": found})
    for call in items(delta.get("tool_calls")):  # OpenAI's, numbered by themselves: they stand behind the text
        number: Any = call.get("index")
        index, function = (number if type(number) is int else 0) + 1, mapping(call.get("function"))
        if call.get("id"):
            use = {"toolUseId": call["id"], "name": function.get("name")}
            yield {"contentBlockStart": {"start": {"toolUse": use}, "contentBlockIndex": index}}
        yield _delta(index, {"toolUse": {"input": text(function.get("arguments"))}})
    for name in _STOPS:
        if chunk.get(name):
            yield {"messageStop": {"stopReason": text(chunk[name])}}


def _of_anthropic(chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    index: Any = chunk.get("index", 0)
    delta = mapping(chunk.get("delta"))
    match chunk["type"]:
        case "content_block_start":
            start = _block(mapping(chunk.get("content_block")))
            if "toolUse" in start:
                use = mapping(start["toolUse"])
                named = {"toolUse": {name: use.get(name) for name in ("toolUseId", "name")}}
                yield {"contentBlockStart": {"start": named, "contentBlockIndex": index}}
        case "content_block_delta":
            if "text" in delta:
                yield _delta(index, {"text": delta["text"]})
            elif "partial_json" in delta:
                yield _delta(index, {"toolUse": {"input": delta["partial_json"]}})
            elif "thinking" in delta:
                yield _delta(index, {"reasoningContent": {"text": delta["thinking"]}})
            elif "signature" in delta:
                yield _delta(index, {"reasoningContent": {"signature": delta["signature"]}})
        case "message_delta" if delta.get("stop_reason"):
            yield {"messageStop": {"stopReason": text(delta["stop_reason"])}}
        case _:
            pass
    counted = mapping(chunk.get("usage")) or mapping(mapping(chunk.get("message")).get("usage"))
    if counted:
        yield {"metadata": {"usage": counted}}


def _delta(index: Any, delta: dict[str, Any]) -> dict[str, Any]:
    return {"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}}
