"""Programs run as a user runs them: real processes, in a folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_agent_journal.cli.app import group
from otel_agent_journal.event import EMPTY

BIN = Path(sys.executable).parent
TIMEOUT_S = 90


class Workdir:
    """An empty folder with programs in it, and the commands that are run there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {**os.environ, "PYTHONWARNINGS": "default"}

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def command(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        env = self.env | options.pop("env", {})
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.path,
            env=env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            **options,
        )

    def python(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a Python program by itself."""
        return self.command(sys.executable, *arguments, **options)

    def journal(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run agent-journal."""
        return self.command(BIN / "agent-journal", *arguments, **options)

    def run(self, *program: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a Python program under agent-journal run."""
        given = options.pop("options", ())
        return self.journal("run", *given, "--", sys.executable, *program, **options)

    def sessions(self) -> list[dict[str, Any]]:
        """Return what `ls` lists."""
        return self._read("ls", env={})

    def events(self, session: str, *, env: Mapping[str, str] = EMPTY) -> list[dict[str, Any]]:
        """Return a session's events."""
        return self._read("show", session, "--events", env=env)

    def _read(self, *arguments: str, env: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the lines that a command prints; run in this process, which has it imported."""
        environ = {**self.env, **env}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            for name in os.environ.keys() - environ.keys():
                patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(group, arguments)
        assert done.exit_code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """An empty folder to run programs in."""
    return Workdir(tmp_path)


GRAPH = """
import operator, os, sys, time
from typing import Annotated, TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict):
    notes: Annotated[list[str], operator.add]

def build(*nodes):
    graph = StateGraph(State)
    previous = START
    for name, function in nodes:
        graph.add_node(name, function)
        graph.add_edge(previous, name)
        previous = name
    return graph.compile(name="walker")
"""

# The same without a framework, told by hand: it is there in a tenth of the time, for what is not about frameworks.
WALKER = """
import os, sys, time
from opentelemetry import context
from otel_agent_journal import step
from otel_agent_journal.pipeline.step import SESSION_KEY

class Walker:
    def __init__(self, nodes):
        self.nodes = nodes

    def invoke(self, state, config):
        context.attach(context.set_value(SESSION_KEY, config["configurable"]["thread_id"]))
        with step("agent", "walker"):
            for name, function in self.nodes:
                with step("node", name) as block:
                    found = function(state)
                    block.complete(found)
                state = {"notes": state["notes"] + found["notes"]}
        return state

def build(*nodes):
    return Walker(nodes)
"""
