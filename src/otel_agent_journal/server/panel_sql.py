"""The SQL of each panel: what `agent-journal query` makes of the journal is what the panel shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.projections.head import REASONS

SHOWN_EVENTS: Final = 100
_NS_PER_MS: Final = 1_000_000
_UNITS: Final = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))
_SPANS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions, and when. `span`: how long before now `since_ns` is, as `24h`, where it was given so.

    `states`: statuses, and reasons of an interruption. `rows`: of causes and of tools, at most.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    span: str | None = None
    states: tuple[str, ...] = ()
    agent: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    rows: int = 8


def text(value: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def moment(time_ns: int) -> str:
    """Return a time as SQL writes it."""
    return f"{text(format_timestamp(time_ns))}::TIMESTAMP_NS"


def interval(width_ms: int) -> str:
    """Return a length of time as SQL writes it, in the largest unit that it is a multiple of."""
    unit, each = next(((unit, each) for unit, each in _UNITS if not width_ms % each), ("millisecond", 1))
    count = width_ms // each
    return f"INTERVAL {count} {unit}{'s' if count != 1 else ''}"


def since(wanted: Wanted, column: str, since_ns: int | None = None) -> list[str]:
    """Return the conditions on a column of times; `since_ns`: from when on instead."""
    begins = wanted.since_ns if since_ns is None else since_ns
    found: list[str] = []
    if begins is not None:
        ago = wanted.span if begins == wanted.since_ns else None
        since = moment(begins) if ago is None else f"ago(INTERVAL {ago[:-1]} {_SPANS[ago[-1]]})"
        found.append(f"{column} >= {since}")
    if wanted.until_ns is not None:
        found.append(f"{column} <= {moment(wanted.until_ns)}")
    return found


def whose(wanted: Wanted, *, states: bool = True) -> list[str]:
    """Return the conditions on sessions beside time."""
    found: list[str] = []
    if states and wanted.states:
        statuses = ", ".join(text(one) for one in wanted.states if one not in REASONS)
        reasons = ", ".join(text(one) for one in wanted.states if one in REASONS)
        either = [f"{column} IN ({ones})" for column, ones in (("status", statuses), ("reason", reasons)) if ones]
        found.append(" OR ".join(either) if len(either) == 1 else f"({' OR '.join(either)})")
    if wanted.agent is not None:
        found.append(f"agent = {text(wanted.agent)}")
    if wanted.user is not None:
        found.append(f"{_label('user')} = {text(wanted.user)}")
    found += map(_tag, wanted.tags)
    return found


def _tag(tag: str) -> str:
    """Return the condition for `About.has`."""
    name, equals, value = tag.partition("=")
    other = f"{_label(name)} = {text(value)}" if equals else f"{_label(name)} IS NOT NULL"
    return f"(coalesce(list_contains(tags, {text(tag)}), false) OR {other})"


def _label(name: str) -> str:
    path = '$."' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"(labels->>{text(path)})"


def _where(conditions: Iterable[str]) -> str:
    found = list(conditions)
    return "" if not found else "\nWHERE " + "\n  AND ".join(found)


def _events_where(wanted: Wanted, since_ns: int | None, *more: str) -> str:
    conditions = [*more, *since(wanted, "timestamp", since_ns)]
    sessions = whose(wanted)
    if sessions:
        conditions.append(f"session_id IN (SELECT session_id FROM sessions WHERE {' AND '.join(sessions)})")  # noqa: S608
    return _where(conditions)


def sessions_where(wanted: Wanted, *more: str, states: bool = True) -> str:
    """Return the WHERE of sessions: those that began by the end of the time and were updated since it began."""
    begins, ends = since(msgspec.structs.replace(wanted, until_ns=None), "updated_at"), wanted.until_ns
    until = [] if ends is None else [f"started_at <= {moment(ends)}"]
    return _where([*more, *begins, *until, *whose(wanted, states=states)])


_AMOUNTS: Final = """count(*) AS sessions,
  count(*) FILTER (status = 'PROCESSING') AS running,
  count(*) FILTER (status = 'ERROR') AS failed"""
_TIMES: Final = """quantile_disc(duration_ms, 0.5) AS p50_ms,
  quantile_disc(duration_ms, 0.95) AS p95_ms"""


def totals(wanted: Wanted) -> str:
    """Return the SQL of `Totals`."""
    return f"""SELECT {_AMOUNTS},
  sum(events) AS events, sum(steps) AS steps, sum(errors) AS errors,
  {_TIMES},
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
  sum(cost_usd) AS cost_usd, sum(unpriced_calls) AS unpriced_calls
FROM sessions{sessions_where(wanted)}"""  # noqa: S608 — printed for people, and quoted by `text`


def states(wanted: Wanted) -> str:
    """Return the SQL of `States`."""
    return f"""SELECT status, reason, count(*) AS sessions
FROM sessions{sessions_where(wanted, states=False)}
GROUP BY ALL ORDER BY sessions DESC, status, reason"""  # noqa: S608


_NAMES: Final = {"agent": "agent", "user": _label("user"), "tag": "unnest(tags)"}


def shares(wanted: Wanted, by: str) -> str:
    """Return the SQL of `Shares`, by agent, user or tag."""
    columns = f"""{_NAMES[by]} AS name, status, duration_ms, input_tokens + output_tokens AS tokens,
    cost_usd, unpriced_calls"""
    return f"""SELECT name, {_AMOUNTS},
  {_TIMES},
  sum(tokens) AS tokens, sum(cost_usd) AS cost_usd, sum(unpriced_calls) AS unpriced_calls
FROM (
  SELECT {columns}
  FROM sessions{sessions_where(wanted).replace(chr(10), chr(10) + "  ")}
)
GROUP BY name ORDER BY sessions DESC, name NULLS LAST"""  # noqa: S608


def causes(wanted: Wanted, since_ns: int | None) -> str:
    """Return the SQL of `Causes`."""
    failed = _events_where(
        wanted, since_ns, "outcome = 'error'", "(details->>'passed_through') IS DISTINCT FROM 'true'"
    )
    gone = sessions_where(wanted, "reason IN ('killed', 'lost')")
    return f"""SELECT coalesce(nullif(error_code, ''), nullif(error_type, ''), 'error') AS cause,
  coalesce(name, '') AS name, count(*) AS errors, count(DISTINCT session_id) AS sessions
FROM events{failed}
GROUP BY ALL
UNION ALL
SELECT reason, '', count(*), count(*)
FROM sessions{gone}
GROUP BY ALL
ORDER BY errors DESC, cause, name LIMIT {wanted.rows}"""  # noqa: S608


def tools(wanted: Wanted, since_ns: int | None) -> str:
    """Return the SQL of `ToolTimes`."""
    ended = _events_where(wanted, since_ns, "event_type IN ('TOOL_END', 'TOOL_ERROR')")
    return f"""SELECT coalesce(name, '') AS name, count(*) AS calls, count(*) FILTER (outcome = 'error') AS failed,
  {_TIMES}
FROM events{ended}
GROUP BY ALL ORDER BY p95_ms DESC NULLS LAST, name LIMIT {wanted.rows}"""  # noqa: S608


def lanes(wanted: Wanted, since_ns: int | None, width_ms: int) -> str:
    """Return the SQL of `Lanes`."""
    return f"""SELECT event_type, time_bucket({interval(width_ms)}, timestamp::TIMESTAMP, TIMESTAMP '1970-01-01') AS at,
  count(*) AS events
FROM events{_events_where(wanted, since_ns)}
GROUP BY ALL ORDER BY ALL"""  # noqa: S608


def events(wanted: Wanted, since_ns: int | None, types: tuple[str, ...]) -> str:
    """Return the SQL of the events of a `Timeline`."""
    of_types = [f"event_type IN ({', '.join(map(text, types))})"] if types else []
    return f"""SELECT timestamp, session_id, event_id, event_type, level, name, step_id, outcome, duration_ms
FROM events{_events_where(wanted, since_ns, *of_types)}
ORDER BY timestamp DESC, event_id DESC LIMIT {SHOWN_EVENTS}"""  # noqa: S608
