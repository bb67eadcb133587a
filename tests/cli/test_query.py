"""`agent-journal query`: the journal in SQL, in every format, with the exit codes of the other commands."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from otel_agent_journal.store.registry import open_store
from tests.cli.command_line import PROGRAM, cli, program, rows, terminal
from tests.cli.conftest import URL, Seeded

TOOLS = "SELECT name, attempt, status, input FROM tools ORDER BY attempt"


def test_data_formats(journal: Seeded) -> None:
    """JSON lines in a pipe, one document as JSON, CSV with nesting as JSON; column names are keys."""
    journal.completed()
    expected = [
        {"name": "search", "attempt": 1, "status": "error", "input": {"query": "news"}},
        {"name": "search", "attempt": 2, "status": "ok", "input": None},
    ]
    assert rows(cli("query", TOOLS)) == expected
    assert json.loads(cli("query", TOOLS, "-o", "json").stdout) == expected
    table = list(csv.reader(io.StringIO(cli("query", TOOLS, "-o", "csv").stdout)))
    assert table == [
        ["name", "attempt", "status", "input"],
        ["search", "1", "error", '{"query":"news"}'],
        ["search", "2", "ok", ""],
    ]


def test_no_rows(journal: Seeded) -> None:
    """An answer without rows is an empty one, and no error."""
    journal.completed()
    sql = "SELECT session_id FROM sessions WHERE status = 'PENDING'"
    assert cli("query", sql).stdout == ""
    assert cli("query", sql, "-o", "json").stdout == "[]\n"
    assert cli("query", sql, "-o", "csv").stdout == "session_id\n"
    assert cli("query", sql, "-o", "table").stdout == "no rows\n"
    assert cli("query", sql).exit_code == 0


def test_a_table_on_a_terminal(journal: Seeded) -> None:
    """Headings as in the SQL, control characters shown, the first thousand rows."""
    journal.completed()
    seen = terminal("query", "SELECT session_id AS \"the session\", chr(27) || '[31mred' AS text, steps FROM sessions")
    assert seen.code == 0
    assert "\x1b[31mred" not in seen.raw
    assert seen.text.splitlines()[0].split() == ["the", "session", "text", "steps"]
    assert seen.text.splitlines()[1].split() == ["done", "␛[31mred", "4"]
    many = cli("query", "SELECT * FROM range(3000)", "-o", "table").stdout.splitlines()
    assert len(many) == 1_002
    assert many[-1] == "the first 1,000 rows; -o jsonl or csv gives all"


def test_sql_from_a_file(journal: Seeded, home: Path) -> None:
    """-f reads a file, - is stdin; not both that and an argument, and one of the two."""
    journal.completed()
    (home / "tools.sql").write_text("-- all calls\nSELECT count(*) AS calls\nFROM tools;\n")
    assert rows(cli("query", "-f", "tools.sql")) == [{"calls": 2}]
    piped = subprocess.run(
        [*PROGRAM, "query", "-f", "-"], input="SELECT 1 AS one", capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(piped.stdout) == {"one": 1}
    for wrong in ((), ("SELECT 1", "-f", "tools.sql")):
        result = cli("query", *wrong)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "give the SQL, or -f FILE" in result.stderr
    assert cli("query", "-f", "nowhere.sql").exit_code == 1


def test_session_narrows(journal: Seeded) -> None:
    """--session takes an id, or the beginning of one, and may be given again; an unknown one is not found."""
    for session_id in ("first", "second", "third"):
        journal.completed(session_id)
    sql = "SELECT DISTINCT session_id FROM events ORDER BY ALL"
    assert rows(cli("query", sql, "--session", "fir")) == [{"session_id": "first"}]
    both = cli("query", sql, "--session", "first", "--session", "third")
    assert [row["session_id"] for row in rows(both)] == ["first", "third"]
    assert cli("query", sql, "--session", "none").exit_code == 3


def test_explain(journal: Seeded) -> None:
    """--explain shows the plan, what was read, and what the store was given; as data too."""
    journal.completed("one")
    journal.completed("two")
    sql = "SELECT count(*) FROM events WHERE session_id = 'one' AND timestamp >= '2026-01-01'"
    shown = cli("query", sql, "--explain", "-o", "table").stdout
    assert "events.session_id" in shown
    assert "read for events: 1 session, 11 events; pushed down: session_id one; since 2026-01-01T00:00:00" in shown
    assert shown.endswith("1 row of result\n")
    said = json.loads(cli("query", sql, "--explain", "-o", "json").stdout)
    assert said["rows"] == 1
    assert said["read"] == [
        {
            "table": "events",
            "scans": 1,
            "sessions": 1,
            "events": 11,
            "bounds": {"session_ids": ["one"], "since_ns": 1767225600000000000},
        }
    ]
    assert "pushed down: nothing" in cli("query", "SELECT status FROM sessions", "--explain", "-o", "table").stdout


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("SELEC 1",), 2, "error: SQL line 1, column 1: syntax error"),
        (("SELECT foo FROM tools",), 2, "tools has session_id, step_id, parent_step_id, name"),
        (("SELECT 1 FROM tool",), 2, "there are sessions, steps, events, tools, models"),
        (("DROP TABLE events",), 2, "DROP is refused: a query only reads"),
        (("SELECT 1; SELECT 2",), 2, "these are 2 statements"),
        (("SELECT session_id::INT FROM sessions",), 1, "error: the query failed: Could not convert"),
        (("SELECT count(*) FROM range(1000000000000) a", "--timeout", "0.3"), 1, "did not end within 0.3 s"),
        (("SELECT n FROM range(9000000) t(n) ORDER BY hash(n)", "--memory", "32MB"), 1, "needs more memory"),
        (("SELECT 1", "--memory", "lots"), 2, "'lots' is no size"),
        (("SELECT 1", "--memory", "1MB"), 2, "16 MB at least"),
        (("SELECT 1", "--timeout", "soon"), 2, "'soon' is no time"),
        (("SELECT 1", "--timeout", "0"), 2, "'0' is no time"),
        (("SELECT 1", "--store", "sqlite:///nowhere.db"), 4, "nowhere.db"),
    ],
)
def test_errors_are_one_line_with_their_code(journal: Seeded, args: tuple[str, ...], code: int, says: str) -> None:
    """What is refused exits with 2, what fails with 1, a store that is not there with 4; stdout stays empty."""
    journal.completed()
    result = cli("query", *args)
    assert result.exit_code == code
    assert result.stdout == ""
    assert says in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_sizes_and_times_in_their_units(journal: Seeded) -> None:
    """Limits take units."""
    journal.completed()
    assert cli("query", "SELECT 1", "--memory", "1GB", "--timeout", "5m").exit_code == 0
    assert cli("query", "SELECT 1", "--memory", "64", "--timeout", "90s").exit_code == 0


def test_rows_come_as_they_are_found(journal: Seeded) -> None:
    """The first rows are printed while the rest is still to come, and a reader that goes away ends it in peace."""
    journal.completed()
    sql = "SELECT range AS n FROM range(1000000000000)"
    child = subprocess.Popen([*PROGRAM, "query", sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline() == b'{"n":0}\n'
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(30) == 141
    child.stderr.close()


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 2.0])
def test_ctrl_c_ends_it(journal: Seeded, after_s: float) -> None:
    """Ctrl-C while DuckDB is imported, plans or works ends the command at once, with its code and no more words."""
    journal.completed()
    sql = "SELECT count(*) FROM range(10000000000) a, range(1000000) b"
    child = subprocess.Popen(
        [*PROGRAM, "query", sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    process, deadline = psutil.Process(child.pid), time.monotonic() + 60
    while process.num_threads() == 1:
        assert time.monotonic() < deadline, "DuckDB works in threads of its own"
        time.sleep(0.02)
    time.sleep(after_s)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (130, b"", b"")


def test_a_long_read_shows_its_progress_on_a_terminal(journal: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much was read stands on a line of stderr that is gone before the result."""
    for number in range(30):
        journal.completed(f"s{number}")
    sql = "SELECT count(*) AS events FROM events a, range(3)"
    program_text = (
        "import otel_agent_journal.cli.query as q; q._QUIET_S = 0.0; q._REDRAW_S = 0.0\n"
        "import sys; from otel_agent_journal.cli import main; main()"
    )
    monkeypatch.setattr("tests.cli.command_line.PROGRAM", [PROGRAM[0], "-c", program_text])
    seen = terminal("query", sql)
    assert seen.code == 0
    assert "\r\x1b[Kreading: " in seen.raw
    assert seen.raw.index("reading: ") < seen.raw.rindex("\r\x1b[K") < seen.raw.index("990")
    assert "reading" not in program("query", sql).stderr


def test_a_spool_of_a_dead_process_is_taken_in_first(journal: Seeded) -> None:
    """Like every command that reads, it sees what a store has; sessions are judged as `ls` judges them."""
    journal.running(ago_s=3600)
    (row,) = rows(cli("query", "SELECT session_id, status, reason FROM sessions"))
    assert row == {"session_id": "live", "status": "INTERRUPTED", "reason": "lost"}
    assert rows(cli("ls"))[0]["status"] == "INTERRUPTED"
    assert open_store(URL).head("live") is not None


def test_verbose_shows_where_it_comes_from(journal: Seeded) -> None:
    """-v adds the traceback to an error, as everywhere."""
    assert "Traceback" in cli("query", "SELEC 1", "-v").stderr
