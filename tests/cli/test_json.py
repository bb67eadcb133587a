"""docs/json.md: every command's data has the names that the page gives it, and each name the type that it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from otel_agent_journal.cli import app, store
from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import cli
from tests.cli.conftest import URL, Seeded

PAGE: Final = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
RUNS: Final = {"run", "resume", "demo", "mcp", "collect", "serve"}
LEFT_OUT: Final = {"`show --messages`"}  # of messages that have none: a message is printed as it was said
TYPES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "time": (str,),
    "whole number": (int,),
    "number": (int, float),
    "yes or no": (bool,),
    "list": (list,),
    "object": (dict,),
    "anything": (object,),
}


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    text = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def words(cell: str) -> list[str]:
    return re.findall(r"`([\w]+)`", cell)


# What each command prints, by the words of its row.
NAMES: Final = {row[0]: words(row[2].partition(";")[0]) for row in table("What each command prints")}
# The types that each name may have.
MEANINGS: Final = {
    name: [one.strip() for one in row[1].split(",")] for row in table("What the names mean") for name in words(row[0])
}


@pytest.fixture
def seeded(journal: Seeded) -> Seeded:
    """A journal with a session of each kind, one of which can be forked."""
    journal.completed("done")
    journal.failed("broken")
    journal.running("silent", ago_s=3600, writer="d" * 32)
    asked = JournalBuilder("asked")
    model = asked.start("MODEL", "m", details={"input": [{"role": "user", "content": "hello"}]})
    asked.end(model, details={"output": {"role": "assistant", "content": "hi"}})
    journal.keep(asked)
    Path("rules.toml").write_text('[[alert]]\nname = "silent"\nkind = "stuck"\n')
    return journal


def written_out(session_id: str) -> str:
    """Write a session out into a file, and return its name."""
    lines = cli("export", session_id, "--jsonl").stdout
    Path("out.jsonl").write_text(lines)
    return "out.jsonl"


# The row of the page, and the command line that prints it; `test_going_back` has those that need an agent's context.
CALLS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("`ls`", ("ls",)),
    ("`show SESSION`", ("show", "broken")),
    ("`show --prompt`", ("show", "asked/m", "--prompt")),
    ("`show --messages`", ("show", "asked", "--messages")),
    ("`status`", ("status", "silent")),
    ("`diff`", ("diff", "done", "broken")),
    ("`drain`", ("drain",)),
    ("`drain --set-aside`", ("drain", "--set-aside")),
    ("`sweep`", ("sweep",)),
    ("`doctor`", ("doctor",)),
    ("`alerts check`, `alerts watch`, `alerts list`", ("alerts", "check", "--rules", "rules.toml")),
    ("`export --parquet`", ("export", "--parquet", "lake")),
    ("`store init`", ("store", "init", "--yes")),
    ("`store info`", ("store", "info")),
    ("`store copy`", ("store", "copy", URL, "sqlite:///copy.db")),
    ("`store prune`", ("store", "prune", "--older-than", "900d", "--yes")),
    ("`store delete`", ("store", "delete", "done", "--dry-run")),
)


def objects(text: str) -> list[dict[str, Any]]:
    found = json.loads(text)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(("row", "call"), CALLS, ids=[row for row, _ in CALLS])
def test_a_command_prints_the_names_of_its_row(seeded: Seeded, row: str, call: tuple[str, ...]) -> None:
    """In the order of the page, no more and no fewer."""
    found = objects(cli(*call, "-o", "json").stdout)
    assert found
    for one in found:
        assert list(one) == [name for name in NAMES[row] if name in one or row not in LEFT_OUT]
        for name, value in one.items():
            allowed = tuple(kind for said in MEANINGS[name] for kind in TYPES[said])
            assert value is None or isinstance(value, allowed), (name, value)
            assert not isinstance(value, bool) or bool in allowed or object in allowed, (name, value)


def test_a_step_in_full(seeded: Seeded) -> None:
    """One step has its row's names, and what went in and came out."""
    (found,) = objects(cli("show", "done/search", "-o", "json").stdout)
    assert list(found) == [*NAMES["`show SESSION`"], "effects", "above", "process", "input", "output", "prompt"]
    assert isinstance(found["attempts"], list)


def test_what_is_found_by_a_text(seeded: Seeded) -> None:
    """`ls --grep` has one name more."""
    (found,) = objects(cli("ls", "--grep", "LOOK", "-o", "json").stdout)
    assert list(found) == [*NAMES["`ls`"], "match"]
    assert found["match"]["text"] == "let me look"
    assert found["match"]["number"] == 3


def test_an_import(seeded: Seeded) -> None:
    """`import` says what it took."""
    (found,) = objects(cli("import", written_out("done"), "--store", "sqlite:///other.db", "-o", "json").stdout)
    assert list(found) == NAMES["`import`"]


def test_every_command_has_a_row() -> None:
    """What a command that comes prints is on the page, too."""
    rows = {word for row in NAMES for word in re.findall(r"`(store [\w-]+|\w+)", row)}
    assert rows >= app.COMMANDS.keys() - RUNS - {"store"}
    assert {f"store {name}" for name in store.COMMANDS} <= rows


def test_every_name_means_one_thing() -> None:
    """Each name that a command prints is explained once."""
    printed = {name for names in NAMES.values() for name in names}
    assert printed <= MEANINGS.keys()
    explained = [name for row in table("What the names mean") for name in words(row[0])]
    assert len(set(explained)) == len(explained)
