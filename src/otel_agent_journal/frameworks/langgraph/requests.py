"""What a model of LangChain is asked beside messages: the model, the tools it is offered, its parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from otel_agent_journal.foreign import bases_of, class_name, is_a, type_of
from otel_agent_journal.mapping.genai import (
    PROVIDER_NAME,
    REQUEST_MAX_TOKENS,
    REQUEST_MODEL,
    REQUEST_TEMPERATURE,
    provider_name,
)
from otel_agent_journal.masking import is_secret_parameter

_NAMES: Final = ("model", "model_name", "model_id")
_TOOLS: Final = ("tools", "functions")
_ASIDE: Final = frozenset((*_NAMES, *_TOOLS))
_DESCRIBED: Final = frozenset(("langchain_core.tools.base.BaseTool", "pydantic.main.BaseModel"))
_schemas: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def attributes_of(metadata: Mapping[str, Any], more: Mapping[str, Any], serialized: Any) -> tuple[dict[str, Any], str]:
    """Return the attributes of a request, and the model's name: its class's where it does not say."""
    parameters: Mapping[str, Any] = more.get("invocation_params") or {}
    model = metadata.get("ls_model_name") or next((parameters[key] for key in _NAMES if parameters.get(key)), None)
    attributes: dict[str, Any] = {}
    if isinstance(model, str) and model:
        attributes[REQUEST_MODEL] = model
    provider = metadata.get("ls_provider")
    if provider:
        attributes[PROVIDER_NAME] = provider_name(str(provider))
    for key, attribute in (("ls_temperature", REQUEST_TEMPERATURE), ("ls_max_tokens", REQUEST_MAX_TOKENS)):
        value = metadata.get(key)
        if isinstance(value, int | float):
            attributes[attribute] = value
    name = attributes.get(REQUEST_MODEL)
    if name is None:
        described = cast("Mapping[str, Any]", serialized or {})
        path: Sequence[str] = described.get("id") or ()
        name = more.get("name") or described.get("name") or (path[-1] if path else None) or "model"
    return attributes, str(name)


def tools_and_params(more: Mapping[str, Any]) -> tuple[list[Any] | None, dict[str, Any]]:
    """Return the definitions of the tools that a model is offered, and all else that it is called with.

    What a parameter's name says is a secret is left out: the journal is no place for it.
    """
    given: Mapping[str, Any] = more.get("invocation_params") or {}
    offered: Any = next((given[key] for key in _TOOLS if given.get(key)), None)
    tools = [_definition(tool) for tool in cast("list[Any]", offered)] if is_a(offered, list, tuple) else None
    params = {
        name: _definition(value) if is_a(value, type) else value
        for name, value in given.items()
        if value is not None and name not in _ASIDE and not is_secret_parameter(name)
    }
    return tools, params


def _definition(tool: Any) -> Any:
    """Return a tool of LangChain's, or a pydantic class, as its JSON schema; anything else as it is."""
    if type(tool) is dict:
        return cast("dict[str, Any]", tool)
    is_class = is_a(tool, type)
    if not any(class_name(base) in _DESCRIBED for base in bases_of(tool if is_class else type_of(tool))):
        return tool
    known = _schemas.get(tool) if is_class else None
    if known is None:
        converting: Any = sys.modules.get("langchain_core.utils.function_calling")
        try:
            known = converting.convert_to_openai_tool(tool)
        except Exception:  # noqa: BLE001 - no tool after all, or one that cannot tell
            return tool
        if is_class:
            _schemas[tool] = known
    return known
