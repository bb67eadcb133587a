"""What a model of Strands is asked beside messages: the model, the tools it is offered, its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.mapping.genai import (
    PROVIDER_NAME,
    REQUEST_MAX_TOKENS,
    REQUEST_MODEL,
    REQUEST_TEMPERATURE,
    REQUEST_TOP_P,
    provider_name,
)
from otel_agent_journal.masking import is_secret_parameter

_SETTINGS: Final = {"temperature": REQUEST_TEMPERATURE, "max_tokens": REQUEST_MAX_TOKENS, "top_p": REQUEST_TOP_P}
_ASIDE: Final = frozenset(("model_id", "params"))


class Asked(NamedTuple):
    """A model's name, the attributes of a request to it, and its parameters."""

    name: str
    attributes: dict[str, Any]
    params: dict[str, Any]


def asked_of(model: Any) -> Asked:
    """Return what a model is configured to ask for; what a name says is a secret is left out."""
    kind = cast("type[Any]", type(model))
    configured: Any = getattr(model, "config", None)
    config = cast("Mapping[str, Any]", configured if isinstance(configured, Mapping) else model.get_config() or {})
    attributes: dict[str, Any] = {}
    home = kind.__module__.rpartition(".")[2]
    if kind.__module__.startswith("strands.models."):
        attributes[PROVIDER_NAME] = provider_name(home)
    name: Any = config.get("model_id")
    if name:
        attributes[REQUEST_MODEL] = name = str(name)
    given: Any = config.get("params")
    settings = {**config, **cast("Mapping[str, Any]", given if isinstance(given, Mapping) else {})}
    for key, attribute in _SETTINGS.items():
        value: Any = settings.get(key)
        if isinstance(value, int | float):
            attributes[attribute] = value
    params = {
        key: value
        for key, value in settings.items()
        if value is not None and key not in _ASIDE and not is_secret_parameter(str(key))
    }
    return Asked(name or kind.__name__, attributes, params)


def offered(context: Any) -> list[Any]:
    """Return the definitions of the tools that a call offers.

    As a last try at a structured answer Strands offers the tool for that alone, unless the model needs none.
    """
    tools = cast("list[Any]", context.tool_specs or [])
    if getattr(context, "structured_output_model", None) is None:
        return tools
    choice: Any = context.tool_choice
    if getattr(context.model, "_supports_structured_output", False) is True or not choice or "tool" not in choice:
        return tools
    forced: Any = choice["tool"]["name"]
    return [tool for tool in tools if tool.get("name") == forced]
