"""One step with everything that the journal knows of it: every attempt, its blobs and referenced messages fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final, Protocol

import msgspec

from otel_agent_journal.codec import format_timestamp, to_neutral
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.references import DIGEST, is_message
from otel_agent_journal.projections.cost import NO_CALLS, Cost
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.steps import Attempt, Step, StepTree, fold_steps
from otel_agent_journal.reading import amounts, step_rows
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.named_steps import in_full
from otel_agent_journal.reading.naming import find_step
from otel_agent_journal.reading.prompts import prompt_of
from otel_agent_journal.reading.references import Referred, keys_in, replaced
from otel_agent_journal.reading.values import rebuilt

_OF_ERROR: Final = frozenset(step_rows.TOLD_OF_ERRORS)
_NS_PER_MS: Final = 1_000_000


def named(journal: Journal, head: SessionHead, text: str) -> tuple[StepTree, Step]:
    """Return a session's tree and the step of it that is named, with all that it took and gave.

    Raises:
        NoSuchStep: none is named so.
        SeveralSteps: several are.
    """
    return in_full(
        text,
        lambda: journal.events(head.session_id, head),
        lambda events: fold_steps(events, lost_writers=journal.silent(head)),
        lambda tree, name: find_step(tree, name, head.session_id),
    )


class Steps(Protocol):
    """What knows the steps of a session: a tree of them."""

    def step(self, step_id: str) -> Step | None:
        """Return a step, or None."""
        ...


def record(
    journal: Journal,
    head: SessionHead,
    tree: Steps,
    step: Step,
    costs: Mapping[str, Cost],
    *,
    media: bool = True,
    events: Callable[[], Iterable[JournalEvent]] | None = None,
    with_prompt: bool = True,
) -> dict[str, Any]:
    """Return a step as data: its row of the tree, `input`, `output`, and its attempts with their details.

    Args:
        journal: where what it refers to is fetched.
        head: the session's.
        tree: the session's.
        step: the step, with all that it took and gave.
        costs: of attempts, by their keys.
        media: fetch pictures and the like; without, they stay references, which say what they are.
        events: gives the session's, each time anew, where they are at hand.
        with_prompt: rebuild what a model call was given.
    """
    session_id = head.session_id
    read = events or (lambda: journal.events(session_id, head))
    resolved = journal.resolved if media else journal.without_media
    details = [resolved(session_id, _details(attempt)) for attempt in step.attempts]
    wanted = [keys_in(one) for one in details]
    if any(wanted):
        referred = Referred(iter(read()), set(chain.from_iterable(wanted)), resolved)
        details = [
            replaced(one, referred.by(keys, attempt.end_ns))
            for one, keys, attempt in zip(details, wanted, step.attempts, strict=True)
        ]
    attempts = [
        _attempt(resolved, session_id, attempt, rebuilt(one, _as_said))
        | amounts.keys_of(costs.get(attempt.key, NO_CALLS))
        for attempt, one in zip(step.attempts, details, strict=True)
    ]
    last = attempts[-1]["details"]
    process = next((one for one in head.about.processes if one.writer == step.last.writer), None)
    return {
        **step_rows.row(head.session_id, step, head.writers, costs),
        "effects": last.get("effects"),
        "above": [
            {"number": one.number, "step_id": one.step_id, "kind": one.kind, "name": one.name}
            for one in _above(tree, step)
        ],
        "process": None if process is None else msgspec.to_builtins(process),
        "input": last.get("input", last.get("messages")),
        "output": last.get("output"),
        "prompt": prompt_of(read, session_id, step, resolved) if with_prompt else None,
        "attempts": attempts,
    }


def prompt(
    journal: Journal, head: SessionHead, step: Step, resolved: Callable[[str, Any], Any] | None = None
) -> dict[str, Any] | None:
    """Return what a model call was given; None for a step of another kind."""
    session_id = head.session_id
    return prompt_of(lambda: journal.events(session_id, head), session_id, step, resolved or journal.resolved)


def _above(tree: Steps, step: Step) -> list[Step]:
    """Return the steps above one, the outermost first."""
    found: list[Step] = []
    seen = {step.step_id}
    above = tree.step(step.parent_step_id or "")
    while above is not None and above.step_id not in seen:
        seen.add(above.step_id)
        found.append(above)
        above = tree.step(above.parent_step_id or "")
    return found[::-1]


def _details(attempt: Attempt) -> dict[str, Any]:
    """Return what START and ending say together."""
    details = {**attempt.details_start, **attempt.details_end}
    if "messages" in attempt.details_start and "messages" in attempt.details_end:
        details["messages"] = attempt.details_start["messages"]
        details["answers"] = attempt.details_end["messages"]
    attributes = [found for found in (attempt.details_start, attempt.details_end) if "attributes" in found]
    if len(attributes) == 2:
        details["attributes"] = {**attempt.details_start["attributes"], **attempt.details_end["attributes"]}
    return details


def _attempt(
    resolved: Callable[[str, Any], Any], session_id: str, attempt: Attempt, details: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ordinal": attempt.ordinal,
        "attempt": attempt.attempt,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "started_at": format_timestamp(attempt.start_ns),
        "ended_at": None if attempt.end_ns is None else format_timestamp(attempt.end_ns),
        "duration_ms": None if attempt.duration_ns is None else attempt.duration_ns // _NS_PER_MS,
        "error": step_rows.error_of(attempt),
        "usage": None if attempt.usage is None else msgspec.to_builtins(attempt.usage),
        "writer": attempt.writer,
        "trace_id": attempt.trace_id,
        "span_id": attempt.span_id,
        "details": {key: value for key, value in details.items() if attempt.error is None or key not in _OF_ERROR},
        "events": [resolved(session_id, to_neutral(note)) for note in attempt.notes],
    }


def _as_said(mapping: Mapping[str, Any]) -> Any:
    """Return a message without what it is known by."""
    if DIGEST not in mapping or not is_message(mapping):
        return mapping
    return {name: value for name, value in mapping.items() if name != DIGEST}
