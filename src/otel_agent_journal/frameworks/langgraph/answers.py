"""What a model says in LangChain's many shapes: its text and thoughts as they are streamed, and its whole answer. Pure.

Providers keep thoughts and refusals in content blocks, under several names, or in `additional_kwargs`. The plain form
of an answer has what people read; what it lacks of the message's fields is its raw form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from otel_agent_journal.event import CHUNK, EMPTY, REASONING
from otel_agent_journal.foreign import class_name, own, type_of
from otel_agent_journal.frameworks.langgraph.messages import plain_message
from otel_agent_journal.mapping.classes import CLASSES, classes_in

_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details", "thinking")  # in `additional_kwargs`
_PLAIN: Final = frozenset(("content", "id", "name", "role", "tool_call_id", "tool_calls"))  # what `plain_message` has
_PARTS: Final = 4  # of a tool's call in the plain form, with its type
_OWN_MESSAGES: Final = "langchain_core.messages."
_USUAL: Final = (("type", ("ai", "tool")), ("status", ("success", "error")))  # what follows from the plain form


def pieces(token: Any, chunk: Any) -> Iterator[tuple[str, str]]:
    """Yield what a part of a stream says, as CHUNK or REASONING and its text."""
    message = own(chunk, "message")
    fields: Mapping[str, Any] = {} if message is None else message.__dict__
    content = token if type(token) is str and token else fields.get("content", token)
    if type(content) is str:
        yield CHUNK, content
    elif type(content) is list:
        yield from _of_blocks(cast("Sequence[Any]", content))
    kept = fields.get("additional_kwargs")
    if kept:
        yield from ((REASONING, text) for text in _kept_thoughts(kept))


def event_piece(event: Any) -> tuple[str, str]:
    """Return what an event of LangChain's content-block protocol says, as CHUNK or REASONING and its text."""
    if type(event) is dict and cast("Any", event).get("event") == "content-block-delta":
        delta: Any = cast("Mapping[str, Any]", event).get("delta") or {}
        if delta.get("type") == "text-delta":
            return CHUNK, str(delta.get("text") or "")
        if delta.get("type") == "reasoning-delta":
            return REASONING, str(delta.get("reasoning") or "")
    return CHUNK, ""


def reasoning_of(message: Any) -> str:
    """Return what a model thought before it answered."""
    fields: Mapping[str, Any] = message.__dict__
    content = fields.get("content")
    blocks = cast("Sequence[Any]", content) if type(content) is list else ()
    found = [text for kind, text in _of_blocks(blocks) if kind is REASONING]
    return "\n".join(filter(None, found or _kept_thoughts(fields.get("additional_kwargs") or {})))


def is_cached(message: Any) -> bool:
    """Tell whether an answer comes from LangChain's cache, which says that it cost nothing."""
    usage: Any = own(message, "usage_metadata")
    cost: Any = cast("Mapping[str, Any]", usage).get("total_cost") if type(usage) is dict else None
    return type(cost) is int and cost == 0


def answer(
    candidates: Sequence[Any], llm_output: Any, origin: Callable[[Any], dict[str, Any]]
) -> tuple[dict[str, Any], list[Any]]:
    """Return the details of a model's answer, `output` and what that lacks as `raw`, and each candidate's plain form.

    Args:
        candidates: what the model answered, as LangChain's generations; the first one is the answer.
        llm_output: what the provider said beside them.
        origin: returns the answer's message as plain data, and remembers it.
    """
    if not candidates:
        return {"output": None}, []
    first, *others = candidates
    message = own(first, "message")
    output = own(first, "text") if message is None else {**origin(message), **_unsaid(message)}
    beside = {} if message is not None and _holds(message, llm_output) else {"llm_output": llm_output}
    raw = _raw_of_generation(first, beside)
    plain = [output, *map(_plain_candidate, others)]
    if others:
        raw["candidates"] = [
            {"output": said, **({"raw": more} if (more := _raw_of_generation(one)) else {})}
            for one, said in zip(others, plain[1:], strict=True)
        ]
    return {"output": output, **({"raw": raw} if raw else {})}, plain


def raw_of(message: Any, beside: Mapping[str, Any] = EMPTY) -> dict[str, Any]:
    """Return the fields of a message that its plain form lacks, under LangChain's names, and what stands beside them.

    Their `$classes` are those of all its values that are not JSON's own.
    """
    fields: dict[str, Any] = {**message.__dict__, **(own(message, "__pydantic_extra__") or {}), **beside}
    raw = {name: value for name, value in fields.items() if name not in _PLAIN and _says(value)}
    for name, usual in _USUAL:
        if type(raw.get(name)) is str and raw[name] in usual:
            del raw[name]
    if any(len(call) > _PARTS for call in fields.get("tool_calls") or ()):
        raw["tool_calls"] = fields["tool_calls"]
    classes = classes_in(fields)
    kind = class_name(type_of(message))
    if not kind.startswith(_OWN_MESSAGES):
        classes[""] = kind
    if classes:
        raw[CLASSES] = classes
    return raw


def _says(value: Any) -> bool:
    kind = type_of(value)
    return value is not None and not ((kind is dict or kind is list or kind is str) and not value)


def _holds(message: Any, llm_output: Any) -> bool:
    """Tell whether a message says itself what the provider said beside it: LangChain puts it there."""
    said: Any = own(message, "response_metadata")
    if type(llm_output) is not dict or type(said) is not dict:
        return not llm_output
    return all(said.get(name) is value for name, value in cast("Mapping[str, Any]", llm_output).items())


def _raw_of_generation(generation: Any, beside: Mapping[str, Any] = EMPTY) -> dict[str, Any]:
    message = own(generation, "message")
    more = {**beside, "generation_info": own(generation, "generation_info")}
    if message is not None:
        return raw_of(message, more)
    raw = {name: value for name, value in more.items() if _says(value)}
    classes = classes_in(raw)
    return {**raw, CLASSES: classes} if classes else raw


def _plain_candidate(generation: Any) -> Any:
    message = own(generation, "message")
    return own(generation, "text") if message is None else {**plain_message(message), **_unsaid(message)}


def _unsaid(message: Any) -> dict[str, Any]:
    """Return why an answer says nothing: a refusal, and calls that are none, as the model wrote them."""
    fields: Mapping[str, Any] = message.__dict__
    found: dict[str, Any] = {}
    calls = fields.get("invalid_tool_calls")
    if calls:
        names = ("id", "name", "args", "error")
        found["invalid_tool_calls"] = [{name: call.get(name) for name in names} for call in calls]
    content = fields.get("content")
    blocks = cast("Sequence[Any]", content) if type(content) is list else ()
    kept: Mapping[str, Any] = fields.get("additional_kwargs") or {}
    refusal = "".join(map(_refused, blocks)) or kept.get("refusal")
    if refusal:
        found["refusal"] = refusal
    return found


def _refused(block: Any) -> str:
    part: Mapping[str, Any] = cast("Mapping[str, Any]", block) if type(block) is dict else {}
    return _text(part.get("refusal")) if part.get("type") == "refusal" else ""


def _of_blocks(blocks: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for block in blocks:
        if type(block) is str:
            yield CHUNK, block
        elif type(block) is dict:
            part = cast("Mapping[str, Any]", block)
            match part.get("type"):
                case "text" | "output_text":
                    yield CHUNK, _text(part.get("text"))
                case "refusal":
                    yield CHUNK, _text(part.get("refusal"))
                case "reasoning":
                    yield REASONING, _text(part.get("reasoning") or part.get("summary") or part.get("content"))
                case "thinking":
                    yield REASONING, _text(part.get("thinking"))
                case "reasoning_content":
                    yield REASONING, _text(part.get("reasoning_content"))
                case _:
                    pass


def _kept_thoughts(kept: Mapping[str, Any]) -> list[str]:
    """Return what is in `additional_kwargs`: the first of its names that is there, as some are there twice."""
    found = [text for text in (_text(kept.get(name)) for name in _THOUGHTS) if text]
    return found[:1]


def _text(said: Any) -> str:
    """Return the text of what is one, has one, or is a list of such."""
    if type(said) is str:
        return said
    if type(said) is dict:
        part = cast("Mapping[str, Any]", said)
        return _text(part.get("text") or part.get("summary") or part.get("content"))
    if type(said) is list:
        return "".join(map(_text, cast("Sequence[Any]", said)))
    return ""
