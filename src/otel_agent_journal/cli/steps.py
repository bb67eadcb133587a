"""Steps for people and for programs: the printed waterfall, and the same rows as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.cli import money, readable
from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.event import Usage

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Attempt, Step, StepTree

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
    "input_tokens",
    "output_tokens",
    *money.KEYS,
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
_MAX_LABEL: Final = 72
_MAX_FORKS: Final = 5  # that are named
_LEAST_NAME: Final = 24  # characters of a label for kind and name, however deep a step is
_LEAST_LEVELS: Final = 3
_BAR: Final = 24
_WIDE: Final = 110  # columns of a terminal from which on the bar has its full width


def rows(
    session_id: str, steps: Iterable[Step], last_seen: Mapping[str, int], costs: Mapping[str, Cost]
) -> Iterator[dict[str, Any]]:
    """Yield steps as data.

    Args:
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
        "duration_ms": None if step.end_ns is None else max(0, step.end_ns - step.start_ns) // readable.NS_PER_MS,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        **money.keys_of(money.of_step(step, costs)),
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


def headline(output: Output, head: SessionHead, now_ns: int, cost: str = "") -> Iterator[str]:
    """Yield the lines above a session's tree. `cost`: of its calls, as it is shown."""
    color = {"COMPLETED": "green", "ERROR": "red", "PROCESSING": "cyan"}.get(head.status, "yellow")
    status = f"{head.status} ({head.reason.replace('_', ' ')})" if head.reason else head.status
    facts = [readable.plural(head.steps, "step")]
    if head.errors:
        facts.append(output.paint(readable.plural(head.errors, "error"), "red"))
    tokens = head.input_tokens + head.output_tokens
    if tokens:
        facts.append(f"{readable.count(tokens)} tokens")
    if cost and cost != money.NOT_KNOWN:  # which the rows of its calls say
        facts.append(cost)
    end_ns = head.ended_ns if head.ended_ns is not None else now_ns if head.status == "PROCESSING" else None
    if head.started_ns and end_ns is not None:
        facts.append(readable.duration(end_ns - head.started_ns))
    agent = output.paint(readable.one_line(head.agent or "session"), "bold")
    yield f"{agent}  {output.paint(status, color)}  {'  '.join(facts)}"
    where = [f"session {readable.one_line(head.session_id)}"]
    if head.started_ns:
        where.append(f"started {readable.clock(head.started_ns, date=True)}")
    if head.stage:
        done = "" if head.progress is None else f" {head.progress:g} %"
        where.append(f"stage {readable.one_line(head.stage)}{done}")
    if head.status == "PROCESSING" or head.reason in ("killed", "lost"):
        last_ns = max([head.updated_ns, *head.writers.values()]) if head.status == "PROCESSING" else head.ended_ns
        last_ns = last_ns or head.updated_ns
        where.append(f"last seen {readable.clock(last_ns)} ({readable.ago(last_ns, now_ns)})")
    yield output.paint("  ".join(where), "dim")
    if head.forked_from:
        yield output.paint(f"fork of {readable.one_line(head.forked_from)}, whose steps come before these", "dim")
    if head.forks:
        named = ", ".join(readable.one_line(one, 40) for one in head.forks[:_MAX_FORKS])
        more = f" and {len(head.forks) - _MAX_FORKS} more" if len(head.forks) > _MAX_FORKS else ""
        yield output.paint(f"forks {named}{more}", "dim")
    if said := readable.said_of(head.about):
        yield output.paint(f"tags {said}", "dim")
    if head.about.processes:
        before = len(head.about.processes) - 1
        others = f"  the latest of {before + 1} processes" if before else ""
        yield output.paint(f"process {readable.process(head.about.processes[-1])}{others}", "dim")


def waterfall(
    output: Output,
    tree: StepTree,
    shown: list[Step],
    last_seen: Mapping[str, int],
    now_ns: int,
    costs: Mapping[str, Cost],
) -> Iterator[str]:
    """Yield one line a step: branch, outcome, name, duration, tokens, cost, when it ran, and what went wrong."""
    from otel_agent_journal.cli.table import cell_len, fit

    if not shown:
        return
    digits = len(str(max(step.number for step in shown)))
    room = min(max(20, output.width - 23 - digits), _MAX_LABEL) if output.tty else _MAX_LABEL * 4
    branches = _branches(shown, max(_LEAST_LEVELS, (room - _LEAST_NAME) // 3))
    labels = [f"{branch}{MARKS[step.status][0]} {label(step)}" for step, branch in branches]
    width = min(max(cell_len(text) for text in labels), room)
    begin_ns = min(step.start_ns for step in shown)
    end_ns = max([now_ns if step.end_ns is None else step.end_ns for step in shown])
    spent = {step.number: money.shown(_cost(tree, step, costs)) for step in shown} if costs else {}
    money_width = max((cell_len(text) + 1 for text in spent.values() if text), default=0)
    bar_width = _bar_width(output, digits + 1 + width + money_width)
    taken = digits + width + 18 + money_width + (bar_width + 3 if bar_width else 0)
    left = output.width - taken if output.tty else 400
    for step, text in zip(shown, labels, strict=True):
        took = readable.duration((now_ns if step.end_ns is None else step.end_ns) - step.start_ns)
        usage = tree.totals(step).usage if step.kind == "AGENT" and step.depth == 0 else usage_of(step)
        tokens = (usage.input_tokens + usage.output_tokens) if usage else 0
        cells = [
            output.paint(f"{step.number:>{digits}}", "dim"),
            _painted(output, fit(text, width), MARKS[step.status]),
            f"{took:>8}",
            f"{readable.count(tokens) if tokens else '':>6}",
            *([f"{spent[step.number]:>{money_width - 1}}"] if money_width else []),
        ]
        if bar_width:
            cells.append(output.paint(_bar(step, begin_ns, end_ns, now_ns, bar_width), MARKS[step.status][1]))
        line = " ".join(cells)
        remark = remark_of(step, last_seen, now_ns)
        remark = readable.one_line(remark, 400) if remark else ""
        color = "yellow" if step.status == "ok" else MARKS[step.status][1]
        if remark and len(remark) <= left:
            line += " " + output.paint(remark, color)
        yield line.rstrip()
        if remark and len(remark) > left:
            indent = " " * min(digits + 3 * step.depth + 3, 40)
            yield indent + output.paint(readable.one_line(remark, max(20, output.width - len(indent) - 1)), color)


def _cost(tree: StepTree, step: Step, costs: Mapping[str, Cost]) -> Cost:
    """Return what a step cost; an outermost agent with all beneath it, as its tokens are."""
    from otel_agent_journal.projections.paid import cost_within

    return cost_within(tree, step, costs) if step.kind == "AGENT" and step.depth == 0 else money.of_step(step, costs)


def label(step: Step) -> str:
    """Return what a step is called in a tree."""
    again = f" ×{len(step.attempts)}" if len(step.attempts) > 1 else ""
    orphan = " (its parent is not in the journal)" if step.orphan else ""
    return f"{step.kind.lower()} {_name(step.name)}{again}{orphan}"


@lru_cache(maxsize=1000)
def _name(name: str) -> str:
    return readable.one_line(name, 60)


def remark_of(step: Step, last_seen: Mapping[str, int], now_ns: int) -> str:
    """Return what should be said of a step that did not simply succeed."""
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
    failed = [attempt for attempt in step.attempts if attempt.outcome == "error" and attempt.error is not None]
    if not failed or failed[-1].error is None:
        return ""
    text = readable.failure(failed[-1].error)
    raised_at = failed[-1].details_end.get("raised_at")
    if isinstance(raised_at, str) and failed[-1].began_error:
        text += f" ({raised_at.rpartition('/')[2]})"
    return text if last.outcome == "error" else f"attempt {failed[-1].ordinal} failed: {text}"


def _painted(output: Output, text: str, mark: tuple[str, str]) -> str:
    branch, found, rest = text.partition(mark[0])
    return f"{output.paint(branch, 'dim')}{output.paint(found, mark[1])}{rest}"


def _branches(shown: list[Step], levels: int) -> Iterator[tuple[Step, str]]:
    """Pair each step with the lines that join it to its parent, by looking which depths go on below it.

    Of a step that is deeper only so many `levels` are drawn, with the number of those left out before them.
    """
    goes_on: list[bool] = []
    below: list[list[bool]] = []
    for step in reversed(shown):
        del goes_on[step.depth + 1 :]
        goes_on.extend([False] * (step.depth + 1 - len(goes_on)))
        below.append(goes_on[max(1, step.depth - levels + 1) :])
        goes_on[step.depth] = True
    for step, drawn in zip(shown, reversed(below), strict=True):
        left_out = f"+{step.depth - len(drawn)} " if step.depth > len(drawn) else ""
        stems = "".join("│  " if more else "   " for more in drawn[:-1])
        yield step, left_out + stems + ("├─ " if drawn[-1] else "└─ ") if drawn else ""


def _bar_width(output: Output, label_width: int) -> int:
    if not output.tty or output.width >= _WIDE:
        return _BAR
    return _BAR // 2 if output.width >= label_width + _BAR // 2 + 20 else 0


def _bar(step: Step, begin_ns: int, end_ns: int, now_ns: int, width: int) -> str:
    total = max(1, end_ns - begin_ns)
    left = (step.start_ns - begin_ns) * width // total
    right = -((begin_ns - (now_ns if step.end_ns is None else step.end_ns)) * width // total)
    left = min(left, width - 1)
    right = min(max(right, left + 1), width)
    return f"│{' ' * left}{'━' * (right - left)}{' ' * (width - right)}│"


def _time(ns: int | None) -> str | None:
    return None if ns is None else format_timestamp(ns)
