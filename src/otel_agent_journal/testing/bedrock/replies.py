"""What a scripted Bedrock answers: messages of a model, streams of parts, errors, and the ways a network spoils them.

A reply is a value. `slow`, `hold`, `die` and `break_off` take one and return another, so that they compose:
`slow(die(say("Hello there"), after=3), between_s=0.05)`. Nothing is sent here: see `server`.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Block = Mapping[str, Any]
"""A content block in Bedrock's own form: `{"text": ...}`, `{"toolUse": ...}`, `{"reasoningContent": ...}`."""

Death = Literal["close", "truncate", "reset", "end"]
"""How a stream dies: the connection closes between two frames, within a frame, is reset, or all ends early and in good
order, as if the service had nothing more to say."""

STATUS: Final[Mapping[str, int]] = {
    "AccessDeniedException": 403,
    "BadGatewayException": 502,
    "ConflictException": 409,
    "DependencyFailedException": 424,
    "InternalServerException": 500,
    "ModelErrorException": 424,
    "ModelNotReadyException": 429,
    "ModelStreamErrorException": 424,
    "ModelTimeoutException": 408,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 400,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
    "ValidationException": 400,
}
"""HTTP status of each error, from the service models of bedrock-runtime and bedrock-agent-runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call. As Bedrock counts: `input_tokens` are without those of the cache."""

    input_tokens: int = 10
    output_tokens: int = 5
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One event of a stream, or with `exception` a modelled exception in its place.

    `collaborators` names the agents below the invoked one that it comes from, outermost first.
    """

    name: str
    payload: Mapping[str, Any]
    exception: bool = False
    collaborators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a model says; sent whole or streamed, as the request asks."""

    blocks: tuple[Block, ...]
    stop_reason: str
    usage: Usage
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Parts:
    """A stream, part by part."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """What `InvokeModel` answers with, byte by byte, and headers that count its tokens."""

    data: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error instead of an answer; without a code the connection is closed with no answer at all."""

    code: str
    message: str
    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a reply travels: pauses, a gate it waits at, and where it breaks."""

    first_s: float = 0.0
    between_s: float = 0.0
    gate: threading.Event | None = None
    gate_after: int = 0
    breaks_after: int | None = None
    breaks_by: Death | Part = "close"


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request, or to `times` of them."""

    body: Message | Parts | Body | Failure
    delivery: Delivery = Delivery()
    times: int = 1


def say(text: str, *, thinking: str = "", usage: Usage | None = None, stop_reason: str = "end_turn") -> Reply:
    """Answer with a text, after some reasoning where `thinking` is given."""
    return message(*_thought(thinking), text, usage=usage, stop_reason=stop_reason)


def call_tool(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    tool_use_id: str = "",
    text: str = "",
    thinking: str = "",
    usage: Usage | None = None,
) -> Reply:
    """Ask for a tool, after reasoning and a text where they are given."""
    said = (text,) if text else ()
    return message(*_thought(thinking), *said, tool_use(name, arguments, tool_use_id=tool_use_id), usage=usage)


def message(*blocks: str | Block, usage: Usage | None = None, stop_reason: str = "", latency_ms: int = 42) -> Reply:
    """Answer with any content blocks; a str is a text. The stop reason is by default `tool_use` or `end_turn`."""
    content = tuple({"text": block} if isinstance(block, str) else block for block in blocks)
    reason = stop_reason or ("tool_use" if any("toolUse" in block for block in content) else "end_turn")
    return Reply(Message(blocks=content, stop_reason=reason, usage=usage or Usage(), latency_ms=latency_ms))


def body(data: bytes | Mapping[str, Any], *, usage: Usage | None = None) -> Reply:
    """Answer `InvokeModel` with the body of a provider: bytes, or what becomes JSON. Headers count its tokens."""
    counted = usage or Usage()
    headers = {
        "x-amzn-bedrock-input-token-count": str(counted.input_tokens),
        "x-amzn-bedrock-output-token-count": str(counted.output_tokens),
    }
    return Reply(Body(data if isinstance(data, bytes) else json.dumps(data).encode(), headers))


def tool_use(name: str, arguments: Mapping[str, Any] | None = None, *, tool_use_id: str = "") -> Block:
    """Return the block that asks for a tool; without an id the server makes one from the request's number."""
    return {"toolUse": {"toolUseId": tool_use_id, "name": name, "input": dict(arguments or {})}}


def reasoning(text: str, *, signature: str = "c2lnbmVk") -> Block:
    """Return a block of reasoning."""
    return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}


def stream(*parts: Part | Iterable[Part]) -> Reply:
    """Answer with these parts, in order; groups of parts are flattened."""
    flat: list[Part] = []
    for part in parts:
        if isinstance(part, Part):
            flat.append(part)
        else:
            flat.extend(part)
    return Reply(Parts(tuple(flat)))


def event(name: str, payload: Mapping[str, Any]) -> Part:
    """Return an event of any shape, as it goes over the wire (blobs in base64)."""
    return Part(name, payload)


def exception(name: str, text: str = "", **fields: Any) -> Part:
    """Return a modelled exception in a stream, such as `throttlingException`: the client raises it where it comes."""
    return Part(name, {"message": text or f"{name} in the middle of the stream", **fields}, exception=True)


def fail(
    code: str, text: str = "", *, status: int = 0, times: int = 1, headers: Mapping[str, str] | None = None
) -> Reply:
    """Refuse `times` requests with this error; the status is the service model's, or 400 for a code it lacks."""
    return Reply(failure(code, text, status=status, headers=headers), times=times)


def throttle(times: int = 1) -> Reply:
    """Refuse `times` requests with ThrottlingException."""
    return fail("ThrottlingException", "Too many requests, please wait before trying again.", times=times)


def hang_up(times: int = 1) -> Reply:
    """Close the connection of `times` requests without an answer."""
    return fail("", times=times)


def slow(reply: Reply, *, first_s: float = 0.0, between_s: float = 0.0) -> Reply:
    """Wait before the first byte, and between the frames of a stream."""
    return _deliver(reply, first_s=first_s, between_s=between_s)


def hold(reply: Reply, gate: threading.Event, *, after: int = 0) -> Reply:
    """Send `after` frames, then wait until the gate is set: so a test decides when the stream goes on.

    A reply that is not streamed waits before it is sent. The wait ends with the server, and after 30 s.
    """
    return _deliver(reply, gate=gate, gate_after=after)


def die(reply: Reply, *, after: int, how: Death = "close") -> Reply:
    """Lose the connection after that many frames of the stream, or in the middle of a reply that is not streamed."""
    return _deliver(reply, breaks_after=after, breaks_by=how)


def break_off(reply: Reply, name: str, text: str = "", *, after: int, **fields: Any) -> Reply:
    """Send `after` frames, then a modelled exception, then no more; a reply that is not streamed becomes that error."""
    return _deliver(reply, breaks_after=after, breaks_by=exception(name, text, **fields))


def _deliver(reply: Reply, **changes: Any) -> Reply:
    return dataclasses.replace(reply, delivery=dataclasses.replace(reply.delivery, **changes))


def _thought(thinking: str) -> Sequence[Block]:
    return (reasoning(thinking),) if thinking else ()


def failure(code: str, text: str = "", *, status: int = 0, headers: Mapping[str, str] | None = None) -> Failure:
    """Return the error that `fail` answers with."""
    known = status or STATUS.get(code, 400)
    return Failure(code=code, message=text or code, status=known, headers=dict(headers or {}))
