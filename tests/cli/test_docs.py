"""docs/cli.md says all of it: commands, options, exit codes, variables, checks, keys."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest

from otel_agent_journal.cli import app
from otel_agent_journal.cli.app import COMMANDS, group
from otel_agent_journal.cli.contract import FORMATS
from otel_agent_journal.cli.diagnosis import OWN_VARIABLES
from otel_agent_journal.cli.ls import STATUSES
from otel_agent_journal.cli.verify import CHECKS
from otel_agent_journal.config import VARIABLES
from otel_agent_journal.reading.comparing import CHECKS as DIFFERENCES
from otel_agent_journal.reading.session_records import KEYS
from otel_agent_journal.reading.step_rows import ROW_KEYS

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
COMMON = {"--store", "-o", "--output", "--no-pager", "-v", "--verbose", "-h", "--help"}


def section(name: str) -> str:
    """Return the part of the page under a heading."""
    assert f"\n## {name}\n" in DOCS
    return DOCS.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    """Each command has a section with its usage and each of its own options, and a row of the table."""
    command: click.Command = importlib.import_module(f"otel_agent_journal.cli.{name}").command
    text = section(name)
    assert f"`agent-journal {name}" in text
    assert f"| [`{name}`](#{name}) | {COMMANDS[name][0].lower()}{COMMANDS[name][1:-1]} |" in DOCS
    commands = [command]
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        inner = {one: command.get_command(ctx, one) for one in command.list_commands(ctx)}
        commands += [found for found in inner.values() if found is not None]
        assert all(f"`agent-journal {name} {one} " in text and f"**`{one}`**" in text for one in inner)
    flags = {flag for one in commands for param in one.params for flag in (*param.opts, *param.secondary_opts)}
    for option in {flag for flag in flags if flag.startswith("-")} - COMMON:
        assert f"`{option}" in text, option


def test_differences_are_documented() -> None:
    """Each kind of difference that a copy may have has its row."""
    assert all(f"| `{check}` | {meaning} |" in section("store") for check, meaning in DIFFERENCES.items())


def test_no_command_is_documented_that_is_not_there() -> None:
    """Sections of commands and commands are the same."""
    headings = [line[3:] for line in DOCS.splitlines() if line.startswith("## ")]
    general = {"For every command", "Exit codes", "Variables"}
    assert set(headings) - general == set(COMMANDS)


def test_the_common_options_are_documented() -> None:
    """Those of every command, and of the group alone."""
    text = section("For every command")
    for option in {flag for param in group.params for flag in param.opts} | COMMON:
        assert f"`{option}" in text or f"`agent-journal {option}" in text, option
    assert all(f"`{form}`" in text for form in FORMATS)


def test_every_exit_code_is_documented() -> None:
    """Each code that the error boundary and the checks know has a row."""
    codes = (
        app.DONE,
        app.FAILED,
        app.USAGE,
        app.NOT_FOUND,
        app.UNREACHABLE,
        app.CHECK_FAILED,
        app.CTRL_C,
        app.PIPE_CLOSED,
    )
    assert codes == (0, 1, 2, 3, 4, 5, 130, 141)
    for code in codes:
        assert f"\n| {code} | " in section("Exit codes")


def test_every_variable_is_documented() -> None:
    """Each variable that is read has a row, in the one table of variables."""
    assert "(configuration.md#variables)" in section("Variables")
    table = (
        (Path(__file__).parents[2] / "docs" / "configuration.md").read_text().split("## Variables")[1].split("\n## ")[0]
    )
    for variable in {*VARIABLES, *OWN_VARIABLES, "NO_COLOR", "FORCE_COLOR", "COLUMNS"}:
        assert f"| `{variable}` |" in table, variable


def test_keys_statuses_and_checks_are_documented() -> None:
    """What a script reads is on the page."""
    assert all(f"`{key}`" in section("ls") for key in KEYS)
    assert all(status in section("ls") for status in STATUSES)
    assert ", ".join(ROW_KEYS) in " ".join(section("show").split())
    assert all(f"| `{check}` | {finding} |" in section("verify") for check, finding in CHECKS.items())
