"""A model's message in the two forms of bedrock-runtime: the body of Converse, the events of ConverseStream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from otel_agent_journal.testing.bedrock.replies import Block, Message, Part, Usage

_WORDS: Final = re.compile(r"\S+\s*|\s+")
_FRAGMENT: Final = 12  # characters of a tool's input in one delta


def words(text: str) -> list[str]:
    """Split into words, each with the blanks behind it: what a stream sends one by one."""
    return _WORDS.findall(text)


def converse_body(said: Message, request_number: int) -> dict[str, Any]:
    """Return the JSON body of a Converse response."""
    content = [_identified(block, request_number, index) for index, block in enumerate(said.blocks)]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": said.stop_reason,
        "usage": usage_body(said.usage),
        "metrics": {"latencyMs": said.latency_ms},
    }


def converse_parts(said: Message, request_number: int) -> Iterator[Part]:
    """Yield the events of a ConverseStream response, text word by word."""
    yield Part("messageStart", {"role": "assistant"})
    for index, block in enumerate(said.blocks):
        yield from _block_parts(_identified(block, request_number, index), index)
    yield Part("messageStop", {"stopReason": said.stop_reason})
    yield Part("metadata", {"usage": usage_body(said.usage), "metrics": {"latencyMs": said.latency_ms}})


def usage_body(usage: Usage) -> dict[str, int]:
    """Return Bedrock's TokenUsage; the total has the cache's tokens, `inputTokens` has not."""
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens + cached,
        "cacheReadInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": usage.cache_write_tokens,
    }


def _identified(block: Block, request_number: int, index: int) -> Block:
    call = block.get("toolUse")
    if call is None or call["toolUseId"]:
        return block
    return {"toolUse": {**call, "toolUseId": f"tooluse_{request_number}_{index}"}}


def _block_parts(block: Block, index: int) -> Iterator[Part]:
    call = block.get("toolUse")
    if call is not None:  # the only block that real models announce with a start
        start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
        yield Part("contentBlockStart", {"start": start, "contentBlockIndex": index})
    for delta in _deltas(block):
        yield Part("contentBlockDelta", {"delta": delta, "contentBlockIndex": index})
    yield Part("contentBlockStop", {"contentBlockIndex": index})


def _deltas(block: Block) -> Iterator[Mapping[str, Any]]:
    match block:
        case {"text": str(text)}:
            for word in words(text):
                yield {"text": word}
        case {"toolUse": {"input": arguments}}:
            encoded = json.dumps(arguments)
            for at in range(0, len(encoded), _FRAGMENT):
                yield {"toolUse": {"input": encoded[at : at + _FRAGMENT]}}
        case {"reasoningContent": {"reasoningText": {"text": str(text), "signature": signature}}}:
            for word in words(text):
                yield {"reasoningContent": {"text": word}}
            yield {"reasoningContent": {"signature": signature}}
        case _:
            yield block
