"""`export --parquet`, `query --from` and `store prune --archived`, as people and programs call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import cli
from tests.cli.conftest import Seeded


@pytest.fixture(autouse=True)
def _two_sessions(journal: Seeded) -> None:
    """Two sessions that have ended."""
    journal.completed("one")
    journal.failed("two")


def _said(*args: str) -> dict[str, Any]:
    result = cli(*args, "-o", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    return found[0] if isinstance(found, list) else found


def test_a_journal_is_exported_asked_and_pruned() -> None:
    """One command writes the lake, the next has nothing to do, SQL asks it, and what it has may go from the store."""
    first = _said("export", "--parquet", "lake")
    assert (first["sessions"], first["files"] > 0) == (2, True)
    assert _said("export", "--parquet", "lake")["files"] == 0
    sql = "SELECT count(*) AS n FROM events"
    there = cli("query", sql, "-o", "json").stdout
    assert cli("query", sql, "--from", "lake", "-o", "json").stdout == there
    assert _said("store", "prune", "--archived", "lake", "--yes")["sessions"] == 2
    assert cli("query", sql, "--from", "lake", "-o", "json").stdout == there
    assert json.loads(cli("query", sql, "-o", "json").stdout)[0]["n"] == 0


def test_explain_says_what_was_read_of_a_lake() -> None:
    """Files and rows, for people and for programs."""
    _said("export", "--parquet", "lake")
    shown = cli("query", "SELECT * FROM sessions", "--from", "lake", "--explain", "-o", "table")
    assert "read for sessions: 1 file of 1, 2 rows; pushed down: nothing" in shown.stdout
    (read,) = _said("query", "SELECT * FROM sessions", "--from", "lake", "--explain")["read"]
    assert (read["files"], read["rows"]) == (1, 2)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("export", "--since", "1d"), 2, "go with --parquet"),
        (("export", "one", "--parquet", "lake"), 2, "takes the whole journal"),
        (("export", "--parquet", "lake", "--tables", "event"), 2, "'event' is no table of a lake; there are events"),
        (("export", "--parquet", "lake", "--compact", "today"), 2, "is no day; give one as 2026-11-30"),
        (("export", "--parquet", "lake", "--compact", "2026-01-01"), 1, "there is no lake at"),
        (("export", "--parquet", "gs://bucket/lake"), 2, "a lake is a folder, or s3://bucket/prefix"),
        (("export", "--parquet", "s3://bucket/lake?zone=a"), 2, "is no option; there are endpoint_url and region"),
        (("export", "--parquet", "s3://key:secret@bucket"), 2, "no place for credentials"),
        (("query", "SELECT 1", "--from", "nowhere"), 1, "make one: agent-journal export --parquet"),
        (("store", "prune"), 2, "--archived LAKE"),
        (("store", "prune", "--archived", "nowhere", "--yes"), 1, "there is no lake at"),
    ],
)
def test_what_cannot_be_done_says_why(args: tuple[str, ...], code: int, says: str) -> None:
    """Each mistake is one line that names it, and what there is instead; nothing is made of it."""
    result = cli(*args)
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    assert "secret" not in result.stderr
    assert not Path("lake", "_journal", "lake.json").exists()


def test_a_lake_is_written_by_one_at_a_time() -> None:
    """While a process writes a lake, a second one of this journal is told so, and writes nothing."""
    from otel_agent_journal.cli.export_parquet import alone, place_of
    from otel_agent_journal.cli.invocation import Invocation

    with alone(Invocation(), place_of("lake")):
        result = cli("export", "--parquet", "lake")
    assert (result.exit_code, "is being written by another process" in result.stderr) == (1, True)
    assert not Path("lake").exists()
