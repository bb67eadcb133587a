"""One step with everything that the journal knows of it: every attempt, its blobs and referenced messages fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.cli import money, readable, steps
from otel_agent_journal.cli.attempt_in_full import attempt_lines
from otel_agent_journal.cli.wrapping import wrapped
from otel_agent_journal.codec import format_timestamp, to_neutral
from otel_agent_journal.mapping.references import DIGEST, is_message
from otel_agent_journal.projections.causes import Causes
from otel_agent_journal.projections.cost import NO_CALLS
from otel_agent_journal.projections.times import worked_ns
from otel_agent_journal.reading.prompts import prompt_of
from otel_agent_journal.reading.references import Referred, keys_in, replaced
from otel_agent_journal.reading.values import rebuilt

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Attempt, Step, StepTree
    from otel_agent_journal.reading.journal import Journal

_OF_ERROR: Final = frozenset(steps.TOLD_OF_ERRORS)


def record(
    journal: Journal,
    head: SessionHead,
    tree: StepTree,
    step: Step,
    costs: Mapping[str, Cost],
    *,
    media: bool = True,
) -> dict[str, Any]:
    """Return a step as data: its row of the tree, `input`, `output`, and its attempts with their details.

    Without `media` pictures and the like stay references, which say what they are.
    """
    session_id = head.session_id
    resolved = journal.resolved if media else journal.without_media
    details = [resolved(session_id, _details(attempt)) for attempt in step.attempts]
    wanted = [keys_in(one) for one in details]
    if any(wanted):
        referred = Referred(journal.events(session_id, head), set(chain.from_iterable(wanted)), resolved)
        details = [
            replaced(one, referred.by(keys, attempt.end_ns))
            for one, keys, attempt in zip(details, wanted, step.attempts, strict=True)
        ]
    attempts = [
        _attempt(resolved, session_id, attempt, rebuilt(one, _as_said))
        | money.keys_of(costs.get(attempt.key, NO_CALLS))
        for attempt, one in zip(step.attempts, details, strict=True)
    ]
    last = attempts[-1]["details"]
    process = next((one for one in head.about.processes if one.writer == step.last.writer), None)
    return {
        **steps.row(head.session_id, step, head.writers, costs),
        "effects": last.get("effects"),
        "above": [
            {"number": one.number, "step_id": one.step_id, "kind": one.kind, "name": one.name}
            for one in _above(tree, step)
        ],
        "process": None if process is None else msgspec.to_builtins(process),
        "input": last.get("input", last.get("messages")),
        "output": last.get("output"),
        "prompt": prompt(journal, head, step, resolved),
        "attempts": attempts,
    }


def prompt(
    journal: Journal, head: SessionHead, step: Step, resolved: Callable[[str, Any], Any] | None = None
) -> dict[str, Any] | None:
    """Return what a model call was given; None for a step of another kind."""
    session_id = head.session_id
    return prompt_of(lambda: journal.events(session_id, head), session_id, step, resolved or journal.resolved)


def _above(tree: StepTree, step: Step) -> list[Step]:
    """Return the steps above one, the outermost first."""
    found: list[Step] = []
    seen = {step.step_id}
    above = tree.step(step.parent_step_id or "")
    while above is not None and above.step_id not in seen:
        seen.add(above.step_id)
        found.append(above)
        above = tree.step(above.parent_step_id or "")
    return found[::-1]


def lines(
    output: Output,
    journal: Journal,
    head: SessionHead,
    tree: StepTree,
    step: Step,
    record: Mapping[str, Any],
    *,
    full: bool = False,
) -> Iterator[str]:
    """Yield a step for people: which it is, why it failed, then attempt by attempt what it took and gave."""
    now_ns = journal.clock()
    mark, color = steps.MARKS[step.status]
    waits = steps.waits_of(step)
    took = "  ".join(filter(None, (readable.duration(worked_ns(step, now_ns)), waits)))
    yield f"{output.paint(mark, color)} {step.number} {output.paint(steps.label(step), 'bold')}  {took}"
    yield output.paint(f"session {readable.one_line(head.session_id)}  step {readable.one_line(step.step_id)}", "dim")
    if above := record["above"]:
        way = " › ".join(f"{one['number']} {one['kind'].lower()} {readable.one_line(one['name'], 60)}" for one in above)
        yield from (output.paint(line, "dim") for line in wrapped(f"in {way}", output.width))
    process = next((one for one in head.about.processes if one.writer == step.last.writer), None)
    if process is not None:
        yield output.paint(readable.process(process), "dim")
    if record["effects"]:
        yield f"effects {readable.one_line(str(record['effects']), 60)}"
    remark = steps.remark_of(step, head.writers, now_ns, Causes(tree))
    if remark and step.status != "error":  # that says the attempt, and with its stack
        yield from (output.paint(line, color) for line in wrapped(readable.one_line(remark), output.width))
    given = None if record["prompt"] is None else record["prompt"]["messages"]
    for attempt, told in zip(step.attempts, record["attempts"], strict=True):
        yield ""
        last = attempt is step.last
        yield from attempt_lines(output, told, attempt, given=given if last else None, full=full)
        for warning in (one for one in attempt.notes if one.level in ("WARNING", "ERROR")):
            said = str(warning.details.get("message") or warning.type.lower())
            yield from (output.paint(line, "yellow") for line in wrapped(f"⚠ {said}", output.width, "  "))


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
        "duration_ms": None if attempt.duration_ns is None else attempt.duration_ns // readable.NS_PER_MS,
        "error": steps.error_of(attempt),
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
