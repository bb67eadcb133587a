"""What the viewer shows of a fold: rows of the tree, the session above it. Times in milliseconds, null not known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from otel_agent_journal.projections.cost import Cost
from otel_agent_journal.projections.head import AWAITING_INPUT, ERROR, INTERRUPTED, PENDING, PROCESSING, SessionHead
from otel_agent_journal.projections.steps import Attempt, Step
from otel_agent_journal.projections.times import stretches, waited_ns, worked_ns
from otel_agent_journal.reading.gists import GIST
from otel_agent_journal.reading.step_rows import usage_of
from otel_agent_journal.server.fold import SessionFold
from otel_agent_journal.server.nodes import Node, Place
from otel_agent_journal.server.wire import Row, SessionRow

LONGEST_TEXT: Final = 500  # characters of a name, an error or the like in a row
MOST_ATTEMPTS: Final = 50  # of one row
_MARK: Final = "…"


def ms(ns: int | None) -> float | None:
    """Return nanoseconds as milliseconds, to the microsecond."""
    return None if ns is None else ns // 1000 / 1000


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text that is not over a length, with a mark where it was."""
    return text if len(text) <= longest else text[: longest - 1] + _MARK


def row_of(fold: SessionFold, place: Place, revision: int | None = None) -> Row:
    """Return a row as it is now."""
    step, cost = place.seen(), fold.cost(place)
    last = step.last
    usage = usage_of(step)
    left_open = step.status == "running" or last.reason is not None
    seen_ns = max(fold.writers.get(last.writer or "", 0), last.end_ns or 0) if left_open else None
    streamed = fold.streamed_by(place) if step.status == "running" or last.reason is not None else None
    given, gave = _gists(fold, place, step)
    return Row(
        key=place.key,
        parent=None if place.above is None else place.above.key,
        step_id=step.step_id,
        number=step.number,
        kind=step.kind,
        name=cut(step.name),
        status=step.status,
        reason=_reason(last),
        began_ms=step.start_ns // 1000 / 1000,
        ended_ms=ms(step.end_ns),
        seen_ms=ms(seen_ns),
        worked_ms=ms(worked_ns(step)),
        waited_ms=ms(waited_ns(step)) or 0.0,
        attempts=tuple(_attempt(one) for one in step.attempts[-MOST_ATTEMPTS:]),
        errors=sum(one.began_error for one in step.attempts),
        warnings=sum(one.warned for one in fold.noted_in(place)),
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        cost_usd=cost.usd,
        unpriced_calls=cost.unpriced,
        error=_error(step),
        given=given,
        gave=gave,
        tail="" if streamed is None else streamed.tail,
        orphan=step.orphan,
        revision=place.revision if revision is None else revision,
    )


def _attempt(one: Attempt) -> tuple[float, float | None, str | None]:
    return one.start_ns // 1000 / 1000, ms(one.end_ns), one.outcome


def _reason(last: Attempt) -> str | None:
    return AWAITING_INPUT if last.outcome == "interrupted" and last.reason is None else last.reason


def _error(step: Step) -> str | None:
    """Return the error of the latest attempt that failed, in one line."""
    failed = next((one.error for one in reversed(step.attempts) if one.error is not None), None)
    if failed is None:
        return None
    return cut(" ".join(f"{failed.type}: {failed.message[:LONGEST_TEXT]}".rstrip(": ").split()))


def _gists(fold: SessionFold, place: Place, step: Step) -> tuple[str, str]:
    given = next((str(said) for one in step.attempts if (said := one.details_start.get(GIST))), "")
    asked = next((one.asked for one in fold.noted_by_last(place) if one.asked), "")
    return asked or given, str(step.last.details_end.get(GIST, ""))


def session_row(fold: SessionFold, head: SessionHead, cost: Cost) -> SessionRow:
    """Return the session of a fold, by its head as it is judged now."""
    return of_head(head, cost, doing=doing(fold) if head.status == PROCESSING else None, last=last_line(fold, head))


def of_head(head: SessionHead, cost: Cost, *, doing: str | None = None, last: str | None = None) -> SessionRow:
    """Return a session as a list shows it."""
    tokens = bool(head.input_tokens or head.output_tokens)
    process = head.about.processes[-1] if head.about.processes else None
    return SessionRow(
        session_id=head.session_id,
        status=head.status,
        reason=head.reason,
        agent=None if head.agent is None else cut(head.agent),
        stage=None if head.stage is None else cut(head.stage),
        progress=head.progress,
        live=head.status in (PENDING, PROCESSING),
        doing=doing,
        last=last,
        steps=head.steps,
        errors=head.errors,
        events=head.events,
        input_tokens=head.input_tokens if tokens else None,
        output_tokens=head.output_tokens if tokens else None,
        cost_usd=cost.usd,
        unpriced_calls=cost.unpriced,
        began_ms=ms(head.started_ns or None),
        updated_ms=ms(head.updated_ns or None),
        ended_ms=ms(head.ended_ns),
        seen_ms=ms(max([head.updated_ns, *head.writers.values()]) or None),
        user=head.about.labels.get("user"),
        tenant=head.about.labels.get("tenant"),
        tags=head.about.tags,
        labels=dict(head.about.labels),
        process=None if process is None else f"{process.service or 'pid'} {process.pid or ''}".strip(),
        forked_from=head.forked_from,
        forks=head.forks[:MOST_ATTEMPTS],
    )


def doing(fold: SessionFold) -> str | None:
    """Return in a few words what runs in a session now: what is innermost of what runs."""
    inmost = [node for node in fold.running.values() if not any(key in fold.running for key in node.below)]
    if not inmost:
        return None
    models = [node for node in inmost if node.attempt.kind == "MODEL"]
    tools = [node for node in inmost if node.attempt.kind == "TOOL"]
    if len(tools) > 1:
        return f"{len(tools)} tools running"
    if models:
        streams = any(node.place is not None and fold.streamed_by(node.place) is not None for node in models)
        return f"{cut(_agent(models[-1]), 80)} is {'answering' if streams else 'thinking'}…"
    one = max(inmost, key=lambda node: node.attempt.start_ns).attempt
    if one.kind == "TOOL":
        return f"{cut(one.name, 80)} is running"
    if one.kind == "RETRIEVAL":
        return f"{cut(one.name, 80)} is searching"
    return f"in {cut(one.name, 80)}"


def _agent(node: Node) -> str:
    """Return the name of the agent that an attempt runs for."""
    at: Node | None = node
    while at is not None:
        if at.attempt.kind == "AGENT":
            return at.attempt.name
        at = at.above
    return node.attempt.name


def last_line(fold: SessionFold, head: SessionHead) -> str | None:
    """Return the last line of a session that is worth reading: why it failed, else what its last run answered."""
    tops = sorted(fold.forest.tops.values(), key=lambda place: place.nodes[0].attempt.start_ns)
    for place in reversed(tops[-20:]):
        step = place.seen()
        if head.status in (ERROR, INTERRUPTED) and (error := _error(step)) is not None:
            return error
        if said := step.last.details_end.get(GIST):
            return str(said)
    return None


def waits_of(fold: SessionFold) -> Iterator[tuple[float, float, str]]:
    """Yield the stretches between runs in which nobody worked, with for what was waited."""
    attempts = [node.attempt for place in fold.forest.tops.values() for node in place.nodes]
    if not attempts:
        return
    ends = {one.end_ns: one for one in attempts if one.end_ns is not None}
    found = stretches((one for one in attempts), max(one.end_ns or one.start_ns for one in attempts))
    for before, after in pairwise(found):
        ended = ends.get(before.end_ns)
        why = "turn" if ended is None else {"interrupted": _reason(ended) or "turn"}.get(ended.outcome or "", "turn")
        yield before.end_ns // 1000 / 1000, after.start_ns // 1000 / 1000, why
