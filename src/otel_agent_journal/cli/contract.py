"""What every module of the command line agrees on: formats, two errors, how a line is said beside the data."""

from __future__ import annotations

from otel_agent_journal.cli import readable
from otel_agent_journal.errors import JournalError
from otel_agent_journal.terminal import say

FORMATS = ("table", "json", "jsonl", "csv")
CTRL_C = 130  # the exit code


class CliError(JournalError):
    """What was asked cannot be done; `exit_code` says in which way."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class OutputClosed(BaseException):
    """Whoever read our stdout went away; nothing is left to do, and nothing to say."""


def note(message: str) -> None:
    """Say a line on stderr."""
    say(f"agent-journal: {readable.one_line(message)}")
