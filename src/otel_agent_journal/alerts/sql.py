"""A rule in SQL: each row is an alert, its text columns are the labels, numbers and the like its values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from math import isfinite
from typing import Any, Final

from otel_agent_journal.alerts.rules import NS_PER_S, Rule
from otel_agent_journal.alerts.state import Found
from otel_agent_journal.alerts.unjudged import Unjudged
from otel_agent_journal.errors import QueryFailed
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.own_sessions import is_own

MAX_LABEL: Final = 200  # characters of a label that count
MAX_ROWS: Final = 1_000
MEMORY_BYTES: Final = 256 * 1024 * 1024
_TEXT: Final = ("VARCHAR", "UUID")


def rows(journal: Journal, rule: Rule, now_ns: int) -> list[Found]:
    """Return what the SQL of a rule finds.

    What it reads of the store is bounded by its conditions, as that of `agent-journal query`.

    Raises:
        Unjudged: it ran into a limit, or met a value that it cannot take.
        QueryError: it is malformed.
        MissingExtra: DuckDB or pyarrow is not installed.
        StoreUnreachable: and other errors of the store.
    """
    from otel_agent_journal.query import query

    try:
        with query(
            journal.store,
            rule.sql,
            memory_bytes=MEMORY_BYTES,
            timeout_s=rule.timeout_ns / NS_PER_S,
            now_ns=now_ns,
            waiting_writers=journal.waiting(),
            price=journal.price,
            without=is_own,  # else a rule that counts sessions or events finds the history of its own alerts
        ) as result:
            texts = frozenset(
                name
                for name, kind in zip(result.columns, result.types, strict=True)
                if kind in _TEXT or kind.startswith("ENUM")
            )
            found = list(islice(result.rows(), MAX_ROWS + 1))
            columns = result.columns
    except QueryFailed as error:  # what DuckDB says of a value repeats the value
        told = str(error) if error.limit else "its SQL failed on a value; agent-journal alerts list says on which"
        raise Unjudged(str(error), told=told) from error
    if len(found) > MAX_ROWS:
        raise Unjudged(f"its SQL returns more than {MAX_ROWS:,} rows; group it, or narrow it")
    return [_found(dict(zip(columns, row, strict=True)), texts) for row in found]


def _found(row: Mapping[str, Any], texts: frozenset[str]) -> Found:
    labels = {name: str(row[name])[:MAX_LABEL] for name in row if name in texts and row[name] is not None}
    values = {name: row[name] for name in row if name not in labels and _is_plain(row[name])}
    summary = ", ".join(f"{name} {_shown(value)}" for name, value in {**labels, **values}.items() if value is not None)
    return Found(labels=labels, values=values, summary=summary)


def _is_plain(value: Any) -> bool:
    """Tell whether a value may be sent: a number, a time or the like, not a whole document."""
    if isinstance(value, str):
        return len(value) <= MAX_LABEL
    return value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value))


def _shown(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
