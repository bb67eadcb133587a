"""What is wrong with a request, by the references of OpenAI's Chat Completions and Anthropic's Messages.

Written down from https://platform.openai.com/docs/api-reference/chat/create and
https://docs.anthropic.com/en/api/messages; where an SDK is installed, its types have the last word.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Literal, NotRequired, TypedDict

import msgspec


class Url(TypedDict):
    url: str


class Text(msgspec.Struct, tag="text", forbid_unknown_fields=True):
    text: str


class ImageUrl(msgspec.Struct, tag="image_url", forbid_unknown_fields=True):
    image_url: Url


class Sound(TypedDict):
    data: str
    format: str


class InputAudio(msgspec.Struct, tag="input_audio", forbid_unknown_fields=True):
    input_audio: Sound


class NamedFile(TypedDict):
    filename: str
    file_data: str


class File(msgspec.Struct, tag="file", forbid_unknown_fields=True):
    file: NamedFile


class Asked(TypedDict):
    name: str
    arguments: str


class FunctionCall(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    id: str
    function: Asked


class System(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: str | list[Text]


class User(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    content: str | list[Text | ImageUrl | InputAudio | File]
    name: str | None = None


class Assistant(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    content: str | None
    tool_calls: list[FunctionCall] | None = None
    name: str | None = None


class ToolSaid(msgspec.Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    tool_call_id: str
    content: str | list[Text]


class Offered(TypedDict):
    name: str
    description: NotRequired[str]
    parameters: dict[str, Any]


class Function(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    function: Offered


class Named(TypedDict):
    name: str


class ToolChoice(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    function: Named


class OpenAi(msgspec.Struct, forbid_unknown_fields=True):
    """Of the parameters those that are ever written."""

    model: str
    messages: list[System | User | Assistant | ToolSaid]
    tools: list[Function] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    parallel_tool_calls: bool | None = None


class Base64(msgspec.Struct, tag="base64", forbid_unknown_fields=True):
    media_type: str
    data: str


class ByUrl(msgspec.Struct, tag="url", forbid_unknown_fields=True):
    url: str


class Image(msgspec.Struct, tag="image", forbid_unknown_fields=True):
    source: Base64 | ByUrl


class Document(msgspec.Struct, tag="document", forbid_unknown_fields=True):
    source: Base64 | ByUrl
    title: str | None = None


class Thinking(msgspec.Struct, tag="thinking", forbid_unknown_fields=True):
    thinking: str
    signature: str


class Redacted(msgspec.Struct, tag="redacted_thinking", forbid_unknown_fields=True):
    data: str


class ToolUse(msgspec.Struct, tag="tool_use", forbid_unknown_fields=True):
    id: str
    name: str
    input: dict[str, Any]


class ToolResult(msgspec.Struct, tag="tool_result", forbid_unknown_fields=True):
    tool_use_id: str
    content: list[Text | Image | Document] | None = None


class Turn(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["user", "assistant"]
    content: list[Text | Image | Document | Thinking | Redacted | ToolUse | ToolResult]


class Tool(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    input_schema: dict[str, Any]
    description: str | None = None


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Anthropic(msgspec.Struct, forbid_unknown_fields=True):
    """Of the parameters those that are ever written."""

    model: str
    max_tokens: int
    messages: list[Turn]
    system: str | list[Text] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None


def openai_faults(body: dict[str, Any]) -> list[str]:
    """Return what is wrong with a request to OpenAI."""
    return [*_misfits(body, OpenAi), *_misfits_of_sdk("openai.types.chat.completion_create_params", body)]


def anthropic_faults(body: dict[str, Any]) -> list[str]:
    """Return what is wrong with a request to Anthropic: its shape, turns that do not alternate, results too late."""
    faults = [*_misfits(body, Anthropic), *_misfits_of_sdk("anthropic.types.message_create_params", body)]
    roles = [message["role"] for message in body["messages"]]
    faults += [f"two of {role} in a row" for role, after in pairwise(roles) if role == after]
    for message in body["messages"]:
        kinds = [block["type"] == "tool_result" for block in message["content"]]
        if kinds != sorted(kinds, reverse=True):
            faults.append("a result behind something else")
    return faults


def _misfits(body: dict[str, Any], shape: type) -> Iterator[str]:
    try:
        msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        yield str(error)


def _misfits_of_sdk(module: str, body: dict[str, Any]) -> Iterator[str]:
    """Yield what the SDK's own types say against a body; nothing where it is not installed."""
    if find_spec(module.partition(".")[0]) is None:
        return
    from pydantic import ValidationError
    from pydantic_core import PydanticSerializationError

    adapter = _adapter(module)
    try:
        adapter.dump_json(adapter.validate_python(body))  # iterables are checked as they are read
    except (ValidationError, PydanticSerializationError) as error:
        yield str(error)


@cache
def _adapter(module: str) -> Any:
    """Return what checks a body by the types of an SDK."""
    from importlib import import_module

    from pydantic import TypeAdapter

    names = ("CompletionCreateParamsNonStreaming", "MessageCreateParamsNonStreaming")
    known = import_module(module)
    return TypeAdapter(next(getattr(known, name) for name in names if hasattr(known, name)))
