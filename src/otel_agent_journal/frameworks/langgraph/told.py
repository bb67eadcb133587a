"""Values of a graph as LangGraph's clients are told them: JSON, messages in full, by their own fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langgraph.types import Command, Interrupt, Send

from otel_agent_journal.plain import MAX_DEPTH, plain, text_of


def as_told(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON can carry it; a message with all its fields, `type` first among them."""
    if depth > MAX_DEPTH:
        return None
    match value:
        case None | bool() | int() | float() | str():
            return plain(value)
        case BaseMessage():
            return plain(value.model_dump())
        case Interrupt():
            asks = cast("Any", value)
            said = {"value": as_told(asks.value, depth + 1), "id": asks.id}
            schema: Any = getattr(asks, "response_schema", None)
            return said if schema is None else {**said, "response_schema": plain(schema)}
        case Send():
            return {"node": value.node, "arg": as_told(value.arg, depth + 1)}
        case Command():
            named = cast("Any", value)
            parts = {name: getattr(named, name) for name in ("graph", "update", "resume", "goto")}
            return {name: as_told(part, depth + 1) for name, part in parts.items()}
        case list() | tuple():
            return [as_told(one, depth + 1) for one in cast("list[Any]", value)]
        case dict():
            named = cast("Mapping[Any, Any]", value)
            return {text_of(name): as_told(one, depth + 1) for name, one in named.items()}
        case _:
            return plain(value)
