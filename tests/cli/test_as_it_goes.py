"""Long work prints what it finds as it finds it, says how far it is on a terminal, and may be broken off."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otel_agent_journal.cli.contract import FORMATS
from otel_agent_journal.cli.output import Output
from otel_agent_journal.cli.progress import Bar
from otel_agent_journal.cli.table import Cell, Column
from otel_agent_journal.codec import sealed
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Capabilities
from otel_agent_journal.testing.builders import a_head, an_event
from tests.cli.command_line import cli, terminal
from tests.cli.conftest import Seeded
from tests.store.test_registry import install


class Watched(MemoryStore):
    """A journal of three sessions with a changed event and a wrong head; tells what was printed before a read."""

    def __init__(self, asked: Callable[[str, str], object]) -> None:
        super().__init__("watched://")
        self._asked = asked
        for at, name in enumerate(("first", "second", "third")):
            changed = msgspec.structs.replace(sealed(an_event(0, session_id=name)), name="changed")
            self.append([changed])
            assert self.write_head(a_head(session_id=name, steps=77, updated_ns=changed.timestamp_ns - at)) is not None

    @property
    def capabilities(self) -> Capabilities:
        """One session is read after the other."""
        return msgspec.structs.replace(super().capabilities, threads=1)

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        self._asked(session_id, sys.stdout.buffer.getvalue().decode())  # type: ignore[attr-defined] - of click's runner
        return super().read(session_id, after)


OPEN: list[Watched] = []


def open_watched(url: str, *, create: bool = True) -> Watched:
    """Return the store of the test that runs."""
    return OPEN[-1]


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What had been printed when each session was read last, in that order."""
    install(tmp_path / "installed", "watched", f"{__name__}:open_watched")
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    seen: dict[str, str] = {}

    def asked(session_id: str, printed: str) -> None:
        seen.pop(session_id, None)
        seen[session_id] = printed

    OPEN.append(Watched(asked))
    yield seen
    OPEN.pop()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("command", "code"), [(("verify",), 5), (("store", "repair"), 0)])
def test_a_finding_is_printed_before_the_next_session_is_read(
    printed: dict[str, str], form: str, command: tuple[str, ...], code: int
) -> None:
    """In every format, one array of JSON too; the exit code and the count come in the end."""
    done = cli(*command, "-o", form, "--store", "watched://")
    assert done.exit_code == code, done.stderr
    order = list(printed)
    for before, after in pairwise(order):
        assert before in printed[after]
    assert order[-1] in done.stdout
    assert "3 findings" in done.stderr
    if form == "json":
        assert [row["session_id"] for row in json.loads(done.stdout)] == order


def test_what_was_found_stays_when_it_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with 130; what was printed before is there."""

    def asked(_session_id: str, printed: str) -> None:
        if printed:
            raise KeyboardInterrupt

    install(tmp_path / "installed", "watched", f"{__name__}:open_watched")
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    OPEN.append(Watched(asked))
    done = cli("verify", "--store", "watched://")
    OPEN.pop()
    assert (done.exit_code, json.loads(done.stdout)["check"]) == (130, "digest")


@pytest.mark.parametrize("form", FORMATS)
def test_each_result_is_handed_over_before_the_next_is_asked_for(form: str) -> None:
    """Not held in a buffer until there are more."""
    raw = io.BytesIO()
    output = Output(form, io.BufferedWriter(raw, 1 << 20))  # type: ignore[arg-type] - as stdout's
    seen: list[str] = []

    def results() -> Iterator[dict[str, Any]]:
        for number in range(3):
            seen.append(raw.getvalue().decode())
            yield {"result": f"number-{number}"}

    if form == "table":
        output.rows((Column("RESULT"),), ([Cell(one["result"])] for one in results()))
    else:
        output.records(output.prompt(results()), ("result",))
    assert [f"number-{number}" in seen[number + 1] for number in range(2)] == [True, True]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_the_first_of_many_records_does_not_wait_for_the_rest(form: str) -> None:
    """Of quick results the first is handed over at once, and the rest every now and then."""
    raw = io.BytesIO()
    output = Output(form, io.BufferedWriter(raw, 1 << 20))  # type: ignore[arg-type] - as stdout's
    output.records(({"result": len(raw.getvalue())} for _ in range(2)), ("result",))
    output.flush()
    assert "0" in raw.getvalue().decode()
    assert not raw.getvalue().decode().rstrip("\n ]}").endswith("0")


def test_a_growing_table_keeps_its_columns(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A column is as wide as it was said to be; what is longer stands whole; without a row there is no heading."""
    output = Output("table", sys.stdout.buffer)
    columns = (Column("ID", least=4), Column("WHAT"))
    output.rows(columns, [])
    output.rows(columns, [[Cell("a"), Cell("one")], [Cell("bcdefg", "red"), Cell("two\nlines")]])
    output.flush()
    assert capsysbinary.readouterr().out.decode().splitlines() == ["ID    WHAT", "a     one", "bcdefg  two lines"]


def test_a_bar_is_out_of_the_way_of_what_is_printed() -> None:
    """It is drawn at the first move, taken away, drawn again at the next, and left as it was in the end."""
    drawn: list[str] = []
    bar = Bar(4, "working", drawn.append)
    bar(1)
    bar.clear()
    bar.clear()
    bar.to(2)
    bar.to(1)
    bar.end()
    assert [text.removeprefix("\r\x1b[K").split("  ")[0] for text in drawn] == [
        "working",
        "",
        "working",
        "working",
        "\n",
    ]
    assert [text.split("]")[1].split()[0] for text in drawn if "]" in text] == ["25%", "50%", "50%"]


def test_work_whose_end_nobody_knows_is_counted() -> None:
    """Then there is no share to draw."""
    drawn: list[str] = []
    Bar(None, "looked at", drawn.append).to(1_200)
    assert drawn == ["\r\x1b[Klooked at  1,200"]


def test_nothing_is_drawn_where_nobody_looks() -> None:
    """Off a terminal a bar counts in silence."""
    bar = Bar(0, "working", None)
    bar.to(3, 10)
    bar.clear()
    bar.end()


@pytest.mark.parametrize(
    ("command", "label"),
    [
        (("store", "prune", "--older-than", "1s", "--dry-run"), "looking for old sessions"),
        (("drain", "--set-aside"), "trying again what was set aside"),
        (("store", "repair"), "looking at 1 session"),
    ],
)
def test_long_work_says_how_far_it_is(journal: Seeded, command: tuple[str, ...], label: str) -> None:
    """On a terminal."""
    journal.completed()
    text = terminal(*command).text
    assert label in text
    assert "100%" in text
