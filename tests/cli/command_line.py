"""The command line as tests call it: in this process, as a real program in a pipe, and on a terminal of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any, NamedTuple

from click.testing import CliRunner, Result

from otel_agent_journal.cli.app import group

PROGRAM = [sys.executable, "-c", "from otel_agent_journal.cli import main; main()"]
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Seen(NamedTuple):
    """What a terminal was sent, and how the program ended."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """Without colours."""
        return _ANSI.sub("", self.raw).replace("\r\n", "\n")


def cli(*args: str) -> Result:
    """Run a command line in this process; its stdout is no terminal."""
    return CliRunner().invoke(group, list(args))


def rows(result: Result | subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return stdout as JSON lines."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def program(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command line as a program of its own, its stdout a pipe."""
    return subprocess.run(
        [*PROGRAM, *args],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **env},
        timeout=60,
        check=False,  # the exit code is the test's business
    )


def terminal(*args: str, columns: int = 120, **env: str) -> Seen:
    """Run a command line on a terminal of so many columns."""
    return _on_terminal([*PROGRAM, *args], columns, env)


def terminals(*lines: tuple[str, ...], columns: int = 120, **env: str) -> Seen:
    """Run several command lines one after the other on one terminal, in one process: quicker."""
    return _on_terminal([sys.executable, "-c", _SEVERAL, json.dumps(lines)], columns, env)


def pipes(*lines: tuple[str, ...], **env: str) -> str:
    """Run several command lines one after the other in one process; return what the pipe got."""
    return subprocess.run(
        [sys.executable, "-c", _SEVERAL, json.dumps(lines)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, **env},
        check=True,
        timeout=60,
    ).stdout


_SEVERAL = """
import json, sys
from otel_agent_journal.cli.app import group
for line in json.loads(sys.argv[1]):
    try:
        group.main(line)
    except SystemExit:
        sys.stdout.flush()
"""


def _on_terminal(command: list[str], columns: int, env: dict[str, str]) -> Seen:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", **env}
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the last one closed the other end
            break
        if not data:
            break
        seen += data
    os.close(ours)
    return Seen(child.wait(timeout=60), seen.decode("utf-8"))
