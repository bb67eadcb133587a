"""The calls of a session that are paid for, by its step tree. Pure.

Where a step and something beneath it both tell what they used, it is told twice: that beneath counts. An agent's usage
is the sum of its calls', and so is that of a framework's call around its client's. Attempts that failed and used tokens
are paid for as others are.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_agent_journal.projections.cost import Call, Cost, Price, asked_by, call_of, cost_of, summed, told_of
from otel_agent_journal.projections.steps import Attempt, Step, StepTree


def call_of_attempt(one: Attempt) -> Call | None:
    """Return the call that an attempt was; None where it was none, or has not ended."""
    if one.end_ns is None or one.outcome is None or one.reason is not None:
        return None
    told = told_of(one.kind, one.name, one.end_ns, one.outcome, one.usage, one.details_end)
    return None if told is None else call_of(told, asked_by(one.details_start))


def paid(tree: StepTree) -> dict[str, Call]:
    """Return the calls that are paid for by the keys of their attempts: each once."""
    found: dict[str, Call] = {}
    telling: set[str] = set()  # attempts in or beneath which something is told
    calling: set[str] = set()  # in or beneath which something is a call
    for one in reversed(tree.attempts):
        beneath = tree.beneath(one)
        if any(child.key in telling for child in beneath):
            telling.add(one.key)
            continue
        call = call_of_attempt(one)
        below = any(child.key in calling for child in beneath)
        if call is not None and call.is_told:
            telling.add(one.key)
            if below:
                _forget(tree, one, found)
            found[one.key] = call
        elif call is not None and not below:
            found[one.key] = call
        if call is not None or below:
            calling.add(one.key)
    return found


def _forget(tree: StepTree, above: Attempt, found: dict[str, Call]) -> None:
    """Leave out the calls beneath an attempt, which told nothing."""
    pending = list(tree.beneath(above))
    while pending:
        one = pending.pop()
        found.pop(one.key, None)
        pending += tree.beneath(one)


def own_costs(tree: StepTree, price: Price) -> dict[str, Cost]:
    """Return what the attempts of a session cost themselves, by key; where something beneath tells it, nothing."""
    return {key: cost_of(call, price) for key, call in paid(tree).items()}


def cost_within(tree: StepTree, step: Step, costs: Mapping[str, Cost]) -> Cost:
    """Return what a step and everything beneath it cost; `costs` are those of attempts by their keys."""
    found: list[Cost] = []
    pending = list(step.attempts)
    while pending:
        one = pending.pop()
        if one.key in costs:
            found.append(costs[one.key])
        pending += tree.beneath(one)
    return summed(found)
