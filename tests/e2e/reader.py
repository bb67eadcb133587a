"""Runs a command line, what it prints thrown away, and says on stderr by how many bytes its memory grew at its peak.

    python -m tests.e2e.reader ARGUMENT...

What it grew by counts from when the command's modules are there: the same command was run on an empty journal before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from otel_agent_journal.cli.app import group


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    (line,) = (line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def run(arguments: list[str]) -> None:
    """Run a command line to its end, whatever its exit code."""
    try:
        group.main(arguments)
    except SystemExit:
        sys.stdout.flush()


def main(first: list[str], second: list[str]) -> None:
    """Run a command once on each of two journals, and print how much higher the second peak was."""
    sys.stdout.flush()
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    run(first)
    before = peak_bytes()
    run(second)
    print(peak_bytes() - before, file=sys.stderr)


if __name__ == "__main__":
    divider = sys.argv.index("then")
    main(sys.argv[1:divider], sys.argv[divider + 1 :])
