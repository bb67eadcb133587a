"""The tables that SQL sees, column by column, and what each column takes from an event, a head or a folded step.

A table is data: names, kinds and functions. Nothing here knows of DuckDB, Arrow or a store, so that documentation and
its tests can list the tables where the extra is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from otel_agent_journal.codec import encode_value
from otel_agent_journal.event import EMPTY, ErrorInfo, JournalEvent, Usage
from otel_agent_journal.projections.cost import NO_CALLS, Call, Cost, Price, cost_of, summed
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.steps import Attempt, Step
from otel_agent_journal.projections.times import waited_ns, worked_ns

TEXT: Final = "VARCHAR"
TEXTS: Final = "VARCHAR[]"
INT: Final = "BIGINT"
REAL: Final = "DOUBLE"
TIME: Final = "TIMESTAMP_NS"
JSON: Final = "JSON"

_NS_PER_MS: Final = 1_000_000
_TOKENS: Final = tuple(Usage.__struct_fields__)


class Column(msgspec.Struct, frozen=True):
    """A column: its name, its DuckDB type, and how it is taken from a row's source.

    `priced`: how it is, where it takes a price to say it. `of` and `part`: where several columns are parts of one
    thing, what gives that of a row's source (and a price), and the part's name; of no thing each is NULL.
    """

    name: str
    kind: str
    value: Callable[[Any], Any]
    priced: Callable[[Any, Price], Any] | None = None
    of: Callable[..., Any] | None = None
    part: str | None = None


class Table(NamedTuple):
    """A table. `times`: columns of which every value lies between a session's first and last event.

    `updated`: those that are the time of the session's last event. `ended`: those that are when it ended, which is
    behind its last event where its process was heard of longer. `reckoned`: those that may lie before the first: a step
    whose START is missing began its duration before its END. `named`: those of which values are named by `Bounds`.
    """

    name: str
    columns: tuple[Column, ...]
    times: frozenset[str]
    updated: frozenset[str] = frozenset()
    reckoned: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    named: Mapping[str, str] = MappingProxyType({"session_id": "session_ids"})


class StepRow(NamedTuple):
    """A step, the session it is of, and, where a priced column is looked at, the calls of that which are paid for."""

    session_id: str
    step: Step
    paid: Mapping[str, Call] = EMPTY


class AttemptRow(NamedTuple):
    """One attempt at a step, and what a `StepRow` has beside a step."""

    session_id: str
    attempt: Attempt
    paid: Mapping[str, Call] = EMPTY


def _json(value: Any) -> str | None:
    """Return a value as JSON text; what is absent or empty is NULL."""
    if value is None or value == EMPTY:
        return None
    return encode_value(value).decode("utf-8")


def _error(error: ErrorInfo | None) -> str | None:
    return None if error is None else _json(msgspec.to_builtins(error))


def _ms(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / _NS_PER_MS


def _known(time_ns: int | None) -> int | None:
    return time_ns or None


def _fields(kind: str, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind, attrgetter(name)) for name in names)


def _of_error(pick: Callable[[Any], ErrorInfo | None]) -> tuple[Column, ...]:
    """Return the four columns of an error; `pick` takes it from a row's source."""

    def part(name: str) -> Callable[[Any], Any]:
        def value(source: Any) -> Any:
            error = pick(source)
            return None if error is None else getattr(error, name)

        return value

    return (
        Column("error", JSON, lambda source: _error(pick(source))),
        *(Column(f"error_{name}", TEXT, part(name), of=pick, part=name) for name in ("type", "message", "code")),
    )


def _of_usage(pick: Callable[[Any], Usage | None]) -> tuple[Column, ...]:
    """Return the columns of the tokens used; `pick` takes the usage from a row's source."""

    def part(name: str) -> Callable[[Any], Any]:
        def value(source: Any) -> Any:
            usage = pick(source)
            return None if usage is None else getattr(usage, name)

        return value

    return tuple(Column(name, INT, part(name), of=pick, part=name) for name in _TOKENS)


def _of_cost(pick: Callable[[Any, Price], Cost]) -> tuple[Column, ...]:
    """Return the two columns of a cost; `pick` takes it from a row's source, by a price."""
    return (
        Column("cost_usd", REAL, _nothing, lambda source, price: pick(source, price).usd, of=pick, part="usd"),
        Column(
            "unpriced_calls",
            INT,
            _nothing,
            lambda source, price: pick(source, price).unpriced,
            of=pick,
            part="unpriced",
        ),
    )


def _nothing(_: Any) -> None:
    return None


# --- sessions -----------------------------------------------------------------------------------------------------


def _took(head: SessionHead) -> int | None:
    if not head.started_ns or head.ended_ns is None:
        return None
    return max(0, head.ended_ns - head.started_ns)


def _of_processes(name: str) -> Callable[[SessionHead], list[str]]:
    """Return what takes of a session's processes what they have under a name, each once."""

    def values(head: SessionHead) -> list[str]:
        found = (getattr(process, name) for process in head.about.processes)
        return list(dict.fromkeys(value for value in found if value is not None))

    return values


SESSIONS: Final = Table(
    "sessions",
    (
        *_fields(TEXT, "session_id", "status", "reason", "agent", "stage"),
        *_fields(REAL, "progress"),
        *_fields(INT, "events", "steps", "errors", *_TOKENS),
        Column("started_at", TIME, lambda head: _known(head.started_ns)),
        Column("updated_at", TIME, lambda head: _known(head.updated_ns)),
        Column("ended_at", TIME, attrgetter("ended_ns")),
        Column("started_ns", INT, lambda head: _known(head.started_ns)),
        Column("updated_ns", INT, lambda head: _known(head.updated_ns)),
        *_fields(INT, "ended_ns"),
        Column("duration_ns", INT, _took),
        Column("duration_ms", REAL, lambda head: _ms(_took(head))),
        *_of_cost(lambda head, price: head.about.spent.cost(price)),
        Column("writers", TEXTS, lambda head: list(head.writers)),
        Column("hosts", TEXTS, _of_processes("host")),
        Column("services", TEXTS, _of_processes("service")),
        Column("versions", TEXTS, _of_processes("version")),
        Column("tags", TEXTS, lambda head: list(head.about.tags)),
        Column("labels", JSON, lambda head: _json(head.about.labels)),
    ),
    times=frozenset(("started_at", "started_ns", "updated_at", "updated_ns")),
    updated=frozenset(("updated_at", "updated_ns")),
    ended=frozenset(("ended_at", "ended_ns")),
    named=MappingProxyType({"session_id": "session_ids", "status": "statuses", "agent": "agents"}),
)

SESSIONS_BRIEF: Final = frozenset(("session_id", "status", "agent", "updated_at", "updated_ns"))  # of a brief listing

# --- events -------------------------------------------------------------------------------------------------------


def _tool_name(event: JournalEvent) -> str | None:
    return event.name if event.type.startswith("TOOL_") else None


EVENTS: Final = Table(
    "events",
    (
        Column("timestamp", TIME, attrgetter("timestamp_ns")),
        *_fields(INT, "timestamp_ns"),
        *_fields(TEXT, "session_id"),
        Column("event_type", TEXT, attrgetter("type")),
        Column("tool_name", TEXT, _tool_name),
        *_fields(TEXT, "level"),
        Column("details", JSON, lambda event: _json(event.details)),
        *_fields(TEXT, "event_id", "name", "writer", "instance_id"),
        *_fields(INT, "seq"),
        *_fields(TEXT, "step_id", "parent_step_id"),
        *_fields(INT, "attempt"),
        *_fields(TEXT, "trace_id", "span_id", "outcome"),
        *_fields(INT, "duration_ns"),
        Column("duration_ms", REAL, lambda event: _ms(event.duration_ns)),
        *_of_error(attrgetter("error")),
        *_of_usage(attrgetter("usage")),
        *_fields(TEXT, "digest"),
        *_fields(INT, "schema_version"),
    ),
    times=frozenset(("timestamp", "timestamp_ns")),
)

# --- steps --------------------------------------------------------------------------------------------------------


def _of_last(name: str) -> Callable[[StepRow], Any]:
    return lambda row: getattr(row.step.last, name)


def _of_step(name: str) -> Callable[[StepRow], Any]:
    return lambda row: getattr(row.step, name)


def _steps_usage(row: StepRow) -> Usage | None:
    said = [attempt.usage for attempt in row.step.attempts if attempt.usage is not None]
    if len(said) < 2:
        return said[0] if said else None
    return Usage(**{name: sum(getattr(usage, name) for usage in said) for name in _TOKENS})


def _cost(attempt: Attempt, paid: Mapping[str, Call], price: Price) -> Cost:
    call = paid.get(attempt.key)
    return NO_CALLS if call is None else cost_of(call, price)


def _details(attempt: Attempt) -> Mapping[str, Any]:
    """Return what start and ending of an attempt say together; the ending's word counts."""
    return {**attempt.details_start, **attempt.details_end}


STEPS: Final = Table(
    "steps",
    (
        *_fields(TEXT, "session_id"),
        *(Column(name, TEXT, _of_step(name)) for name in ("step_id", "parent_step_id")),
        Column("depth", INT, _of_step("depth")),
        *(Column(name, TEXT, _of_step(name)) for name in ("kind", "name", "status")),
        Column("reason", TEXT, _of_last("reason")),
        Column("attempts", INT, lambda row: len(row.step.attempts)),
        Column("errors", INT, lambda row: sum(one.began_error for one in row.step.attempts)),
        Column("started_at", TIME, _of_step("start_ns")),
        Column("ended_at", TIME, _of_step("end_ns")),
        Column("started_ns", INT, _of_step("start_ns")),
        Column("ended_ns", INT, _of_step("end_ns")),
        Column("duration_ns", INT, lambda row: worked_ns(row.step)),
        Column("duration_ms", REAL, lambda row: _ms(worked_ns(row.step))),
        Column("waited_ns", INT, lambda row: waited_ns(row.step)),
        Column("waited_ms", REAL, lambda row: _ms(waited_ns(row.step))),
        *_of_usage(_steps_usage),
        *_of_cost(lambda row, price: summed(_cost(one, row.paid, price) for one in row.step.attempts)),
        *_of_error(_of_last("error")),
        *(Column(name, TEXT, _of_last(name)) for name in ("writer", "trace_id", "span_id")),
        Column("details", JSON, lambda row: _json(_details(row.step.last))),
    ),
    times=frozenset(("started_at", "ended_at", "started_ns", "ended_ns")),
    reckoned=frozenset(("started_at", "started_ns")),
)

# --- tools and models: a row for each attempt ---------------------------------------------------------------------


def _of_attempt(name: str) -> Callable[[AttemptRow], Any]:
    return lambda row: getattr(row.attempt, name)


def _detail(name: str) -> Callable[[AttemptRow], str | None]:
    def value(row: AttemptRow) -> str | None:
        said = row.attempt.details_end if name in row.attempt.details_end else row.attempt.details_start
        return _json(said.get(name))

    return value


_ATTEMPT: Final = (
    *_fields(TEXT, "session_id"),
    *(Column(name, TEXT, _of_attempt(name)) for name in ("step_id", "parent_step_id", "name")),
    Column("attempt", INT, _of_attempt("ordinal")),
    Column("status", TEXT, lambda row: row.attempt.outcome or "running"),
    Column("reason", TEXT, _of_attempt("reason")),
    Column("started_at", TIME, _of_attempt("start_ns")),
    Column("ended_at", TIME, _of_attempt("end_ns")),
    Column("started_ns", INT, _of_attempt("start_ns")),
    Column("ended_ns", INT, _of_attempt("end_ns")),
    Column("duration_ns", INT, _of_attempt("duration_ns")),
    Column("duration_ms", REAL, lambda row: _ms(row.attempt.duration_ns)),
    *_of_error(_of_attempt("error")),
    *(Column(name, TEXT, _of_attempt(name)) for name in ("writer", "trace_id", "span_id")),
    Column("output", JSON, _detail("output")),
    Column("details", JSON, lambda row: _json(_details(row.attempt))),
)

TOOLS: Final = Table(
    "tools", (*_ATTEMPT, Column("input", JSON, _detail("input"))), times=STEPS.times, reckoned=STEPS.reckoned
)
MODELS: Final = Table(
    "models",
    (
        *_ATTEMPT,
        Column("messages", JSON, _detail("messages")),
        *_of_usage(_of_attempt("usage")),
        *_of_cost(lambda row, price: _cost(row.attempt, row.paid, price)),
    ),
    times=STEPS.times,
    reckoned=STEPS.reckoned,
)

TABLES: Final[Mapping[str, Table]] = {table.name: table for table in (SESSIONS, STEPS, EVENTS, TOOLS, MODELS)}

OTHER_NAMES: Final = {"model_calls": MODELS.name, "tool_calls": TOOLS.name}  # what a lake's files are named
