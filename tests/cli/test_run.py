"""`run` and `export`: thin commands, whose arguments and exit codes are theirs to keep right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_line import cli, program
from tests.cli.conftest import Seeded

LAUNCHES = "import subprocess, sys; subprocess.run(sys.argv[1:])"
PRINTS = "import sys; print(sys.argv[1:]); sys.exit(int(sys.argv[1]))"


@pytest.mark.parametrize("dashes", [["--"], []])
def test_run_keeps_arguments_stdout_and_exit_code(dashes: list[str]) -> None:
    """Everything after the program's name is the program's, with or without `--`; its code is ours."""
    found = program("run", *dashes, sys.executable, "-c", PRINTS, "7", "-o", "x", "--store", "-v", "--help")
    assert found.stdout == "['7', '-o', 'x', '--store', '-v', '--help']\n"
    assert found.returncode == 7
    assert "Traceback" not in found.stderr


def test_run_ends_as_the_shell_would_where_a_signal_ended_the_program() -> None:
    """128 and the number of the signal, and a line that says so."""
    found = program("run", "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert found.returncode == 137
    assert "SIGKILL" in found.stderr


@pytest.mark.parametrize("command", [(sys.executable, "-I", "-c", "print(1)"), ("sh", "-c", "echo 1")])
def test_run_says_that_it_reached_no_python(command: tuple[str, ...]) -> None:
    """A Python that ignores its environment, or none at all, is no program without agents."""
    found = program("run", "--", *command)
    assert found.stdout == "1\n"
    assert "nothing was journaled: no Python of the program could be reached (python -I, -E and -S" in found.stderr
    assert "instrumented" not in found.stderr


@pytest.mark.parametrize("launcher", [(), ("sh", "-c", '"$@"; true', "sh"), (sys.executable, "-I", "-c", LAUNCHES)])
def test_run_says_that_the_program_has_no_agent(launcher: tuple[str, ...], tmp_path: Path) -> None:
    """A Python that was reached, directly or by way of another program, ran no agent; no file of ours stays behind."""
    found = program("run", "--", *launcher, sys.executable, "-c", "print(1)", TMPDIR=str(tmp_path))
    assert found.stdout == "1\n"
    assert "nothing was journaled: the program ran no agent that is instrumented" in found.stderr
    assert list(tmp_path.glob("agent-journal-*")) == []


def test_run_without_room_for_temporary_files_runs_the_program() -> None:
    """Where it cannot be told whether a Python was reached, the program runs all the same."""
    code = (
        "import sys, tempfile; from otel_agent_journal.cli import main\n"
        "def full(**_): raise OSError(28, 'No space left on device')\n"
        "tempfile.TemporaryDirectory = full; main()"
    )
    command = [sys.executable, "-c", code, "run", "--", sys.executable, "-c", "print(1)"]
    found = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert found.stdout == "1\n"
    assert "nothing was journaled: the program ran no agent" in found.stderr


def test_run_of_a_program_that_is_not_there() -> None:
    """127, as shells have it."""
    found = program("run", "--", "no-such-program")
    assert found.returncode == 127
    assert "no-such-program" in found.stderr


def test_a_mistake_before_the_program_starts_nothing() -> None:
    """A malformed store is a usage error."""
    found = program("--store", "foo://x", "run", "--", sys.executable, "-c", "print('ran')")
    assert found.returncode == 2
    assert found.stdout == ""
    assert "no store is known by the scheme 'foo'" in found.stderr


def test_export_of_a_session_that_is_not_there_and_to_a_backend_that_is_not(journal: Seeded) -> None:
    """3 and 4, with what to do."""
    journal.completed()
    result = cli("export", "nobody", "--otlp", "http://127.0.0.1:1")
    assert result.exit_code == 3
    result = cli("export", "done", "--otlp", "http://127.0.0.1:1")
    assert result.exit_code == 4
    assert "the journal is unaffected" in result.stderr
