"""One step with everything that the journal knows of it: every attempt, its blobs and referenced messages fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.cli import money, readable, steps
from otel_agent_journal.codec import encode_value, format_timestamp, to_neutral
from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.mapping.references import DIGEST, is_message
from otel_agent_journal.projections.cost import NO_CALLS
from otel_agent_journal.reading.prompts import prompt_of
from otel_agent_journal.reading.references import EARLIER, Referred, keys_in, replaced
from otel_agent_journal.reading.values import rebuilt
from otel_agent_journal.terminal import neutral

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Attempt, Step
    from otel_agent_journal.reading.journal import Journal

# What of the details people want to see, in this order; the rest follows under its own names.
_OF_ERROR: Final = frozenset(steps.TOLD_OF_ERRORS)
_FIRST: Final = ("input", "messages", "output", "sources")


def record(journal: Journal, head: SessionHead, step: Step, costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Return a step as data: its row of the tree, `input`, `output`, and its attempts with their details."""
    session_id = head.session_id
    details = [journal.resolved(session_id, _details(attempt)) for attempt in step.attempts]
    wanted = [keys_in(one) for one in details]
    if any(wanted):
        referred = Referred(journal.events(session_id), set(chain.from_iterable(wanted)), journal.resolved)
        details = [
            replaced(one, referred.by(keys, attempt.end_ns))
            for one, keys, attempt in zip(details, wanted, step.attempts, strict=True)
        ]
    attempts = [
        _attempt(journal, session_id, attempt, rebuilt(one, _as_said)) | money.keys_of(costs.get(attempt.key, NO_CALLS))
        for attempt, one in zip(step.attempts, details, strict=True)
    ]
    row = steps.row(head.session_id, step, head.writers, costs)
    last = attempts[-1]["details"]
    return {
        **row,
        "input": last.get("input", last.get("messages")),
        "output": last.get("output"),
        "prompt": prompt(journal, head, step),
        "attempts": attempts,
    }


def prompt(journal: Journal, head: SessionHead, step: Step) -> dict[str, Any] | None:
    """Return what a model call was given; None for a step of another kind."""
    session_id = head.session_id
    return prompt_of(lambda: journal.events(session_id), session_id, step, journal.resolved)


def lines(output: Output, journal: Journal, head: SessionHead, step: Step, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield a step for people."""
    now_ns = journal.clock()
    mark, color = steps.MARKS[step.status]
    took = readable.duration((now_ns if step.end_ns is None else step.end_ns) - step.start_ns)
    yield f"{output.paint(mark, color)} {output.paint(steps.label(step), 'bold')}  {took}"
    yield output.paint(f"session {readable.one_line(head.session_id)}  step {readable.one_line(step.step_id)}", "dim")
    remark = steps.remark_of(step, head.writers, now_ns)
    if remark:
        yield output.paint(readable.one_line(remark), color)
    for attempt, told in zip(step.attempts, record["attempts"], strict=True):
        yield ""
        yield from _attempt_lines(output, told, attempt.duration_ns)


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


def _attempt(journal: Journal, session_id: str, attempt: Attempt, details: dict[str, Any]) -> dict[str, Any]:
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
        "events": [journal.resolved(session_id, to_neutral(note)) for note in attempt.notes],
    }


def _attempt_lines(output: Output, attempt: Mapping[str, Any], duration_ns: int | None) -> Iterator[str]:
    outcome = attempt["outcome"] or "running"
    took = "" if duration_ns is None else f"  {readable.duration(duration_ns)}"
    reason = f" ({attempt['reason']})" if attempt["reason"] else ""
    yield output.paint(f"attempt {attempt['ordinal']}  {outcome}{reason}{took}", steps.MARKS[outcome][1])
    yield output.paint(f"  {attempt['started_at']} … {attempt['ended_at'] or ''}", "dim")
    if attempt["trace_id"]:
        yield output.paint(f"  trace {attempt['trace_id']}  span {attempt['span_id'] or '-'}", "dim")
    if attempt["error"]:
        yield from _error_lines(output, attempt["error"])
    details = attempt["details"]
    for key in [*(key for key in _FIRST if key in details), *(key for key in details if key not in _FIRST)]:
        yield from _section(output, key, details[key])
    if attempt["usage"]:
        yield from _section(output, "usage", attempt["usage"])
    if attempt["cost_usd"] is not None or attempt["unpriced_calls"]:
        known = attempt["cost_usd"]
        yield from _section(output, "cost", money.NOT_KNOWN if known is None else money.dollars(Decimal(repr(known))))
    for event in attempt["events"]:
        yield from _section(output, event["event_type"], event.get("details"))


def _error_lines(output: Output, error: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error: what it says, where it was raised, its stack, and what is known of its causes beside that."""
    passed = "  passed through, from a step below" if error.get("passed_through") else ""
    said = readable.failure(ErrorInfo(type=error["type"], message=error.get("message", ""), code=error.get("code")))
    yield from _section(output, "error", said + passed)
    if "raised_at" in error:
        yield from _section(output, "raised at", error["raised_at"])
    if "stack" in error:
        yield from _section(output, "stack", error["stack"])
    elif "causes" in error:
        yield from _section(output, "causes", error["causes"])


def _section(output: Output, title: str, value: Any) -> Iterator[str]:
    value = rebuilt(value, _in_words)
    text = value if isinstance(value, str) else msgspec.json.format(encode_value(value), indent=2).decode()
    found = neutral(text).splitlines()
    if len(found) <= 1:
        yield f"  {output.paint(readable.one_line(title), 'bold')}  {found[0] if found else ''}".rstrip()
        return
    yield f"  {output.paint(readable.one_line(title), 'bold')}"
    for line in found:
        yield f"    {line}"


def _as_said(mapping: Mapping[str, Any]) -> Any:
    """Return a message without what it is known by."""
    if DIGEST not in mapping or not is_message(mapping):
        return mapping
    return {name: value for name, value in mapping.items() if name != DIGEST}


def _in_words(mapping: Mapping[str, Any]) -> Any:
    """Return for people how many earlier messages a reference stands for."""
    earlier = mapping.get(EARLIER)
    return readable.plural(earlier, "earlier message") if isinstance(earlier, int) and len(mapping) == 1 else mapping
