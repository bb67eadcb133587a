"""What the server says of many sessions together: the panels of the dashboard, the timeline, two sessions compared.

As in `wire.py` times are milliseconds since the epoch, and what is not known is null. Each panel has the SQL that makes
the same of the journal, as `agent-journal query` takes it.
"""

from __future__ import annotations

import msgspec


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of a window amount to.

    `p50_ms`, `p95_ms`: how long those took that have ended. `cost_usd` is what is known; `unpriced_calls` cost more.
    """

    sessions: int
    running: int
    failed: int
    events: int
    steps: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    unpriced_calls: int
    sql: str


class StateCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions are in a state, for a reason."""

    status: str
    reason: str | None
    sessions: int


class States(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions by state: those that all filters but the one of the state leave."""

    rows: tuple[StateCount, ...]
    sql: str


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of one agent, user or tag amount to; `name` is null of those that say none.

    `began`: how many began in each of the window's parts, the first at `Dashboard.began_ms`.
    """

    name: str | None
    sessions: int
    running: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    tokens: int
    cost_usd: float | None
    unpriced_calls: int
    began: tuple[int, ...] = ()


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions by agent, user or tag, the most first. `count`: how many names there are, shown or not."""

    rows: tuple[Share, ...]
    count: int
    sql: str


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of one cause that began in steps of one name, or sessions whose process is gone."""

    cause: str
    name: str
    errors: int
    sessions: int


class Causes(msgspec.Struct, frozen=True, kw_only=True):
    """Errors by cause, the most frequent first. `count`: how many causes there are, shown or not."""

    rows: tuple[Cause, ...]
    count: int
    sql: str


class ToolTime(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one tool that ended."""

    name: str
    calls: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None


class ToolTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Tools, the slowest first. `count`: how many were used, shown or not."""

    rows: tuple[ToolTime, ...]
    count: int
    sql: str


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one type: how many, and of each part of the time that has any its number and how many."""

    type: str
    events: int
    points: tuple[tuple[int, int], ...]


class Lanes(msgspec.Struct, frozen=True, kw_only=True):
    """Events by type over a time. Part `n` of it begins at `from_ms + n * width_ms`; `from_ms` is 0 without events."""

    rows: tuple[Lane, ...]
    from_ms: float
    until_ms: float
    width_ms: float
    sql: str


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that fires. `session_id` is that which it is about, where it is about one."""

    rule: str
    severity: str
    summary: str
    began_ms: float
    session_id: str | None = None


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """The panels. `window`: what was asked for as `since`, or what was chosen: 24h, 7d, 30d, all.

    Sessions count that were updated since `since_ms`, events since `events_since_ms`: later where there are more than
    were read by now. `reading`: there will be more of them in a moment. `alerts` fire now, whatever was asked for.
    """

    at_ms: float
    window: str
    since_ms: float | None
    until_ms: float | None
    events_since_ms: float | None
    reading: bool
    totals: Totals
    states: States
    agents: Shares
    users: Shares
    tags: Shares
    began_ms: float
    began_width_ms: float
    alerts: tuple[AlertRow, ...]
    causes: Causes
    tools: ToolTimes
    lanes: Lanes


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event in the timeline's table. `text`: the first words of what it says."""

    at_ms: float
    session_id: str
    event_id: str
    type: str
    level: str
    name: str | None
    step_id: str | None
    outcome: str | None
    took_ms: float | None
    text: str


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Events by type in a time, and the latest of them one by one. `more`: how many are not shown."""

    lanes: Lanes
    events: tuple[EventRow, ...]
    more: int
    events_since_ms: float | None
    reading: bool
    sql: str
