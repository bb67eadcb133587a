"""LangChain's own objects made again of what the journal has of a model's answer. Imports LangChain as it is called.

What is recorded is `answers`' business, and `reading.answers` finds it. Nothing is validated: an object has the fields
that it had, also where the LangChain that is here would not make it so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from otel_agent_journal.event import mapping_of
from otel_agent_journal.mapping.classes import CLASSES, with_classes

_IN_PLAIN: Final = ("content", "id", "name", "tool_call_id", "status", "additional_kwargs", "invalid_tool_calls")
_BESIDE: Final = frozenset((CLASSES, "candidates", "generation_info", "llm_output"))  # of raw: no fields of the message
_OF_ROLES: Final = {"user": "human", "assistant": "ai", "system": "system", "tool": "tool"}
_CLASSES: Final = {
    "human": "HumanMessage",
    "ai": "AIMessage",
    "system": "SystemMessage",
    "tool": "ToolMessage",
    "chat": "ChatMessage",
    "function": "FunctionMessage",
}


def llm_result(answer: Mapping[str, Any]) -> Any:
    """Return the `LLMResult` that a model gave, all candidates of one prompt in it.

    Args:
        answer: what `reading.answers.answer_of` returned, or the details of an ending without references.
    """
    from langchain_core.outputs import LLMResult

    raw = mapping_of(answer.get("raw"))
    others = cast("Sequence[Any]", raw.get("candidates") or ())
    candidates = [] if answer.get("output") is None else [answer, *others]
    beside, _ = with_classes(dict(raw), mapping_of(raw.get(CLASSES)), _made)
    return LLMResult.model_construct(
        generations=[list(map(_generation, candidates))], llm_output=beside.get("llm_output")
    )


def message_of(answer: Mapping[str, Any]) -> Any:
    """Return the message that a chat model answered, or that is a tool's result. `answer` as for `llm_result`."""
    return _message(answer)[0]


def lost_of(answer: Mapping[str, Any]) -> list[str]:
    """Return by JSON pointer what of a message stays plain data, as its class is not to be had here."""
    return _message(answer)[1]


def _generation(answer: Mapping[str, Any]) -> Any:
    from langchain_core.outputs import ChatGeneration, Generation

    raw = mapping_of(answer.get("raw"))
    if isinstance(answer["output"], str):
        told, _ = with_classes(raw, mapping_of(raw.get(CLASSES)), _made)
        return Generation(text=answer["output"], generation_info=told.get("generation_info"))
    message, info = _rebuilt(answer)[:2]
    return ChatGeneration(message=message, generation_info=info)


def _message(answer: Mapping[str, Any]) -> tuple[Any, list[str]]:
    message, _, lost = _rebuilt(answer)
    return message, lost


def _rebuilt(answer: Mapping[str, Any]) -> tuple[Any, Any, list[str]]:
    """Return a message, what stood beside it, and what of both stays plain."""
    plain, raw = mapping_of(answer["output"]), mapping_of(answer.get("raw"))
    classes = dict(mapping_of(raw.get(CLASSES)))
    whole = classes.pop("", None)
    fields = {name: plain[name] for name in _IN_PLAIN if name in plain}
    if "tool_calls" in plain:
        fields["tool_calls"] = [_in_order(call, "tool_call") for call in plain["tool_calls"]]
    if "invalid_tool_calls" in plain:
        fields["invalid_tool_calls"] = [_in_order(call, "invalid_tool_call") for call in plain["invalid_tool_calls"]]
    fields.update(raw)
    fields, lost = with_classes(fields, classes, _made)
    info = fields.get("generation_info")
    kind, found = _class_of(str(fields.pop("type", None) or _OF_ROLES.get(str(plain.get("role")), "ai")), whole)
    if kind.__name__ == "ChatMessage":
        fields["role"] = plain.get("role")
    message = kind.model_construct(**{name: value for name, value in fields.items() if name not in _BESIDE})
    return message, info, lost if found else ["", *lost]


def _in_order(call: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return a call of a tool as LangChain makes one: programs write it into their prompts as it stands."""
    return {"name": call.get("name"), "args": call.get("args"), **call, "type": kind}


def _class_of(named: str, whole: str | None) -> tuple[Any, bool]:
    """Return a message's class, and whether it is the very one: the program's own is used where it is imported."""
    from langchain_core import messages

    kind = getattr(messages, named if named.endswith("Chunk") else _CLASSES.get(named, "AIMessage"))
    own = _imported(whole) if whole else None
    if own is not None and isinstance(own, type) and issubclass(own, messages.BaseMessage):
        return own, True
    return kind, whole is None


def _made(name: str, plain: Any) -> Any:
    """Return a pydantic model or a member of an enum of a class that is imported: the journal imports nothing.

    Raises:
        LookupError: the class is another one, or not there.
    """
    from enum import Enum

    from pydantic import BaseModel

    kind = _imported(name)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_validate(plain)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(plain)
    raise LookupError(name)


def _imported(name: str) -> Any:
    """Return a class by its module and name, as far as that is imported; None where it is not."""
    module, _, rest = name.rpartition(".")
    while module and module not in sys.modules:
        module, _, part = module.rpartition(".")
        rest = f"{part}.{rest}"
    found: Any = sys.modules.get(module)
    for part in rest.split(".") if module else ():
        found = getattr(found, part, None)
    return found
