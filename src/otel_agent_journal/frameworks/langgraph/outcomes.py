"""How a LangGraph run ended, and what a model's answer says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from otel_agent_journal.event import Usage
from otel_agent_journal.foreign import own
from otel_agent_journal.mapping import usage
from otel_agent_journal.mapping.genai import (
    RESPONSE_FINISH_REASONS,
    RESPONSE_ID,
    RESPONSE_MODEL,
    SERVICE_TIER,
    USAGE_COST,
)
from otel_agent_journal.pipeline.failure import is_cancel

# Exceptions by which LangGraph steers itself, by name since langgraph need not be installed.
_INTERRUPTS: Final = frozenset(("GraphInterrupt", "NodeInterrupt"))
_STEERING: Final = frozenset(("ParentCommand",))
_DRAINED: Final = frozenset(("GraphDrained", "GraphBubbleUp"))
_OF_A_NODE: Final = frozenset(("NodeCancelledError", "NodeTimeoutError"))

_SAYS_COST: Final = frozenset(("cost", "response_cost", "token_usage"))  # of an answer's metadata


def outcome_of(error: BaseException) -> str:
    """Return interrupted, cancelled, ok or error for what ended a run."""
    if is_cancel(error):
        return "cancelled"
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _INTERRUPTS:
        return "interrupted"
    if names & _STEERING:
        return "ok"
    if names & _DRAINED:
        return "interrupted"
    return "error"


def is_task_cancel(error: BaseException) -> bool:
    """Tell whether asyncio cancelled the code, not the user or the process."""
    return is_cancel(error) and not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)


def left_at_interrupt(error: BaseException, cut: bool) -> bool:
    """Tell of a run in which something was asked whether it ended for that.

    Its stream was closed, or its task was cancelled and nothing was `cut` off below it.
    """
    return isinstance(error, GeneratorExit) or (is_task_cancel(error) and not cut)


def explains(error: BaseException, node: str, of_a_node: bool) -> bool:
    """Tell whether what ended a graph says of a node whose task was cancelled that the node itself had failed.

    A timeout that is not `of_a_node` is LangGraph's own: nodes were over the graph's `step_timeout`.
    """
    kind = type(error)
    if kind.__name__ in _OF_A_NODE:
        return getattr(error, "node", None) == node
    return kind is TimeoutError and not of_a_node


def interrupts_of(error: BaseException) -> list[dict[str, Any]]:
    """Return the questions that a graph paused with."""
    found: Any = error.args[0] if error.args else ()
    if not isinstance(found, list | tuple):
        return []
    return [{"id": own(item, "id"), "value": own(item, "value")} for item in cast("list[Any]", found)]


def usage_of(message: Any, llm_output: Any) -> Usage | None:
    """Return the tokens of a model's answer, or None where it names none."""
    found = usage.usage_of(own(message, "usage_metadata"))
    return usage.usage_of(llm_output) if found is None else found


def response_attributes(message: Any, generation_info: Any) -> dict[str, Any]:
    """Return `gen_ai.response.*` of a model's answer, and what it says of its price."""
    said: dict[str, Any] = getattr(message, "response_metadata", None) or {}
    info: Mapping[str, Any] = cast("Any", generation_info) if isinstance(generation_info, Mapping) else {}
    attributes: dict[str, Any] = {}
    model = said.get("model_name") or said.get("model") or said.get("model_id")
    if isinstance(model, str):
        attributes[RESPONSE_MODEL] = model
    reason: Any = (
        said.get("finish_reason") or said.get("stop_reason") or said.get("stopReason") or info.get("finish_reason")
    )
    if isinstance(reason, str):
        attributes[RESPONSE_FINISH_REASONS] = [reason]
    tier = said.get("service_tier")
    if isinstance(tier, str):
        attributes[SERVICE_TIER] = tier
    if not _SAYS_COST.isdisjoint(said) and (cost := usage.cost_of(said)) is not None:
        attributes[USAGE_COST] = cost
    response_id = said.get("id")
    if isinstance(response_id, str):
        attributes[RESPONSE_ID] = response_id
    return attributes
