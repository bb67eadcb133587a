"""Steps as data, a row each, and what is said of one step in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.cli import money, readable
from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.event import REQUEST, JournalEvent, Usage
from otel_agent_journal.projections.causes import failed_attempt
from otel_agent_journal.projections.times import waited_ns, worked_ns
from otel_agent_journal.reading.gists import GIST

if TYPE_CHECKING:
    from otel_agent_journal.projections.causes import Causes
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.steps import Attempt, Step

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
    *money.KEYS,
    "warnings",
    "error",
    "writer",
    "trace_id",
    "span_id",
)
TOLD_OF_ERRORS: Final = ("raised_at", "passed_through", "causes", "stack")
MARKS: Final = {
    "ok": ("✓", "green"),
    "error": ("✗", "red"),
    "cancelled": ("◼", "yellow"),
    "interrupted": ("‼", "yellow"),
    "running": ("▶", "cyan"),
}
_WARNING_LEVELS: Final = ("WARNING", "ERROR")
_SAID_OF_WAITS_NS: Final = readable.NS_PER_S  # a shorter wait between attempts is not said


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
        **money.keys_of(money.of_step(step, costs)),
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


def label(step: Step) -> str:
    """Return what a step is called in a tree."""
    again = f" ×{len(step.attempts)}" if len(step.attempts) > 1 else ""
    orphan = " (its parent is not in the journal)" if step.orphan else ""
    return f"{step.kind.lower()} {_name(step.name)}{again}{orphan}"


@lru_cache(maxsize=1000)
def _name(name: str) -> str:
    return readable.one_line(name, 60)


def gist_of(step: Step) -> tuple[str, str]:
    """Return what went into a step and what came out of it, in a few words, of a tree that was read with them."""
    given = next((said for one in step.attempts if (said := one.details_start.get(GIST))), "")
    asked = next(
        (said for note in reversed(step.last.notes) if note.type == REQUEST and (said := note.details.get(GIST))), ""
    )
    return str(asked or given), str(step.last.details_end.get(GIST, ""))


def remark_of(step: Step, last_seen: Mapping[str, int], now_ns: int, causes: Causes | None = None) -> str:
    """Return what should be said of a step that did not simply succeed; with `causes` where its error began."""
    last = step.last
    if step.status == "running":
        seen = seen_ns(last, last_seen)
        return f"running, last seen {readable.ago(seen, now_ns)}" if seen else "running"
    if last.reason is not None:
        seen = seen_ns(last, last_seen)
        return f"interrupted: {last.reason}" + (f", last seen {readable.clock(seen)}" if seen else "")
    if last.outcome == "interrupted":
        return "awaiting input"
    if last.outcome == "cancelled":
        return "cancelled" + (f": {last.error.type}" if last.error else "")
    failed = failed_attempt(step)
    if failed is None:
        return ""
    text = failure_of(step, failed, causes)
    return text if last.outcome == "error" else f"attempt {failed.ordinal} failed: {text}"


def failure_of(step: Step, failed: Attempt, causes: Causes | None = None) -> str:
    """Return why an attempt failed; of an error that passed through from a step below, in which it began."""
    cause = None if causes is None or failed.began_error else causes.of(step, failed)
    if cause is not None:
        return f"from step {cause.step.number}"
    text = "" if failed.error is None else readable.failure(failed.error)
    raised_at = failed.details_end.get("raised_at")
    if isinstance(raised_at, str) and failed.began_error:
        text += f" ({raised_at.rpartition('/')[2]})"
    return text


def waits_of(step: Step) -> str:
    """Return how long nobody worked at a step between its attempts, where that is worth saying."""
    waited = waited_ns(step) or 0
    return f"waited {readable.duration(waited)}" if waited >= _SAID_OF_WAITS_NS else ""


def warned_of(step: Step) -> str:
    """Return the warnings noted at a step in a few words: the last of them, and how many there were."""
    warnings = warnings_of(step)
    if not warnings:
        return ""
    said = str(warnings[-1].details.get(GIST) or warnings[-1].type.lower().replace("_", " "))
    return f"⚠ {f'{len(warnings)}×, last: ' if len(warnings) > 1 else ''}{said}"


def _ms(ns: int | None) -> int | None:
    return None if ns is None else ns // readable.NS_PER_MS


def _time(ns: int | None) -> str | None:
    return None if ns is None else format_timestamp(ns)
