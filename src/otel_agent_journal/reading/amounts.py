"""What calls cost as data: the same keys in every command and answer. Pure.

What is not known is null, and counted; never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.steps import Step

KEYS: Final = ("cost_usd", "unpriced_calls")


def keys_of(cost: Cost) -> dict[str, Any]:
    """Return a cost as data: the dollars known of, null where none are, and how many calls have no known price."""
    return {"cost_usd": cost.usd, "unpriced_calls": cost.unpriced}


def of_step(step: Step, costs: Mapping[str, Cost]) -> Cost:
    """Return what a step's attempts cost themselves together; `costs` are those of attempts by their keys."""
    from otel_agent_journal.projections.cost import summed

    return summed(costs[one.key] for one in step.attempts if one.key in costs)
