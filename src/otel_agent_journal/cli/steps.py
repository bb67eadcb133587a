"""What is said of one step in a few words, for people."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from otel_agent_journal.cli import readable
from otel_agent_journal.projections.causes import failed_attempt
from otel_agent_journal.projections.times import waited_ns
from otel_agent_journal.reading.gists import GIST
from otel_agent_journal.reading.step_rows import seen_ns, warnings_of

if TYPE_CHECKING:
    from otel_agent_journal.projections.causes import Causes
    from otel_agent_journal.projections.steps import Attempt, Step

MARKS: Final = {
    "ok": ("✓", "green"),
    "error": ("✗", "red"),
    "cancelled": ("◼", "yellow"),
    "interrupted": ("‼", "yellow"),
    "running": ("▶", "cyan"),
}
_SAID_OF_WAITS_NS: Final = readable.NS_PER_S  # a shorter wait between attempts is not said


def label(step: Step) -> str:
    """Return what a step is called in a tree."""
    again = f" ×{len(step.attempts)}" if len(step.attempts) > 1 else ""
    orphan = " (its parent is not in the journal)" if step.orphan else ""
    return f"{step.kind.lower()} {_name(step.name)}{again}{orphan}"


@lru_cache(maxsize=1000)
def _name(name: str) -> str:
    return readable.one_line(name, 60)


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
