"""The first rows come first: a query for the latest sessions reads these, where it is plain that they are the rows."""

# ruff: noqa: E501 - a query a line

from __future__ import annotations

from random import Random
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.query import query
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.query.journals import HOUR_NS, Counted, a_session, keep

MANY = 400  # sessions
LATEST = [f"s{number}" for number in range(MANY - 1, -1, -1)]


@pytest.fixture(scope="module")
def many() -> Counted:
    """Hundreds of sessions in a store that counts."""
    store = Counted()
    for number in range(MANY):
        keep(store, a_session(number).events)
    return store


def latest(store: Counted, sql: str) -> tuple[list[Any], int | None, int]:
    """Return the first column of a query, how many of the latest sessions it was found to need, and how many it read."""
    with query(store, sql) as result:
        rows = [row[0] for row in result]
        (one,) = (read for read in result.read if read.table == "sessions")
        return rows, one.latest and one.latest.count, one.sessions


@pytest.mark.parametrize(
    ("sql", "expected", "needed"),
    [
        ("SELECT session_id FROM sessions ORDER BY updated_at DESC LIMIT 3", LATEST[:3], 3),
        ("SELECT session_id FROM sessions ORDER BY updated_ns DESC NULLS LAST LIMIT 3", LATEST[:3], 3),
        ("SELECT session_id FROM sessions s ORDER BY s.UPDATED_AT DESC, session_id LIMIT 2 OFFSET 3", LATEST[3:5], 5),
        ("SELECT session_id, updated_at FROM sessions ORDER BY 2 DESC LIMIT 3", LATEST[:3], 3),
        ('SELECT session_id, updated_ns AS "when" FROM sessions ORDER BY "when" DESC LIMIT 3', LATEST[:3], 3),
        ("SELECT * EXCLUDE (writers) FROM sessions ORDER BY updated_at DESC LIMIT 3", LATEST[:3], 3),
        ("FROM sessions ORDER BY updated_at DESC LIMIT 3", LATEST[:3], 3),
        (
            "SELECT session_id FROM sessions WHERE status = 'ERROR' ORDER BY updated_at DESC LIMIT 2",
            ["s398", "s395"],
            2,
        ),
        (
            "SELECT session_id FROM sessions WHERE NOT status IN ('ERROR', 'PENDING') AND started_ns > 0 AND ended_at > '2026-01-01' AND session_id LIKE 's3%' AND agent IS NOT NULL ORDER BY updated_at DESC LIMIT 2",
            ["s399", "s397"],
            2,
        ),
        (
            "WITH l AS (SELECT session_id FROM sessions ORDER BY updated_at DESC LIMIT 2) SELECT max(session_id) FROM l",
            ["s399"],
            2,
        ),
        (
            "SELECT session_id FROM (SELECT * FROM sessions ORDER BY updated_at DESC LIMIT 4) ORDER BY started_at LIMIT 2",
            ["s396", "s397"],
            4,
        ),
        (
            "SELECT max(session_id) FROM (SELECT * FROM sessions ORDER BY updated_at DESC LIMIT 4) WHERE status = 'ERROR'",
            ["s398"],
            4,
        ),
    ],
)
def test_the_latest_sessions_are_read_alone(many: Counted, sql: str, expected: list[Any], needed: int) -> None:
    """A few sessions in the order of a listing cost a few heads, whatever stands around that."""
    many.forget()
    found, count, read = latest(many, sql)
    assert (found, count) == (expected, needed)
    assert many.heads_read <= 50
    assert read <= 3 * needed + 2


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT session_id FROM sessions ORDER BY updated_at LIMIT 3",
        "SELECT session_id FROM sessions ORDER BY updated_at DESC NULLS FIRST LIMIT 3",
        "SELECT session_id FROM sessions ORDER BY updated_at DESC",
        "SELECT session_id FROM sessions ORDER BY started_at DESC LIMIT 3",
        "SELECT session_id, started_at AS updated_at FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT * REPLACE (started_at AS updated_at) FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT * RENAME (started_at AS updated_at, updated_at AS u) FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM (SELECT session_id, -updated_ns AS updated_ns FROM sessions) ORDER BY updated_ns DESC LIMIT 3",
        "SELECT session_id FROM sessions ORDER BY session_id, updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions ORDER BY -updated_ns DESC LIMIT 3",
        "SELECT session_id FROM sessions ORDER BY updated_at DESC LIMIT 20%",
        "SELECT DISTINCT status, updated_at FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT DISTINCT ON (status) session_id FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT max(updated_at) AS updated_at FROM sessions GROUP BY status ORDER BY updated_at DESC LIMIT 3",
        "SELECT row_number() OVER (ORDER BY session_id) FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions QUALIFY row_number() OVER (ORDER BY started_at) < 9 ORDER BY updated_at DESC LIMIT 3",
        "SELECT unnest([1, 2]) FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions WHERE lower(status) = 'error' ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions WHERE duration_ms > 1 ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions WHERE status > 'D' ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions WHERE EXISTS (SELECT 1 FROM events e WHERE e.session_id = sessions.session_id) ORDER BY updated_at DESC LIMIT 3",
        "SELECT a.session_id FROM sessions a, sessions b WHERE a.session_id = b.session_id ORDER BY a.updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions JOIN events USING (session_id) ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions UNION SELECT 'x' ORDER BY session_id DESC LIMIT 3",
        "SELECT session_id FROM sessions AS s(updated_at, session_id) ORDER BY updated_at DESC LIMIT 3",
        "WITH sessions AS (SELECT session_id, timestamp AS updated_at FROM events), all_of AS (SELECT 1) SELECT session_id FROM sessions ORDER BY updated_at DESC LIMIT 3",
        "SELECT session_id FROM sessions TABLESAMPLE 50% (bernoulli, 7) ORDER BY updated_at DESC LIMIT 3",
    ],
)
def test_any_other_order_reads_all(many: Counted, sql: str) -> None:
    """Where it is not plain that the latest sessions are the rows, nothing is concluded."""
    with query(many, sql) as result:
        list(result)
        assert [read.latest for read in result.read if read.table == "sessions"] in ([None], [])


def test_sessions_of_one_moment_are_all_read(counted: Counted) -> None:
    """Of several that were updated at the moment at which the limit falls, a second order chooses; so all are read."""
    for number in range(60):
        builder = JournalBuilder(f"tie{number:02}", clock=SteppingClock(EPOCH_2026_NS + 9 * HOUR_NS))
        builder.end(builder.start("AGENT", "researcher"))
        keep(counted, builder.events)
    for order, expected in (("session_id", ["tie00", "tie01"]), ("session_id DESC", ["tie59", "tie58"])):
        sql = f"SELECT session_id FROM sessions ORDER BY updated_at DESC, {order} LIMIT 2"
        assert latest(counted, sql) == (expected, 2, 60)


def test_a_session_that_moves_while_it_is_listed_comes_once(many: Counted) -> None:
    """What a condition of SQL's own lets through too few of is listed again, and no session comes twice."""
    sql = "SELECT session_id FROM sessions WHERE steps > 100 OR session_id = 's1' ORDER BY updated_at DESC LIMIT 2"
    assert latest(many, sql) == (["s1"], 2, MANY)


# Parts of a query over sessions, to be put together at random.
CONDITIONS = (
    "status = 'ERROR'", "status != 'ERROR'", "status IN ('COMPLETED', 'INTERRUPTED')", "agent = 'researcher'",
    "agent IS NULL", "NOT (agent = 'researcher')", "session_id LIKE 's1%'", "ended_at >= '2026-01-01 07:30:00'",
    "ended_ns IS NULL", "updated_at >= '2026-01-01 02:00:00'", "updated_at < '2026-01-01 09:00:00'",
    "started_at BETWEEN '2026-01-01 01:00' AND '2026-01-01 10:00'", "input_tokens > 104", "length(session_id) = 2",
    "duration_ns >= 0", "stage = 'none'",
)  # fmt: skip
ORDERS = (
    "updated_at DESC, session_id", "updated_ns DESC, session_id DESC", "updated_at DESC NULLS LAST, status, session_id",
    "updated_at DESC NULLS FIRST, session_id", "updated_at, session_id", "started_at DESC, session_id", "1 DESC", "2 DESC, 1",
)  # fmt: skip


@pytest.fixture(scope="module")
def mixed() -> Counted:
    """Sessions of every status: whole, running, lost, at one moment, without a head, without a time."""
    store = Counted()
    for number in range(14):
        keep(store, a_session(number % 11).events if number < 11 else _at_one_moment(number), head=number % 5 != 4)
    for number in range(4):
        journal = JournalBuilder(f"run{number}", clock=SteppingClock(EPOCH_2026_NS + 3 * number * HOUR_NS))
        journal.start("AGENT", "researcher" if number % 2 else None)
        keep(store, journal.events)
        head = store.head(f"run{number}")
        assert head is not None
        heard = dict.fromkeys(head.writers, EPOCH_2026_NS + (8 + number) * HOUR_NS)
        assert store.write_head(msgspec.structs.replace(head, writers=heard)) is not None
    return store


def _at_one_moment(number: int) -> list[JournalEvent]:
    return [msgspec.structs.replace(event, session_id=f"s{number}") for event in a_session(7).events]


@pytest.mark.parametrize("hours", [1, 9, 20])
def test_pushing_down_changes_no_answer(mixed: Counted, hours: int) -> None:
    """Whatever a query asks of sessions, it has the rows that the same SQL has over a plain table of all of them."""
    chance, now_ns = Random(hours), EPOCH_2026_NS + hours * HOUR_NS
    with query(mixed, "SELECT * FROM sessions", now_ns=now_ns) as whole:
        batches = list(whole.batches())
    plain = duckdb.connect(config={"threads": "1"})
    plain.register("rows", pa.Table.from_batches(batches))
    plain.execute("CREATE TABLE sessions AS FROM rows")
    read = 0
    for _ in range(120):
        wheres = chance.sample(CONDITIONS, chance.randrange(4))
        where = f" WHERE {chance.choice((' AND ', ' OR ')).join(wheres)}" if wheres else ""
        end = f" LIMIT {chance.randrange(1, 9)}" + chance.choice(("", f" OFFSET {chance.randrange(5)}"))
        columns = chance.choice(
            ("session_id, updated_ns, status, ended_ns", "session_id, -updated_ns AS ago_ns, agent")
        )
        sql = f"SELECT {columns} FROM sessions{where} ORDER BY {chance.choice(ORDERS)}{chance.choice((end, ''))}"
        sql = chance.choice((sql, f"SELECT count(*), min(session_id) FROM ({sql})"))
        with query(mixed, sql, now_ns=now_ns) as result:
            assert list(result) == plain.execute(sql).fetchall(), sql
            read += sum(one.latest is not None for one in result.read)
    assert read > 15
    plain.close()
