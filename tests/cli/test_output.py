"""Formats, colours, encodings: what a terminal gets, what a pipe gets, and what never reaches either."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from otel_agent_journal.cli.output import wants_color
from otel_agent_journal.cli.table import Cell, Column, growing, render
from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import cli, pipes, program, rows, terminal, terminals
from tests.cli.conftest import Seeded

UUID = "8f3c21aa000040008000000000000001"
OTHER_UUID = "8f3c21aa000040008000000000000002"
EVIL = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202egpj.exe"


def test_a_terminal_gets_a_table_and_a_pipe_json_lines(journal: Seeded) -> None:
    """Without a format the stream decides."""
    journal.completed()
    assert terminal("ls").text.startswith("SESSION")
    assert rows(program("ls"))[0]["session_id"] == "done"


def test_the_option_wins_over_the_variable_and_the_variable_over_the_stream(journal: Seeded) -> None:
    """-o, then AGENT_JOURNAL_OUTPUT, then what stdout is."""
    journal.completed()
    assert program("ls", AGENT_JOURNAL_OUTPUT="table").stdout.startswith("SESSION")
    assert program("ls", "-o", "csv", AGENT_JOURNAL_OUTPUT="table").stdout.startswith("session_id,")
    assert json.loads(terminal("ls", AGENT_JOURNAL_OUTPUT="jsonl").text)["session_id"] == "done"


def test_json_is_one_document(journal: Seeded) -> None:
    """A list is an array, also an empty one; one thing is an object."""
    journal.completed()
    journal.failed()
    assert json.loads(cli("ls", "--agent", "nobody", "-o", "json").stdout) == []
    assert len(json.loads(cli("ls", "-o", "json").stdout)) == 2
    assert json.loads(cli("status", "done", "-o", "json").stdout)["session_id"] == "done"
    assert len(json.loads(cli("show", "done", "--events", "-o", "json").stdout)) == 11


def test_csv_has_a_header_and_nests_as_json(journal: Seeded) -> None:
    """CSV has one column a key; what is nested is JSON in its cell, what is not known is empty."""
    journal.completed()
    listed = list(csv.DictReader(io.StringIO(cli("ls", "-o", "csv").stdout)))
    assert listed[0]["status"] == "COMPLETED"
    events = list(csv.DictReader(io.StringIO(cli("show", "done", "--events", "-o", "csv").stdout)))
    assert len(events) == 11
    assert json.loads(events[0]["details"]) == {"input": "what is new?"}
    assert events[0]["outcome"] == ""
    assert cli("ls", "--agent", "nobody", "-o", "csv").stdout.count("\n") == 1


def test_ids_are_whole_off_a_terminal_and_distinct_on_one(journal: Seeded) -> None:
    """A pipe gets whole ids in every format; a terminal gets prefixes that tell the listed ones apart, never less."""
    journal.completed(UUID)
    journal.failed(OTHER_UUID)
    for form in ("table", "jsonl", "json", "csv"):
        found = pipes(("ls", "-o", form))
        assert UUID in found
        assert OTHER_UUID in found
    for columns in (40, 60, 80, 120):
        shown = [line.split()[0] for line in terminal("ls", columns=columns).text.splitlines()[1:3]]
        assert len(set(shown)) == 2
        assert all(one.replace("…", "") and len(one) < columns for one in shown)
    journal.completed("9a00000000000000000000000000000a", writer="e" * 32)
    assert re.search(r"^9a000000 ", terminal("ls").text, re.MULTILINE)


@pytest.mark.parametrize("columns", [30, 60, 80, 120])
def test_no_line_of_a_listing_is_wider_than_the_terminal(journal: Seeded, columns: int) -> None:
    """Columns shrink and go, so that a row stays a row."""
    journal.completed()
    journal.running("live", ago_s=7200)
    journal.running("now")
    for line in terminal("ls", columns=columns).text.splitlines():
        assert len(line) <= columns


def test_colours_follow_the_stream_and_the_two_variables(journal: Seeded) -> None:
    """Colours on a terminal; none under NO_COLOR; everywhere under FORCE_COLOR."""
    journal.completed()
    views = (("ls",), ("show", "done"), ("tail",), ("status", "done"), ("show", "done", "--messages"), ("doctor",))
    for view in views[:3]:
        assert "\x1b[" in terminals(view).raw
    assert "\x1b[" not in terminals(*views, NO_COLOR="1").raw
    tables = [(*view, "-o", "table") for view in views]
    assert "\x1b[" not in pipes(*tables)
    assert "\x1b[" in pipes(*tables, FORCE_COLOR="1")


@pytest.mark.parametrize(
    ("tty", "environ", "wanted"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "0"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"FORCE_COLOR": "0"}, False),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_no_color_wins_over_force_color(tty: bool, environ: dict[str, str], wanted: bool) -> None:
    """The rule for colours, case by case."""
    assert wants_color(tty, environ) is wanted


def test_escape_sequences_in_the_journal_never_reach_a_terminal(journal: Seeded) -> None:
    """Names, content, errors and ids are neutral in every view and every format on a terminal."""
    from otel_agent_journal.event import ErrorInfo, Usage

    evil = JournalBuilder(f"s{EVIL}")
    root = evil.start("AGENT", f"agent{EVIL}", details={"input": EVIL})
    model = evil.start("MODEL", EVIL, parent=root, details={"messages": [{"role": EVIL, "content": EVIL}]})
    evil.note(model, "PROGRESS", details={"message": EVIL})
    evil.record(f"ODD{EVIL}", details={EVIL: EVIL})
    evil.record("STAGE_CHANGED", details={"stage": EVIL})
    evil.end(model, usage=Usage(input_tokens=1))
    evil.end(root, "error", error=ErrorInfo(type=EVIL, message=EVIL))
    journal.keep(evil)
    views = [
        ("ls",),
        ("show", "s"),
        ("show", "s", "--events"),
        ("show", "s", "--messages"),
        ("show", f"s{EVIL}/agent{EVIL}"),
        ("status", "s"),
        ("tail",),
        ("show", "nothing"),
        ("show", f"s/{EVIL}x"),
    ]
    for form in ("table", "jsonl", "json", "csv"):
        raw = terminals(*((*view, "-o", form) for view in views), NO_COLOR="1").raw
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", raw), form
        assert len(raw) > 2000
    assert "\x1b" not in pipes(*((*view, "-o", "table") for view in views))


def test_output_is_utf_8_in_any_locale(journal: Seeded) -> None:
    """Data and tables are UTF-8 where the locale knows ASCII only."""
    journal.completed("séance-漢")
    for form in ("table", "jsonl"):
        found = program("ls", "-o", form, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
        assert "séance-漢" in found.stdout
        assert found.returncode == 0
    found = program("show", "séance-漢", "-o", "table", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert "└─" in found.stdout


def unpainted(text: str, *styles: str) -> str:
    return text


def test_a_table_drops_optional_columns_before_it_is_too_wide() -> None:
    """The least needed goes first, what must be whole stays whole."""
    columns = (Column("ID"), Column("NAME", least=4), Column("A", optional=1), Column("B", optional=2))
    row = [Cell("0123456789"), Cell("a long name"), Cell("aaaa"), Cell("bbbb")]

    def shown(width: int) -> list[str]:
        return render(columns, [row], width=width, paint=unpainted)[1:]

    assert shown(0) == ["0123456789  a long name  aaaa  bbbb"]
    assert shown(24) == ["0123456789  a lon…  aaaa", "no room for B; -o json …"]
    assert shown(17) == ["0123456789  a lo…", "no room for A, B…"]
    assert shown(5) == ["0123…", "no r…"]


def test_cells_are_text_and_never_markup() -> None:
    """What looks like rich's markup or an emoji code is printed as it is."""
    assert (
        "[red]x[/red] :smile:" in render((Column("A"),), [[Cell("[red]x[/red] :smile:")]], width=0, paint=unpainted)[1]
    )


def test_a_row_that_comes_alone_goes_on_below() -> None:
    """Nothing of it is lost: an id is cut in its middle, the last cell goes on in lines below."""
    columns = (Column("ID", least=8, middle=True), Column("DETAIL"))
    row = [Cell("0123456789" * 5), Cell("a detail of many words that does not fit into what is left of the line")]
    lines = list(growing(columns, [row], unpainted, width=60))
    assert lines[:2] == ["ID        DETAIL", "0123456789012345…567890123456789  a detail of many words"]
    assert " ".join(lines[1:]).split("  ", 1)[1].split() == row[1].text.split()
    assert max(map(len, lines)) <= 60
    assert list(growing(columns, [row], unpainted))[1] == f"{row[0].text}  {row[1].text}"
