"""What SQLite does beyond the contract: one store shared by threads, columns for SQL, refusals, listings at size."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.errors import CodecError, ConfigError, NewerSchema, StoreError
from otel_agent_journal.event import SCHEMA_VERSION, ErrorInfo, Usage
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.sqlite import SqliteStore, open_store, url_of
from otel_agent_journal.store.sqlite_tables import DELETE_DOCUMENTS, DELETE_SESSION, WRITE_HEAD, head_row
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, synchronous="normal")
    yield store
    store.close()


def test_what_pruning_deletes_is_found_by_an_index(store: SqliteStore, path: Path) -> None:
    """No table is scanned to delete a session: pruning many would read all there is for each."""
    store.append(events(3))
    with sqlite3.connect(path) as connection:
        for statement in (*DELETE_SESSION, DELETE_DOCUMENTS):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("s1",))]
            assert plan
            assert all(line.startswith("SEARCH") for line in plan), (statement, plan)


def test_one_store_for_many_threads(store: SqliteStore) -> None:
    """One store object serves any number of threads that append, read, follow and write heads."""

    def work(number: int) -> None:
        session = f"s{number}"
        for turn in range(20):
            store.append(events(3, first=turn * 3, session_id=session))
            assert len(list(store.read(session))) == turn * 3 + 3
            head = store.head(session) or SessionHead(session_id=session)
            assert store.write_head(msgspec.structs.replace(head, events=turn)) is not None
            store.follow(None, limit=10)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, number) for number in range(8)]:
            done.result()
    assert len(everything(store)[0]) == 8 * 60


def test_sql(store: SqliteStore, path: Path) -> None:
    """The file is plain SQL to others: a column for each field, details as JSON text."""
    store.append(
        [
            an_event(
                1,
                type="MODEL_ERROR",
                name="claude",
                outcome="error",
                duration_ns=5,
                error=ErrorInfo(type="Throttled", message="slow down", code="429"),
                usage=Usage(input_tokens=7),
                details={"input": {"q": "é"}},
            ),
            an_event(2),
        ]
    )
    store.append_context("i1", 0, context_events(1))
    with sqlite3.connect(path) as sql:
        rows = sql.execute(
            "SELECT name, duration_ns, error_type, error_code, input_tokens, reasoning_tokens, details FROM events"
            " ORDER BY arrival"
        ).fetchall()
        assert rows[0][:6] == ("claude", 5, "Throttled", "429", 7, 0)
        assert json.loads(rows[0][6]) == {"input": {"q": "é"}}
        assert rows[1][:6] == (None, None, None, None, None, None)
        assert sql.execute("SELECT id, last_seq FROM agent_instances").fetchall() == [("i1", 0)]
        assert sql.execute("SELECT instance_id, sequence_number FROM events WHERE sequence_number >= 0").fetchall() == [
            ("i1", 0)
        ]
    sql.close()


def test_numbers_beyond_64_bits(store: SqliteStore) -> None:
    """A number beyond 64 bits outside the details is refused, for good, and its batch not written."""
    with pytest.raises(StoreError, match="beyond 64 bits") as refused:
        store.append([an_event(1), an_event(2, duration_ns=2**63)])
    assert type(refused.value) is StoreError
    assert list(store.read("s1")) == []


def test_an_event_without_a_type(store: SqliteStore) -> None:
    """An event that lacks what every event has is refused, never passed over as a repetition."""
    with pytest.raises(StoreError):
        store.append([an_event(1), an_event(2, type=None)])
    assert list(store.read("s1")) == []


def test_an_event_of_a_newer_version(store: SqliteStore) -> None:
    """An event that a newer version wrote into the same tables is refused when it is read."""
    store.append([an_event(1), an_event(2, schema_version=SCHEMA_VERSION + 1)])
    reading = store.read("s1")
    assert next(reading) == an_event(1)
    with pytest.raises(NewerSchema):
        next(reading)


def test_an_event_of_an_old_version(store: SqliteStore) -> None:
    """An event of an old version goes through the upcasters; of one that never was, it is an error."""
    store.append([an_event(1, schema_version=0)])
    with pytest.raises(CodecError, match="no schema version 0"):
        list(store.read("s1"))


def test_arrivals_are_never_given_twice(store: SqliteStore) -> None:
    """A cursor stays right when the last events are deleted by hand: later ones are still followed."""
    store.append(events(5))
    cursor = store.tip()
    with store._file.writing() as connection:
        connection.execute("DELETE FROM events WHERE arrival > 2")
    store.append(events(3, first=10))
    assert list(store.follow(cursor).events) == events(3, first=10)


def test_a_cursor_from_before(store: SqliteStore) -> None:
    """A cursor ahead of the store is of another journal: it is refused, for what it would skip."""
    store.append(events(5))
    with pytest.raises(StoreError, match="'6' is not one of store"):
        store.follow("6")


def test_one_session_far_behind_and_close_by(store: SqliteStore) -> None:
    """Following one session gives the same by its index, where much lies ahead, as by arrival, where little does."""
    for start in range(0, 3_000, 300):
        store.append([an_event(number, session_id=f"s{number % 7}") for number in range(start, start + 300)])
    wanted = [number for number in range(3_000) if number % 7 == 3]
    for limit in (1, 10, 100, 1_000):
        found, cursor = everything(store, session_id="s3", limit=limit)
        assert [event.details["number"] for event in found] == wanted
        assert cursor == store.tip()


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT session_id FROM sessions WHERE TRUE ORDER BY updated_ns DESC, session_id LIMIT 9", "sessions_by_time"),
        (
            "SELECT session_id FROM sessions WHERE status IN ('ERROR') ORDER BY updated_ns DESC, session_id LIMIT 9",
            "sessions_by_status",
        ),
        (
            "SELECT session_id FROM sessions WHERE agent = 'a' ORDER BY updated_ns DESC, session_id LIMIT 9",
            "sessions_by_agent",
        ),
    ],
)
def test_listing_uses_an_index(store: SqliteStore, statement: str, index: str) -> None:
    """A listing's first page costs the same at a hundred thousand sessions as at ten: it sorts nothing."""
    store.init()
    with store._file.reading() as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert any(index in line for line in plan)
    assert not any("TEMP B-TREE" in line for line in plan)


def test_listing_of_many_sessions(store: SqliteStore) -> None:
    """A page of a listing of 20,000 sessions is read without reading the rest."""
    heads = [a_head(f"s{number}", updated_ns=number, version=1) for number in range(20_000)]
    with store._file.writing() as connection:
        connection.executemany(WRITE_HEAD, map(head_row, heads))
    with store._file.reading() as connection:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(count, 100)
        listed = list(store.sessions(SessionFilter(limit=20)))
        connection.set_progress_handler(None, 0)
    assert [head.session_id for head in listed] == [f"s{number}" for number in range(19_999, 19_979, -1)]
    assert steps < 100, "hundreds of virtual machine instructions, not hundreds of thousands"


def test_a_listing_under_way_is_up_to_date(store: SqliteStore) -> None:
    """A session that stops to be wanted while a listing is under way is left out of it."""
    for number in range(600):
        store.write_head(a_head(f"s{number:03}", updated_ns=1_000 - number))
    listing = store.sessions(SessionFilter(statuses=("PROCESSING",)))
    listed = [next(listing).session_id]
    head = store.head("s550")
    assert head is not None
    store.write_head(msgspec.structs.replace(head, status="COMPLETED"))
    listed += [head.session_id for head in listing]
    assert listed == [f"s{number:03}" for number in range(600) if number != 550]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///journal.db", "journal.db"),
        ("sqlite:///.agent-journal/journal.db", ".agent-journal/journal.db"),
        ("sqlite:////var/lib/journal.db", "/var/lib/journal.db"),
        ("sqlite:///a%20b%3Fc%25.db", "a b?c%.db"),
        ("sqlite:///a#b.db?timeout=0.5&synchronous=NORMAL", "a#b.db"),
    ],
)
def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, expected: str) -> None:
    """Three slashes and a relative path, four and an absolute one; percent escapes are resolved."""
    monkeypatch.chdir(tmp_path)
    store = open_store(url)
    assert store._file.path == (tmp_path / expected)
    assert open_store(store.url)._file.path == store._file.path


@pytest.mark.parametrize("name", ["plain.db", "a b.db", "100%.db", "what?.db", "a#b.db", "é&x=y.db", "file:x"])
def test_odd_file_names(tmp_path: Path, name: str) -> None:
    """Any file name works, through its URL too, and names that file."""
    store = open_store(url_of(tmp_path / name))
    store.append(events(1))
    store.close()
    assert (tmp_path / name).exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://journal.db", "the form is sqlite:///relative.db"),
        ("sqlite:journal.db", "the form is"),
        ("sqlite:///", "the form is"),
        ("sqlite:////tmp/", "the form is"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite:///j.db?mode=ro", "'mode' is no option"),
        ("sqlite:///j.db?timeout=soon", "timeout is no number of seconds"),
        ("sqlite:///j.db?timeout=-1", "timeout is no number of seconds"),
        ("sqlite:///j.db?synchronous=off", "synchronous may be full or normal"),
    ],
)
def test_malformed_urls(url: str, says: str) -> None:
    """A malformed URL is refused with what would be right."""
    with pytest.raises(ConfigError, match="store ") as refused:
        open_store(url)
    assert says in str(refused.value)
