"""What the panels show, folded from heads and from what happened lately. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

from otel_agent_journal.projections.cost import Cost, summed
from otel_agent_journal.projections.head import ERROR, KILLED, LOST, PROCESSING, SessionHead
from otel_agent_journal.projections.quantiles import Quantiles
from otel_agent_journal.reading.activity import Facts
from otel_agent_journal.reading.stats import USER
from otel_agent_journal.server import panel_sql as sql
from otel_agent_journal.server.panel_sql import Wanted
from otel_agent_journal.server.wire_dashboard import (
    Cause,
    Causes,
    Lane,
    Lanes,
    Share,
    Shares,
    StateCount,
    States,
    ToolTime,
    ToolTimes,
    Totals,
)

NS_PER_MS: Final = 1_000_000
KEPT_SHARES: Final = 50
SPARKS: Final = 24  # parts of the window in which it is counted how many sessions began
_DAY_MS: Final = 86_400_000
_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_S: Final = (1, 2, 5, 10, 15, 30)
_WIDTHS_MS: Final = (
    *_MS,
    *(second * 1_000 for second in _S),
    *(minute * 60_000 for minute in _S),
    *(hour * 3_600_000 for hour in (1, 2, 3, 6, 12)),
    *(day * _DAY_MS for day in (1, 2, 5, 10, 30, 100, 365)),
)

Known = Sequence[tuple[SessionHead, Facts]]


class Counted(NamedTuple):
    """A session that counts, and what it cost."""

    head: SessionHead
    cost: Cost


def in_state(head: SessionHead, states: Sequence[str]) -> bool:
    """Tell whether a session is in one of these states: statuses, or reasons of an interruption."""
    return not states or head.status in states or head.reason in states


def took_ns(head: SessionHead) -> int | None:
    """Return how long a session took, None while it runs."""
    return None if not head.started_ns or head.ended_ns is None else max(0, head.ended_ns - head.started_ns)


def ms(time_ns: int | None) -> float | None:
    """Return a time in milliseconds."""
    return None if time_ns is None else time_ns / NS_PER_MS


def totals(sessions: Sequence[Counted], wanted: Wanted) -> Totals:
    """Return what sessions amount to."""
    heads = [one.head for one in sessions]
    cost, took = summed(one.cost for one in sessions), _quantiles(heads)
    return Totals(
        sessions=len(heads),
        running=sum(head.status == PROCESSING for head in heads),
        failed=sum(head.status == ERROR for head in heads),
        events=sum(head.events for head in heads),
        steps=sum(head.steps for head in heads),
        errors=sum(head.errors for head in heads),
        p50_ms=ms(took.at(0.5)),
        p95_ms=ms(took.at(0.95)),
        input_tokens=sum(head.input_tokens for head in heads),
        output_tokens=sum(head.output_tokens for head in heads),
        cost_usd=cost.usd,
        unpriced_calls=cost.unpriced,
        sql=sql.totals(wanted),
    )


def states(sessions: Iterable[Counted], wanted: Wanted) -> States:
    """Return sessions by state."""
    counts = Counter((one.head.status, one.head.reason) for one in sessions)
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or "~"))
    return States(
        rows=tuple(StateCount(status=status, reason=reason, sessions=count) for (status, reason), count in rows),
        sql=sql.states(wanted),
    )


_names: dict[str, Callable[[SessionHead], Sequence[str | None]]] = {
    "agent": lambda head: (head.agent,),
    "user": lambda head: (head.about.labels.get(USER),),
    "tag": lambda head: head.about.tags,
}


def shares(sessions: Iterable[Counted], by: str, wanted: Wanted, parts: Parts) -> Shares:
    """Return sessions by agent, user or tag."""
    groups: dict[str | None, list[Counted]] = defaultdict(list)
    for one in sessions:
        for name in _names[by](one.head):
            groups[name].append(one)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0] is None, item[0] or ""))
    return Shares(
        rows=tuple(_share(name, ones, parts) for name, ones in ordered[:KEPT_SHARES]),
        count=len(groups),
        sql=sql.shares(wanted, by),
    )


def _share(name: str | None, sessions: Sequence[Counted], parts: Parts) -> Share:
    heads = [one.head for one in sessions]
    cost, took = summed(one.cost for one in sessions), _quantiles(heads)
    began = Counter(parts.number(head.started_ns) for head in heads)
    return Share(
        name=name,
        sessions=len(heads),
        running=sum(head.status == PROCESSING for head in heads),
        failed=sum(head.status == ERROR for head in heads),
        p50_ms=ms(took.at(0.5)),
        p95_ms=ms(took.at(0.95)),
        tokens=sum(head.input_tokens + head.output_tokens for head in heads),
        cost_usd=cost.usd,
        unpriced_calls=cost.unpriced,
        began=tuple(began[number] for number in range(parts.count)),
    )


def _quantiles(heads: Iterable[SessionHead]) -> Quantiles:
    took = Quantiles()
    for head in heads:
        took_of_it = took_ns(head)
        if took_of_it is not None:
            took.add(took_of_it)
    return took


# --- of events ----------------------------------------------------------------------------------------------------


def causes(sessions: Iterable[Counted], known: Known, wanted: Wanted, since_ns: int) -> Causes:
    """Return errors by cause, where they began, and sessions whose process is gone."""
    errors: Counter[tuple[str, str]] = Counter()
    in_sessions: Counter[tuple[str, str]] = Counter()
    for _, facts in known:
        found = Counter((one.cause, one.name) for one in facts.errors if _within(one.at_ns, since_ns, wanted))
        errors.update(found)
        in_sessions.update(found.keys())
    gone = Counter((one.head.reason or "", "") for one in sessions if one.head.reason in (KILLED, LOST))
    rows = chain(
        ((*cause, count, in_sessions[cause]) for cause, count in errors.items()),
        ((*cause, count, count) for cause, count in gone.items()),
    )
    ordered = sorted(rows, key=lambda row: (-row[2], row[0], row[1]))
    return Causes(
        rows=tuple(Cause(cause=row[0], name=row[1], errors=row[2], sessions=row[3]) for row in ordered[: wanted.rows]),
        count=len(ordered),
        sql=sql.causes(wanted, since_ns),
    )


def tools(known: Known, wanted: Wanted, since_ns: int) -> ToolTimes:
    """Return tools by how long their calls took."""
    took: dict[str, Quantiles] = defaultdict(Quantiles)
    calls: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for _, facts in known:
        for one in facts.tools:
            if _within(one.at_ns, since_ns, wanted):
                calls[one.name] += 1
                failed[one.name] += one.failed
                if one.took_ns is not None:
                    took[one.name].add(one.took_ns)
    found = {name: took[name].at(0.95) for name in calls}
    ordered = sorted(found, key=lambda name: (-(-1 if found[name] is None else found[name] or 0), name))
    return ToolTimes(
        rows=tuple(
            ToolTime(
                name=name, calls=calls[name], failed=failed[name], p50_ms=ms(took[name].at(0.5)), p95_ms=ms(found[name])
            )
            for name in ordered[: wanted.rows]
        ),
        count=len(ordered),
        sql=sql.tools(wanted, since_ns),
    )


def lanes(known: Known, wanted: Wanted, since_ns: int, now_ns: int, at_most: int) -> Lanes:
    """Return events by type, counted in parts of the time, of which there are so many at most."""
    ends_ns = now_ns if wanted.until_ns is None else wanted.until_ns
    begins_ns = since_ns
    if wanted.since_ns is None or since_ns != wanted.since_ns:  # no beginning was asked for: the first event's
        begins_ns = min((min(times, default=ends_ns) for times in _times(known, since_ns)), default=ends_ns)
        begins_ns = max(begins_ns, since_ns)
    parts = Parts(begins_ns, max(ends_ns, begins_ns), at_most)
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for _, facts in known:
        for event_type, times in facts.times.items():
            counts[event_type].update(parts.number(at_ns) for at_ns in times if _within(at_ns, since_ns, wanted))
    ordered = sorted((one for one in counts.items() if one[1]), key=lambda item: (-item[1].total(), item[0]))
    return Lanes(
        rows=tuple(
            Lane(type=event_type, events=found.total(), points=tuple(sorted(found.items())))
            for event_type, found in ordered
        ),
        from_ms=parts.from_ms,
        until_ms=ends_ns / NS_PER_MS,
        width_ms=parts.width_ms,
        sql=sql.lanes(wanted, since_ns, parts.width_ms),
    )


def _times(known: Known, since_ns: int) -> Iterator[list[int]]:
    for _, facts in known:
        for times in facts.times.values():
            yield [at_ns for at_ns in times if at_ns >= since_ns]


def _within(at_ns: int, since_ns: int, wanted: Wanted) -> bool:
    return at_ns >= since_ns and (wanted.until_ns is None or at_ns <= wanted.until_ns)


class Parts:
    """A time in parts of one length, a round one, so many at most; the first begins at a multiple of it."""

    def __init__(self, begins_ns: int, ends_ns: int, at_most: int) -> None:
        span_ms = max(0, ends_ns - begins_ns) / NS_PER_MS
        fitting = (width for width in _WIDTHS_MS if span_ms / width <= at_most - 1)
        self.width_ms = next(fitting, _WIDTHS_MS[-1])
        self.from_ms = begins_ns // NS_PER_MS // self.width_ms * self.width_ms
        self.count = max(1, self.number(ends_ns) + 1)

    def number(self, at_ns: int) -> int:
        """Return the number of the part that a time lies in, from 0."""
        return (at_ns // NS_PER_MS - self.from_ms) // self.width_ms
