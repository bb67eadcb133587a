"""A test that fails does not take the whole run with it: what it started ends, and what does not is told of."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import started

ROOT = Path(__file__).resolve().parents[2]
# Stops itself once it has started another, which holds its pipe.
STOPPED = (
    "import os, signal, subprocess; other = subprocess.Popen(['sleep', '600']); print(other.pid, flush=True);"
    "os.kill(os.getpid(), signal.SIGSTOP)"
)
HANGING = """
import threading
import pytest

@pytest.fixture
def stuck():
    yield
    threading.Event().wait()

@pytest.mark.timeout(1)
def test_fails_and_does_not_end(stuck):
    assert False

def test_after_it():
    pass

@pytest.mark.timeout(1)
def test_hears_no_timeout():
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass

def test_last():
    pass
"""


def test_a_process_ends_with_its_block() -> None:
    """Whatever the process does by then; so does what it started."""
    with started([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        other = psutil.Process(int(process.stdout.readline()))
    assert process.returncode == -9
    other.wait(10)


def test_no_block_waits_for_its_process() -> None:
    """`with Popen(…)` waits for the process at its end: a test that fails before it told it to end waits for ever."""
    folders = (ROOT / "tests", ROOT / "src" / "otel_agent_journal" / "testing", *ROOT.glob("exporters/*/tests"))
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for folder in folders
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.With) and any("Popen(" in ast.unparse(item) for item in node.items)
    ]
    assert found == []


@pytest.mark.timeout(240)
def test_a_test_that_never_ends_is_named_and_left(tmp_path: Path) -> None:
    """One that failed and is stuck in its teardown, and one that swallows its timeout: the others run all the same."""
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "hurried.py").write_text("import conftest\n\nconftest._GRACE_S = 1.0\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-n", "2"]
    paths = ["-o", f"pythonpath={ROOT} {tmp_path}", "-p", "conftest", "-p", "hurried", tmp_path / "test_hanging.py"]
    done = subprocess.run([*command, *paths], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "crashed while running 'test_hanging.py::test_fails_and_does_not_end'" in said, said
    assert "crashed while running 'test_hanging.py::test_hears_no_timeout'" in said
    assert "in stuck" in said, "where it stood"
    assert "2 passed" in said
