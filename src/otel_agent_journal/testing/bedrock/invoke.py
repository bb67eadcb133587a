"""A model's message as `InvokeModel` carries it, in Anthropic's form: its body, and the chunks of its stream."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from otel_agent_journal.testing.bedrock.converse import converse_body, converse_parts
from otel_agent_journal.testing.bedrock.replies import Block, Message, Part, Usage


def invoke_body(said: Message, request_number: int) -> dict[str, Any]:
    """Return the JSON body of an InvokeModel response."""
    content = converse_body(said, request_number)["output"]["message"]["content"]
    return {
        "id": f"msg_{request_number}",
        "type": "message",
        "role": "assistant",
        "content": [_block(block) for block in content],
        "stop_reason": said.stop_reason,
        "usage": _usage(said.usage),
    }


def invoke_chunks(said: Message, request_number: int) -> Iterator[Part]:
    """Yield the events of an InvokeModelWithResponseStream response, text word by word."""
    started: dict[str, Any] = {**invoke_body(said, request_number), "content": [], "stop_reason": None}
    yield json_chunk({"type": "message_start", "message": started})
    for index, block in enumerate(said.blocks):
        opened = {name: "" if name in ("text", "thinking") else value for name, value in _block(block).items()}
        if "input" in opened:
            opened |= {"id": opened["id"] or f"tooluse_{request_number}_{index}", "input": {}}
        yield json_chunk({"type": "content_block_start", "index": index, "content_block": opened})
        for part in converse_parts(Message(blocks=(block,), stop_reason="", usage=said.usage, latency_ms=0), 0):
            if part.name == "contentBlockDelta":
                delta = _delta(part.payload["delta"])
                yield json_chunk({"type": "content_block_delta", "index": index, "delta": delta})
        yield json_chunk({"type": "content_block_stop", "index": index})
    yield json_chunk({"type": "message_delta", "delta": {"stop_reason": said.stop_reason}})
    counted = {"inputTokenCount": said.usage.input_tokens, "outputTokenCount": said.usage.output_tokens}
    yield json_chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": counted})


def json_chunk(said: Mapping[str, Any]) -> Part:
    """Return a chunk that carries JSON, as a provider's stream does."""
    return Part("chunk", {"bytes": b64encode(json.dumps(said).encode()).decode()})


def _block(block: Block) -> dict[str, Any]:
    match block:
        case {"toolUse": use}:
            return {"type": "tool_use", "id": use["toolUseId"], "name": use["name"], "input": use["input"]}
        case {"reasoningContent": {"reasoningText": thought}}:
            return {"type": "thinking", "thinking": thought["text"], "signature": thought["signature"]}
        case {"text": text}:
            return {"type": "text", "text": text}
        case _:
            return dict(block)


def _delta(delta: Mapping[str, Any]) -> dict[str, Any]:
    match delta:
        case {"toolUse": use}:
            return {"type": "input_json_delta", "partial_json": use["input"]}
        case {"reasoningContent": {"text": text}}:
            return {"type": "thinking_delta", "thinking": text}
        case {"reasoningContent": {"signature": signature}}:
            return {"type": "signature_delta", "signature": signature}
        case _:
            return {"type": "text_delta", **delta}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }
