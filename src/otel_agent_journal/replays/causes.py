"""What caused a divergence, in words: which code, or what a model or an agent was asked."""

from __future__ import annotations

from collections.abc import Sequence

from otel_agent_journal.projections.steps import Step, StepTree
from otel_agent_journal.replays.remote import is_remote
from otel_agent_journal.replays.words import SERVED_KINDS


def cause_of_drift(kind: str, name: str, differs: Sequence[str], at: str | None, step: Step | None) -> str:
    """Return what was asked otherwise.

    Args:
        kind: of the step.
        name: of the step.
        differs: the parts that differ.
        at: a JSON pointer to where the first of them does.
        step: the step.
    """
    if is_remote(step) and kind != "MODEL":
        return f"what {kind.lower()} {name} is asked"
    part = differs[0] if differs else "messages"
    if part != "messages":
        words = {"model": "another model", "tools": "the tools that it is offered", "params": "its parameters"}
        return words.get(part, "what the program was given")
    place = (at or "").split("/")
    number = place[1] if len(place) > 1 else "0"
    return f"a prompt, or code that makes one: message {number}"


def around(tree: StepTree, step: Step | None, *, itself: bool) -> str:
    """Return the name of the innermost step around one that is code. `itself`: the step is code."""
    while step is not None and (step.kind in SERVED_KINDS or is_remote(step) or not itself):
        itself = True
        step = tree.step(step.parent_step_id) if step.parent_step_id else None
    return "the program" if step is None else f'{step.kind.lower()} "{step.name}"'
