"""Whatever an event may hold comes out of SQL as it went into the journal, or as NULL where SQL has no room for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.codec import plain
from otel_agent_journal.errors import MissingExtra, QueryError, QueryFailed, StoreUnreachable
from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.query import query
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.builders import an_event
from tests.query.journals import keep, rows_of


def _deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"in": [value]}
    return value


@pytest.mark.parametrize(
    "value",
    [
        "emoji 🦆 and ü",
        "lone \udc80 surrogate",
        "null \x00 byte",
        "bell \x07, escape \x1b[31m",
        "quotes ' \" and \\ backslash",
        "x" * 200_000,
        2**63,
        -(2**64) - 1,
        123456789012345678901234567890,
        1.5e300,
        float("nan"),
        _deep(60),
        [[], {}, None, True],
        {"": 1, "a.b": 2, "$ref": 3, "🦆": 4, "\udc80": 5},
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_details_come_back_whole(value: Any) -> None:
    """JSON of any kind is the JSON that the journal keeps."""
    store = MemoryStore()
    keep(store, [an_event(0, details={"value": value, "other": 1}, digest=None)])
    ((details, inner, text),) = rows_of(store, "SELECT details, details->'value', details->>'other' FROM events")
    assert details == plain({"value": value, "other": 1})
    assert inner == plain(value)
    assert text == "1"


def test_text_outside_details_comes_back_whole(tmp_path: Path) -> None:
    """Names, ids and messages too, and they can be compared with."""
    odd = "a/b #'\"\t🦆 \udc80"
    kept = odd.replace("\udc80", "\\udc80")
    for store in (MemoryStore(), SqliteStore(tmp_path / "j.db")):
        fields = {"session_id": odd, "name": odd, "type": "TOOL_END", "error": ErrorInfo(type="E", message=odd)}
        keep(store, [an_event(0, **fields, step_id=odd, outcome="error")], head=False)
        quoted = kept.replace("'", "''")
        sql = f"SELECT session_id, name, tool_name, step_id, error_message FROM events WHERE session_id = '{quoted}'"
        assert rows_of(store, sql) == [(kept,) * 5]


def test_a_plan_that_is_cut_at_a_line_end_is_not_believed() -> None:
    """DuckDB's plan cuts a text at its line ends; a piece that looks like a filter of its own bounds nothing."""
    store = MemoryStore()
    tricky = """a
("events.session_id" = 'b')
c"""
    for number, session_id in enumerate((tricky, "b")):
        keep(store, [an_event(number, session_id=session_id)])
    quoted = tricky.replace("'", "''")
    for condition in (f"session_id = '{quoted}'", f"session_id IN ('{quoted}', 'x')", f"session_id LIKE '{quoted}%'"):
        assert rows_of(store, f"SELECT session_id FROM events WHERE {condition}") == [(tricky,)]


def test_types_that_nobody_knows_are_rows_like_any_other() -> None:
    """An event of another writer's type is there, without a step."""
    store = MemoryStore()
    keep(store, [an_event(0, type="SANDBOX_HEARD_OF"), an_event(1, type="CHUNK")])
    assert rows_of(store, "SELECT event_type, tool_name FROM events") == [("SANDBOX_HEARD_OF", None), ("CHUNK", None)]
    assert rows_of(store, "SELECT count(*) FROM steps") == [(0,)]


def test_numbers_beyond_64_bits_are_null() -> None:
    """BIGINT and TIMESTAMP_NS have no room for them; the row is there all the same."""
    store = MemoryStore()
    huge = JournalEvent(
        session_id="s1",
        event_id="e1",
        type="MODEL_END",
        timestamp_ns=200_000_000_000 * 10**9,  # the year 8307
        usage=Usage(input_tokens=2**70, output_tokens=7),
        seq=None,
        attempt=2**63,
    )
    keep(store, [huge, an_event(0)], head=False)
    sql = "SELECT timestamp, timestamp_ns, attempt, input_tokens, output_tokens FROM events WHERE session_id = 's1'"
    assert rows_of(store, sql)[-1] == (None, None, None, None, 7)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1::TINYINT", 1),
        ("170141183460469231731687303715884105727::HUGEINT % 10", 7),
        ("sum(x) FROM (SELECT 9223372036854775807 AS x UNION ALL SELECT 9223372036854775807)", 2**64 - 2),
        ("1.25", 1.25),
        ("'nan'::DOUBLE", None),
        ("true", True),
        ("DATE '2026-01-02'", "2026-01-02"),
        ("TIME '01:02:03.5'", "01:02:03.500000"),
        ("TIMESTAMP '2026-01-02 03:04:05.678'", "2026-01-02T03:04:05.678000000Z"),
        ("'2026-01-02 03:04:05.123456789'::TIMESTAMP_NS", "2026-01-02T03:04:05.123456789Z"),
        ("TIMESTAMPTZ '2026-01-02 03:04:05+02'", "2026-01-02T01:04:05.000000000Z"),
        ("INTERVAL 90 minutes", "01:30:00"),
        ("INTERVAL '1 month 2 days 0.5 seconds'", "1 month 2 days 00:00:00.5"),
        ("[1, NULL, 3]", [1, None, 3]),
        (
            "{'a': 1, 'b': ['2026-01-02 00:00:00.000000001'::TIMESTAMP_NS]}",
            {"a": 1, "b": ["2026-01-02T00:00:00.000000001Z"]},
        ),
        ("MAP {'a': 1}", [["a", 1]]),
        ("'\\xAA'::BLOB", "qg=="),
        ("'6074cc60-82d2-4a0c-8ec2-d448dd5041e7'::UUID", "6074cc60-82d2-4a0c-8ec2-d448dd5041e7"),
        ("'x'::ENUM('x', 'y')", "x"),
        ("'{\"a\": [1]}'::JSON", {"a": [1]}),
        ("NULL", None),
    ],
)
def test_every_type_has_a_plain_value(expression: str, value: Any) -> None:
    """What JSON has is that; times are RFC 3339 with nine digits; anything else is text."""
    assert rows_of(MemoryStore(), f"SELECT {expression}") == [(value,)]


def test_columns_have_names_of_their_own() -> None:
    """A name that comes again is numbered: no value is lost in an object."""
    with query(MemoryStore(), "SELECT 1 AS a, 2 AS a, 3 AS a_1") as result:
        assert result.columns == ("a", "a_1", "a_1_1")
        assert list(result) == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("sql", "says", "place"),
    [
        ("SELEC 1", "line 1, column 1: syntax error", (1, 1)),
        ("SELECT\n  foo\nFROM tools", 'line 2, column 3: Referenced column "foo"', (2, 3)),
        ("SELECT 'ü', foo FROM tools", "line 1, column 13", (1, 13)),
        ("SELECT e.foo FROM events e", "events has timestamp, timestamp_ns, session_id", (1, 8)),
        ("SELECT * FROM event", "there are sessions, steps, events, tools, models", (1, 15)),
        ("SELECT coutn(*) FROM events", "did you mean count", (1, 8)),
        ("SELECT * FROM events WHERE timestamp > now()", "ago(INTERVAL 2 hours)", (1, 28)),
        ("SELECT 1 FROM events WHERE details->'a'->>'b' = 'c'", "(details->'a'->>'b') = 'c'", (None, None)),
        ("PIVOT events ON level USING count(*)", "IN ('a', 'b')", (None, None)),
    ],
)
def test_refusals_say_where_and_what_there_is(sql: str, says: str, place: tuple[int | None, int | None]) -> None:
    """An error of the SQL is one line with its place, and with the tables or columns that there are."""
    with pytest.raises(QueryError) as raised:
        query(MemoryStore(), sql)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (raised.value.line, raised.value.column) == place
    assert raised.value.exit_code == 2


def test_a_value_that_does_not_fit_fails_the_query() -> None:
    """A conversion that only the rows show is a failure, not a usage error."""
    store = MemoryStore()
    keep(store, [an_event(0)])
    with query(store, "SELECT event_type::INT FROM events") as result, pytest.raises(QueryFailed) as raised:
        list(result)
    assert "NOTE" in str(raised.value)
    assert (raised.value.exit_code, raised.value.limit) == (1, None)


def test_an_error_of_the_store_is_that_error() -> None:
    """What the store raises while DuckDB reads it comes out as it was raised."""

    class Gone(MemoryStore):
        def read(self, session_id: str, after: tuple[int, str] | None = None) -> Any:
            yield from list(super().read(session_id, after))[:1]
            raise StoreUnreachable("the cable was pulled")

    store = Gone()
    keep(store, [an_event(0)], head=False)
    sql = "SELECT * FROM events WHERE session_id = 's1'"
    with query(store, sql) as result, pytest.raises(StoreUnreachable, match="the cable was pulled"):
        list(result)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DuckDB is not installed the error has the line to type."""
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(MissingExtra, match=r"pip install 'otel-agent-journal\[query\]'"):
        query(MemoryStore(), "SELECT 1")
