"""Steps as data, a row each: of `show -o json`, and of whoever else reads a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.event import REQUEST, JournalEvent, Usage
from otel_agent_journal.projections.cost import Cost
from otel_agent_journal.projections.steps import Attempt, Step
from otel_agent_journal.projections.times import waited_ns, worked_ns
from otel_agent_journal.reading import amounts
from otel_agent_journal.reading.gists import GIST

ROW_KEYS: Final = (
    "session_id",
    "step_id",
    "parent_step_id",
    "depth",
    "number",
    "kind",
    "name",
    "status",
    "reason",
    "attempts",
    "errors",
    "started_at",
    "ended_at",
    "last_seen_at",
    "duration_ms",
    "waited_ms",
    "input_tokens",
    "output_tokens",
    *amounts.KEYS,
    "warnings",
    "error",
    "writer",
    "trace_id",
    "span_id",
)
TOLD_OF_ERRORS: Final = ("raised_at", "passed_through", "causes", "stack")
_WARNING_LEVELS: Final = ("WARNING", "ERROR")
_NS_PER_MS: Final = 1_000_000


def rows(
    session_id: str, steps: Iterable[Step], last_seen: Mapping[str, int], costs: Mapping[str, Cost]
) -> Iterator[dict[str, Any]]:
    """Yield steps as data.

    Args:
        session_id: whose steps they are.
        steps: which.
        last_seen: of each writer; given for steps that run or were cut off.
        costs: of attempts, by their keys: see `Journal.costs`.
    """
    for step in steps:
        yield row(session_id, step, last_seen, costs)


def row(session_id: str, step: Step, last_seen: Mapping[str, int], costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Return one step as data, times RFC 3339, null where not known. Its cost is its own, not that of steps below."""
    last, usage = step.last, usage_of(step)
    left_open = step.status == "running" or last.reason is not None
    return {
        "session_id": session_id,
        "step_id": step.step_id,
        "parent_step_id": step.parent_step_id,
        "depth": step.depth,
        "number": step.number,
        "kind": step.kind,
        "name": step.name,
        "status": step.status,
        "reason": last.reason,
        "attempts": len(step.attempts),
        "errors": sum(attempt.began_error for attempt in step.attempts),
        "started_at": format_timestamp(step.start_ns),
        "ended_at": None if step.end_ns is None else format_timestamp(step.end_ns),
        "last_seen_at": _time(seen_ns(last, last_seen)) if left_open else None,
        "duration_ms": _ms(worked_ns(step)),
        "waited_ms": _ms(waited_ns(step)),
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        **amounts.keys_of(amounts.of_step(step, costs)),
        "warnings": len(warnings_of(step)),
        "error": error_of(last),
        "writer": last.writer,
        "trace_id": last.trace_id,
        "span_id": last.span_id,
    }


def error_of(attempt: Attempt) -> dict[str, Any] | None:
    """Return the error of an attempt as data, with where it was raised and whether it came from a step below."""
    if attempt.error is None:
        return None
    told = {key: attempt.details_end[key] for key in TOLD_OF_ERRORS if key in attempt.details_end}
    return {**msgspec.to_builtins(attempt.error), **told}


def usage_of(step: Step) -> Usage | None:
    """Return what the step's attempts used together, None where none says."""
    said = [attempt.usage for attempt in step.attempts if attempt.usage is not None]
    if not said:
        return None
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in said), output_tokens=sum(usage.output_tokens for usage in said)
    )


def seen_ns(attempt: Attempt, last_seen: Mapping[str, int]) -> int | None:
    """Return when the writer of an attempt gave its last sign of life."""
    return max(last_seen.get(attempt.writer or "", 0), attempt.end_ns or 0) or None


def warnings_of(step: Step) -> list[JournalEvent]:
    """Return what was noted at a step as a warning or an error: throttled, a hook that said no, an answer stopped."""
    return [note for attempt in step.attempts for note in attempt.notes if note.level in _WARNING_LEVELS]


def gist_of(step: Step) -> tuple[str, str]:
    """Return what went into a step and what came out of it, in a few words, of a tree that was read with them."""
    given = next((said for one in step.attempts if (said := one.details_start.get(GIST))), "")
    asked = next(
        (said for note in reversed(step.last.notes) if note.type == REQUEST and (said := note.details.get(GIST))), ""
    )
    return str(asked or given), str(step.last.details_end.get(GIST, ""))


def _ms(ns: int | None) -> int | None:
    return None if ns is None else ns // _NS_PER_MS


def _time(ns: int | None) -> str | None:
    return None if ns is None else format_timestamp(ns)
