"""What DuckDB refuses, in one line of our words: where in the SQL, and what there is instead."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

import duckdb

from otel_agent_journal.errors import QueryError, QueryFailed
from otel_agent_journal.query.tables import OTHER_NAMES, TABLES

_TIMES: Final = "type TIMESTAMP_NS and type TIMESTAMP WITH TIME ZONE"
_LONGEST: Final = 300  # characters of what DuckDB says; candidates of a function fill a screen


def only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the one statement in `sql`.

    Raises:
        QueryError: there is none, there are several, or it does anything but read.
    """
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise at_start(error, sql, before=0) from error
    if not statements:
        raise QueryError("there is no SQL to run; give one SELECT")
    if len(statements) > 1:
        raise QueryError(f"these are {len(statements)} statements; one at a time is run, a SELECT")
    (statement,) = statements
    if statement.type is duckdb.StatementType.SELECT:
        return statement.query.strip().rstrip(";")
    kind = statement.type.name
    if kind == "EXPLAIN":
        raise QueryError("EXPLAIN is an option here: --explain, or Query.plan")
    if kind == "MULTI":
        raise QueryError("this statement is several in one; of PIVOT, name the values: PIVOT … ON column IN ('a', 'b')")
    raise QueryError(f"{kind} is refused: a query only reads, with SELECT")


def at_start(error: Exception, sql: str, *, before: int | None = None) -> QueryError:
    """Return why a query cannot be run. `before`: characters that DuckDB saw in front of `sql`, if they are known."""
    said = _said(error)
    if _is_memory(error, said):
        return at_run(error, sql)
    message = _first_line(said)
    line = column = None
    position = said.get("position")
    if position is not None:
        offset = int(position) - (len("EXPLAIN (FORMAT json) ") if before is None else before)
        text = sql.encode()[: max(0, offset)].decode("utf-8", "replace")
        line, column = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
        message = f"line {line}, column {column}: {message}"
    hint = _hint(said, message, sql)
    return QueryError(f"SQL {message}{hint}", line=line, column=column)


def at_run(error: Exception, _sql: str) -> QueryFailed:
    """Return why a query ended early."""
    said = _said(error)
    message = _first_line(said)
    if _is_memory(error, said) or "bad_alloc" in message:
        return QueryFailed(
            "the query needs more memory than it may have; select fewer columns, narrow it by session_id or time,"
            " or give it more",
            limit="memory",
        )
    return QueryFailed(f"the query failed: {message}")


def was_interrupted(error: Exception) -> bool:
    """Tell whether somebody asked the query to stop."""
    said = _said(error)
    return said.get("exception_type") == "INTERRUPT" or said.get("exception_message") == "Query interrupted"


def _is_memory(error: Exception, said: dict[str, Any]) -> bool:
    return isinstance(error, duckdb.OutOfMemoryException | MemoryError) or said.get("exception_type") == "Out of Memory"


def _said(error: Exception) -> dict[str, Any]:
    text = str(error)
    start = text.find("{")
    try:
        found = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        found = None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"exception_message": text}


def _first_line(said: dict[str, Any]) -> str:
    message = str(said.get("exception_message") or "").strip().split("\n")[0].rstrip("!.")
    return message if len(message) <= _LONGEST else message[:_LONGEST] + "…"


def _hint(said: dict[str, Any], message: str, sql: str) -> str:
    if _TIMES in message:
        return "; times here are UTC without a zone: compare with ago(INTERVAL 2 hours), or '2026-01-31 12:00:00'"
    if "BOOLEAN)" in message and "json_extract" in message:
        return "; an arrow binds less than a comparison: put it in parentheses, as in (details->'a'->>'b') = 'c'"
    if said.get("error_subtype") == "MISSING_ENTRY" and said.get("type") == "Table":
        return f"; there are {', '.join(TABLES)}"
    if said.get("error_subtype") == "COLUMN_NOT_FOUND" or "does not have a column named" in message:
        known = {**{name: name for name in TABLES}, **OTHER_NAMES}
        named = dict.fromkeys(of for name, of in known.items() if re.search(rf"\b{name}\b", sql, re.IGNORECASE))
        if named:
            return "; " + "; ".join(
                f"{name} has {', '.join(column.name for column in TABLES[name].columns)}" for name in named
            )
    candidates = said.get("candidates")
    near = str(candidates).split(",")[0].strip() if candidates else ""
    return f"; did you mean {near}" if near and "(" not in near else ""
