"""No test takes a port that somebody else may have by then."""

from __future__ import annotations

import ast
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from scripts.ports import reserved_port
from tests.processes import started

ROOT = Path(__file__).resolve().parents[2]
ASKING = "from scripts.ports import reserved_port\nprint(reserved_port({}), flush=True)\ninput()\n"


def asking(preferred: int | None) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a process that reserves a port, says which, and goes on until its input ends."""
    command = [sys.executable, "-c", ASKING.format(preferred)]
    return started(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_port_is_given_once() -> None:
    """A port is somebody's from when it is told, used or not; killed, who had it has it no more."""
    ours = reserved_port()
    with asking(ours) as one:
        assert one.stdout is not None
        theirs = int(one.stdout.readline())
        assert theirs != ours
        assert reserved_port(theirs) != theirs
    assert reserved_port(theirs) == theirs
    assert reserved_port(theirs) != theirs  # it is ours already


def test_no_port_is_looked_up_in_passing() -> None:
    """A free port is not that any more once its socket is closed: `reserved_port` is there for those who need one."""
    folders = (ROOT / "tests", ROOT / "scripts", ROOT / "src" / "otel_agent_journal" / "testing")
    files = [file for folder in (*folders, *ROOT.glob("exporters/*/tests")) for file in folder.rglob("*.py")]
    found = [f"{file.relative_to(ROOT)}:{line}" for file in files for line in looked_up(ast.parse(file.read_text()))]
    assert found == []


def looked_up(module: ast.Module) -> list[int]:
    """Return the lines that return a socket's name out of the block that closes it."""
    blocks = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.With) and any("socket.socket" in ast.unparse(item) for item in node.items)
        if not any(isinstance(part, ast.Yield) for part in ast.walk(node))
    ]
    parts = [part for block in blocks for part in ast.walk(block)]
    return [part.lineno for part in parts if isinstance(part, ast.Return) and "getsockname" in ast.unparse(part)]
