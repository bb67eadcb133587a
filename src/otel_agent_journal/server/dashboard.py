"""Answers of the dashboard, made once for all who ask: panels, the timeline, and which sessions a number counts.

What was answered is given again for seconds, longer where it took longer to make, so that many browsers on a large
store cost what one does. Sessions beyond `MAX_SESSIONS` and events that there was no time to read shorten the window,
and the answer says so: what it counts, it counts whole.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from heapq import nlargest
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from otel_agent_journal.alerts.book import firing, keeps_alerts
from otel_agent_journal.alerts.state import Alert
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.about import About
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.reading.activity import AT_ONCE_S, Activity
from otel_agent_journal.reading.gists import LONGEST, gist_of
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.moments import moment_of
from otel_agent_journal.reading.stats import USER
from otel_agent_journal.server import panel_sql, panels
from otel_agent_journal.server.panel_sql import SHOWN_EVENTS, Wanted
from otel_agent_journal.server.panels import Counted, Known
from otel_agent_journal.server.rows import cut
from otel_agent_journal.server.wire_dashboard import AlertRow, Dashboard, EventRow, Timeline
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import SessionFilter

ALL: Final = "all"
WINDOWS: Final = ("24h", "7d", "30d")  # of which the first that has a session is shown where none is asked for
MAX_SESSIONS: Final = 50_000
MOST_ALERTS: Final = 50
_ANSWERS: Final = 64
_LEAST_S: Final = 2.0  # for which an answer holds
_MOST_S: Final = 60.0
_READING_S: Final = 0.4  # and where more is being read
_WAIT_S: Final = 5.0  # for events that a list goes by
_TIMES_AS_LONG: Final = 10  # as it took to make
_PARTS: Final = 120  # of the panel's timeline
_PARTS_ZOOMED: Final = 240
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)
_UNIT_NS: Final = {"s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9}
_AFTER_ANY_ID: Final = "~"
_SAYING: Final = ("text", "message", "content", "stage", "reason")

_Answer = TypeVar("_Answer")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, as it stands in a URL; `since` is `24h`, `all`, a time as RFC 3339, or None for a choice."""

    since: str | None = None
    until: str | None = None
    states: tuple[str, ...] = ()
    agent: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    rows: int = 8


class _Listed(NamedTuple):
    """The sessions of a window, the latest updated first, and when it begins."""

    window: str
    since_ns: int | None
    span: str | None
    sessions: Sequence[Counted]


class Board:
    """The dashboard of a journal. Safe in any number of threads: one answer is made at a time.

    Args:
        open_journal: opens what is read, when that is first asked for.
        monotonic: seconds that only grow.
        at_once_s: for how long events are read before an answer is given with those that are known.
    """

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        at_once_s: float = AT_ONCE_S,
    ) -> None:
        self._open = open_journal
        self._monotonic = monotonic
        self._at_once_s = at_once_s
        self._lock = threading.Lock()
        self._answers: OrderedDict[Any, tuple[float, Any]] = OrderedDict()

    @cached_property
    def _journal(self) -> Journal:
        return self._open()

    @cached_property
    def _activity(self) -> Activity:
        return Activity(self._journal.store, monotonic=self._monotonic)

    def close(self) -> None:
        """Close the journal, where it was opened."""
        with self._lock:
            journal = self.__dict__.pop("_journal", None)
            if journal is not None:
                journal.close()

    def dashboard(self, asked: Asked) -> Dashboard:
        """Return the panels.

        Raises:
            ValueError: `since` or `until` is no time.
            StoreUnreachable: and other errors of the store.
        """
        return self._kept(("dashboard", asked), lambda: self._dashboard(asked), _is_being_read)

    def timeline(self, asked: Asked, types: Collection[str] = ()) -> Timeline:
        """Return the events of a time by type, and the latest of these types one by one. Raises as `dashboard`."""
        chosen = tuple(sorted(types))
        return self._kept(("timeline", asked, chosen), lambda: self._timeline(asked, chosen), _is_being_read)

    def sessions_with(self, asked: Asked, *, cause: str | None = None, tool: str | None = None) -> frozenset[str]:
        """Return the sessions in which an error of a cause began, or a call of a tool ended. Raises as `dashboard`."""

        def find() -> frozenset[str]:
            ends_s = self._monotonic() + _WAIT_S
            listed, wanted, known, since_ns = self._read(asked)
            while since_ns > (wanted.since_ns or 0) and self._monotonic() < ends_s:
                listed, wanted, known, since_ns = self._read(asked)
            return frozenset(_with(known, _gone(listed, cause), wanted, since_ns, cause, tool))

        return self._kept(("sessions", asked, cause, tool), find, lambda _: False)

    # --- one answer -----------------------------------------------------------------------------------------------

    def _kept(self, key: Any, make: Callable[[], _Answer], reading: Callable[[_Answer], bool]) -> _Answer:
        with self._lock:
            return self._once(key, make, reading)

    def _once(self, key: Any, make: Callable[[], _Answer], reading: Callable[[_Answer], bool]) -> _Answer:
        """Return an answer that still holds, or make it; the lock is held."""
        began_s = self._monotonic()
        until_s, answer = self._answers.get(key, (0.0, None))
        if began_s < until_s:
            return answer
        answer = make()
        now_s = self._monotonic()
        took_s = now_s - began_s
        holds_s = max(_READING_S, took_s) if reading(answer) else max(_LEAST_S, _TIMES_AS_LONG * took_s)
        self._answers[key] = now_s + min(_MOST_S, holds_s), answer
        self._answers.move_to_end(key)
        while len(self._answers) > _ANSWERS:
            self._answers.popitem(last=False)
        return answer

    def _dashboard(self, asked: Asked) -> Dashboard:
        now_ns = self._journal.clock()
        listed, wanted, known, since_ns = self._read(asked)
        everyone = _of(listed.sessions, wanted, states=False)
        sessions = [one for one in everyone if panels.in_state(one.head, wanted.states)]
        first_ns = min((one.head.started_ns for one in everyone), default=now_ns)
        sparks = panels.Parts(wanted.since_ns or first_ns, wanted.until_ns or now_ns, panels.SPARKS)
        return Dashboard(
            at_ms=now_ns / panels.NS_PER_MS,
            window=listed.window,
            since_ms=panels.ms(wanted.since_ns),
            until_ms=panels.ms(wanted.until_ns),
            events_since_ms=since_ns / panels.NS_PER_MS if since_ns else None,
            reading=since_ns > (wanted.since_ns or 0),
            totals=panels.totals(sessions, wanted),
            states=panels.states(everyone, wanted),
            agents=panels.shares(sessions, "agent", wanted, sparks),
            users=panels.shares(sessions, "user", wanted, sparks),
            tags=panels.shares(sessions, "tag", wanted, sparks),
            began_ms=sparks.from_ms,
            began_width_ms=sparks.width_ms,
            alerts=tuple(map(_alert_row, islice(self._firing(), MOST_ALERTS))),
            causes=panels.causes(sessions, known, wanted, since_ns),
            tools=panels.tools(known, wanted, since_ns),
            lanes=panels.lanes(known, wanted, since_ns, now_ns, _PARTS),
        )

    def _firing(self) -> list[Alert]:
        return firing(self._journal.store) if keeps_alerts(self._journal.store) else []

    def _timeline(self, asked: Asked, types: tuple[str, ...]) -> Timeline:
        _, wanted, known, since_ns = self._read(asked)
        lanes = panels.lanes(known, wanted, since_ns, self._journal.clock(), _PARTS_ZOOMED)
        events = self._latest(known, wanted, since_ns, types)
        count = sum(lane.events for lane in lanes.rows if not types or lane.type in types)
        return Timeline(
            lanes=lanes,
            events=events,
            more=max(0, count - len(events)),
            events_since_ms=since_ns / panels.NS_PER_MS if since_ns else None,
            reading=since_ns > (wanted.since_ns or 0),
            sql=panel_sql.events(wanted, since_ns, types),
        )

    # --- what it is made of -----------------------------------------------------------------------------------------

    def _read(self, asked: Asked) -> tuple[_Listed, Wanted, Known, int]:
        """Return the window's sessions, what is wanted of them, their events, and from when on these are known."""
        listed = self._listed(asked.since)
        wanted = Wanted(
            since_ns=listed.since_ns,
            until_ns=None if asked.until is None else moment_of(asked.until, end=True),
            span=listed.span,
            states=asked.states,
            agent=asked.agent,
            user=asked.user,
            tags=asked.tags,
            rows=asked.rows,
        )
        heads = [one.head for one in listed.sessions]
        since_ns = self._activity.refresh(heads, listed.since_ns or 0, at_once_s=self._at_once_s)
        chosen = [one.head for one in _of(listed.sessions, wanted, until=False)]
        return listed, wanted, list(self._activity.known(chosen)), since_ns

    def _listed(self, since: str | None) -> _Listed:
        if since is None:
            newest = self._journal.newest()
            updated_ns = 0 if newest is None else newest.updated_ns
            now_ns = self._journal.clock()
            fitting = (one for one in WINDOWS if updated_ns >= now_ns - _span_ns(one))
            since = next(fitting, WINDOWS[0] if newest is None else ALL)
        window = since
        return self._once(("heads", window), lambda: self._list(window), lambda _: False)

    def _list(self, window: str) -> _Listed:
        span = window if _SPAN.fullmatch(window) else None
        since_ns = None if window == ALL else self._journal.clock() - _span_ns(window) if span else moment_of(window)
        heads = self._journal.heads(SessionFilter(since_ns=since_ns))
        sessions = [Counted(_brief(head), self._journal.cost(head)) for head in islice(heads, MAX_SESSIONS + 1)]
        if len(sessions) > MAX_SESSIONS:  # those of the last moment may not be all of it
            since_ns, span = sessions.pop().head.updated_ns + 1, None
            sessions = [one for one in sessions if one.head.updated_ns >= since_ns]
        return _Listed(window, since_ns, span, sessions)

    def _latest(self, known: Known, wanted: Wanted, since_ns: int, types: Collection[str]) -> tuple[EventRow, ...]:
        """Return the latest events of a time, read where it is known that they are."""
        until_ns = wanted.until_ns
        moments = nlargest(
            SHOWN_EVENTS,
            (
                (at_ns, head.session_id, head)
                for head, facts in known
                for event_type, times in facts.times.items()
                if not types or event_type in types
                for at_ns in times
                if at_ns >= since_ns and (until_ns is None or at_ns <= until_ns)
            ),
            key=lambda one: one[:2],
        )
        spans: dict[str, tuple[SessionHead, int, int]] = {}
        for at_ns, session_id, head in moments:  # the latest first
            _, last_ns = spans.get(session_id, (head, at_ns, at_ns))[1:]
            spans[session_id] = head, at_ns, last_ns
        found = [
            (event, head.session_id)
            for head, first_ns, last_ns in spans.values()
            for event in self._between(head, first_ns, last_ns)
            if not types or event.type in types
        ]
        latest = nlargest(SHOWN_EVENTS, found, key=lambda one: (one[0].timestamp_ns, one[0].event_id))
        return tuple(_row(event, session_id) for event, session_id in latest)

    def _between(self, head: SessionHead, first_ns: int, last_ns: int) -> Iterable[JournalEvent]:
        after = (first_ns - 1, _AFTER_ANY_ID) if first_ns > 0 else None
        for event in read_whole(self._journal.store, head.session_id, after, head=head):
            if event.timestamp_ns > last_ns:
                return
            yield event


def _is_being_read(answer: Dashboard | Timeline) -> bool:
    return answer.reading


def _span_ns(span: str) -> int:
    return int(span[:-1]) * _UNIT_NS[span[-1]]


def _brief(head: SessionHead) -> SessionHead:
    """Return a head with what is shown and counted of it alone: thousands are kept."""
    about = About(tags=head.about.tags, labels=head.about.labels)
    return msgspec.structs.replace(head, writers={}, open_writers=(), about=about, snapshot=b"", cursor=None)


def _of(sessions: Iterable[Counted], wanted: Wanted, *, states: bool = True, until: bool = True) -> list[Counted]:
    """Return the sessions that are wanted."""
    return [
        one
        for one in sessions
        if (not until or wanted.until_ns is None or one.head.started_ns <= wanted.until_ns)
        and (not states or panels.in_state(one.head, wanted.states))
        and (wanted.agent is None or one.head.agent == wanted.agent)
        and (wanted.user is None or one.head.about.says(USER, wanted.user))
        and all(map(one.head.about.has, wanted.tags))
    ]


def _gone(listed: _Listed, cause: str | None) -> Iterable[str]:
    return (one.head.session_id for one in listed.sessions if cause is not None and one.head.reason == cause)


def _with(
    known: Known, gone: Iterable[str], wanted: Wanted, since_ns: int, cause: str | None, tool: str | None
) -> Iterable[str]:
    def within(at_ns: int) -> bool:
        return at_ns >= since_ns and (wanted.until_ns is None or at_ns <= wanted.until_ns)

    yield from gone
    for head, facts in known:
        failed = cause is None or any(one.cause == cause and within(one.at_ns) for one in facts.errors)
        called = tool is None or any(one.name == tool and within(one.at_ns) for one in facts.tools)
        if failed and called:
            yield head.session_id


def _row(event: JournalEvent, session_id: str) -> EventRow:
    return EventRow(
        at_ms=event.timestamp_ns / panels.NS_PER_MS,
        session_id=session_id,
        event_id=event.event_id,
        type=event.type,
        level=event.level,
        name=event.name,
        step_id=event.step_id,
        outcome=event.outcome,
        took_ms=panels.ms(event.duration_ns),
        text=_said(event),
    )


def _said(event: JournalEvent) -> str:
    """Return the first words of what an event says."""
    if event.error is not None:
        told = f"{event.error.type}: {event.error.message}" if event.error.message else event.error.type
    else:
        texts = (event.details.get(name) for name in _SAYING)
        told = gist_of(event) or next((text for text in texts if isinstance(text, str) and text), "")
    line = " ".join(told[: 2 * LONGEST].split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _alert_row(alert: Alert) -> AlertRow:
    return AlertRow(
        rule=alert.rule,
        severity=alert.severity,
        summary=cut(alert.summary),
        began_ms=alert.began_ns / panels.NS_PER_MS,
        session_id=alert.labels.get("session_id"),
    )
