"""Long output through a pager, as git does it: on a terminal alone, and not where all fits on one screen.

Which pager: AGENT_JOURNAL_PAGER, else PAGER, else `less`; an empty one, or `cat`, is none. `less` is told `-FRX` unless
LESS says otherwise: it ends by itself where one screen is enough, shows colours, and leaves what was shown.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

from otel_agent_journal.cli.contract import OutputClosed

if TYPE_CHECKING:
    from typing import BinaryIO

    from otel_agent_journal.cli.output import Output

PAGER: Final = "AGENT_JOURNAL_PAGER"
_LESS: Final = "FRX"


def pager_of(environ: Mapping[str, str]) -> str | None:
    """Return the command line of the pager; None for none, as where it is not installed, or the terminal is dumb."""
    command = environ.get(PAGER, environ.get("PAGER", "less")).strip()
    if not command or environ.get("TERM", "dumb") == "dumb":
        return None
    try:
        first = shlex.split(command)[0]
    except (ValueError, IndexError):
        return command  # the shell's matter
    is_there = shutil.which(first) is not None or "=" in first  # else the shell says what is the matter, to nobody
    return command if is_there and command != "cat" else None


@contextmanager
def paged(output: Output, *, wanted: bool = True) -> Generator[None]:
    """Send what is written to an output within this block through the pager, where a person reads it on a terminal.

    What fits on one screen is printed without one. A reader who leaves the pager has seen enough, which is no error.

    Args:
        output: the command's.
        wanted: False where --no-pager was given.
    """
    command = pager_of(os.environ) if wanted and output.tty and output.for_people else None
    if command is None:
        yield
        return
    output.flush()
    before, screen = output.stream, _Screen(output.stream, command, _lines_of_terminal())
    output.stream = cast("BinaryIO", screen)
    try:
        with suppress(OutputClosed):
            yield
    finally:
        output.stream = before
        screen.end()


class _Screen:
    """Holds what is written until it is more than a screen, and hands it to the pager from then on."""

    def __init__(self, terminal: BinaryIO, command: str, lines: int) -> None:
        self._terminal = terminal
        self._command = command
        self._lines = lines
        self._held: list[bytes] = []
        self._pager: subprocess.Popen[bytes] | None = None

    def write(self, data: bytes) -> int:
        """Take some lines, none of which is wider than the terminal."""
        if self._pager is not None:
            return cast("BinaryIO", self._pager.stdin).write(data)
        self._held.append(data)
        if sum(part.count(b"\n") for part in self._held) >= self._lines:
            # The pager is the user's own command line, as git's is; it shares our terminal, and its Ctrl-C is its own.
            environ = {**os.environ, "LESS": os.environ.get("LESS", _LESS), "LV": os.environ.get("LV", "-c")}
            self._pager = subprocess.Popen(  # noqa: S602
                self._command, shell=True, stdin=subprocess.PIPE, env=environ
            )
            cast("BinaryIO", self._pager.stdin).write(b"".join(self._held))
        return len(data)

    def flush(self) -> None:
        """Hand over to the pager; what is held stays until it is known whether it needs one."""
        if self._pager is not None:
            cast("BinaryIO", self._pager.stdin).flush()

    def end(self) -> None:
        """Print what is held, or wait until the reader leaves the pager; meanwhile Ctrl-C is the pager's."""
        if self._pager is None:
            self._terminal.write(b"".join(self._held))
            self._terminal.flush()
            return
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with suppress(OSError, ValueError):
                cast("BinaryIO", self._pager.stdin).close()
            self._pager.wait()
        finally:
            signal.signal(signal.SIGINT, ours)


def _lines_of_terminal() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines
    except (OSError, ValueError):
        return 24
