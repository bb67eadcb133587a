"""A SQLite journal of an older version is brought up to today's where it lies; what it held is all there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.store.sqlite_tables import CREATE, TABLES_VERSION
from otel_agent_journal.testing.builders import a_head, events
from tests.store.test_sqlite_file import allow, in_child, open_folder

SESSIONS_OF_1 = """
    CREATE TABLE sessions (
        session_id TEXT PRIMARY KEY, status TEXT NOT NULL, reason TEXT, agent TEXT, stage TEXT, progress REAL,
        events INTEGER NOT NULL, steps INTEGER NOT NULL, errors INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
        started_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, ended_ns INTEGER,
        writers TEXT NOT NULL, open_writers TEXT NOT NULL, version INTEGER NOT NULL
    )
"""
HEAD = SessionHead(session_id="s1", status="COMPLETED", events=3, started_ns=1, updated_ns=2, version=7)

__all__ = ["open_folder"]


def write_version_1(path: Path) -> None:
    """Write a journal as version 1 of the tables had it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in CREATE:
            connection.execute(SESSIONS_OF_1 if "IF NOT EXISTS sessions (" in statement else statement)
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO sessions VALUES ('s1', 'COMPLETED', NULL, NULL, NULL, NULL, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2,"
            " NULL, '{}', '[]', 7)"
        )
        connection.commit()


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


@pytest.mark.parametrize("create", [False, True], ids=["reader", "writer"])
def test_an_older_journal_is_brought_up_to_date(tmp_path: Path, create: bool) -> None:
    """Whoever may write to an older journal adds what is new to its tables as they open it, once."""
    path = tmp_path / "journal.db"
    write_version_1(path)
    for number in range(2):
        store = SqliteStore(path, create=create)
        assert list(store.sessions()) == [msgspec.structs.replace(HEAD, version=7 + number)]
        assert store.write_head(msgspec.structs.replace(HEAD, version=7 + number)) is not None
        store.append(events(3))
        assert list(store.read("s1")) == events(3)
        store.close()
        assert version_of(path) == TABLES_VERSION


def test_two_that_bring_one_up_to_date(tmp_path: Path) -> None:
    """Of two that open an older journal at once one changes it, and the other finds it changed."""
    path = tmp_path / "journal.db"
    write_version_1(path)
    first, second = (SqliteStore(path) for _ in range(2))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        slow = SqliteStore(path, timeout_s=0.05)
        with pytest.raises(StoreUnreachable, match="is locked by another process"):
            slow.head("s1")
        slow.close()
    assert first.head("s1") == second.head("s1") == HEAD
    first.write_head(a_head("t1", part_of="s1"))
    assert [head.session_id for head in second.sessions()] == ["s1"]
    assert len(list(second.sessions(SessionFilter(parts=True)))) == 2
    first.close()
    second.close()


@pytest.mark.parametrize("folder_mode", [0o555, 0o755], ids=["sealed folder", "open folder"])
def test_an_older_journal_that_is_read_only(open_folder: Path, folder_mode: int) -> None:
    """An older journal that cannot be written to is read as it is, and stays so."""
    path = open_folder / "journal.db"
    write_version_1(path)
    allow(open_folder, folder_mode, 0o444)
    before = path.read_bytes()

    def use() -> None:
        store = SqliteStore(path, create=False)
        for _ in range(2):
            assert list(store.sessions()) == [HEAD]
            assert store.head("s1") == HEAD
            assert store.info().sessions == 1
            with pytest.raises(StoreUnreachable, match="is read-only; make the file"):
                store.append(events(1))
        store.close()

    in_child(use, unprivileged=os.geteuid() == 0)
    assert path.read_bytes() == before
