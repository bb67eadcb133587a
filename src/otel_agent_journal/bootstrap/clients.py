"""What `serve` has for clients of other servers: LangGraph's, over the same runs and the same journal."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.config import Settings
from otel_agent_journal.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from otel_agent_journal.bootstrap.sessions import Sessions
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.langgraph.reading import Threads
    from otel_agent_journal.server.routes import Route

_DESCRIBE_S: Final = 60.0
_SAID: Final = 2000  # characters of what went wrong


def open_clients(
    settings: Settings, opened: Callable[[], Journal], runs: Sessions | None
) -> tuple[Threads, tuple[Route, ...]]:
    """Return what reads threads, to be closed, and the routes of LangGraph's clients."""
    from otel_agent_journal.server.langgraph.assistants import Assistants
    from otel_agent_journal.server.langgraph.reading import Threads
    from otel_agent_journal.server.langgraph.routes import langgraph_routes
    from otel_agent_journal.server.langgraph.runs import Runs

    threads = Threads(opened)
    agents = {} if runs is None else {name: one.description or "" for name, one in runs.agents.items()}

    def describe(name: str) -> Mapping[str, Any]:
        assert runs is not None
        return described(runs, name)

    return threads, langgraph_routes(
        threads, Runs(runs, threads, content=settings.content), Assistants(agents, describe)
    )


def open_a2a(runs: Sessions | None, agents: Mapping[str, str]) -> tuple[Route, ...]:
    """Return the routes of A2A.

    Raises:
        ConfigError: nothing is run here.
        MissingExtra: the packages of the extra `a2a` are not installed.
    """
    if runs is None:
        raise ConfigError("--a2a has agents run: give --write, --agents, and a store that keeps documents")
    try:
        from otel_agent_journal.server.a2a.routes import a2a_routes
    except ImportError as error:
        raise MissingExtra(f"A2A; {error.name}", "otel-agent-journal[a2a]") from error
    return a2a_routes(runs, agents)


def described(runs: Sessions, name: str) -> Mapping[str, Any]:
    """Return an agent's graph and schemas, as a process of its own finds them.

    Raises:
        Refused: it is no graph, or cannot be loaded.
    """
    from otel_agent_journal.server.problems import Refused

    agent = runs.agents[name]
    if agent.call is None:
        raise Refused(422, f"assistant {name} is a command: it has no graph")
    path = [str(Path.cwd()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environ = {**os.environ, **agent.env, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
    with tempfile.TemporaryDirectory(prefix="agent-journal-graph-") as folder:
        file = Path(folder) / "graph.json"
        command = [sys.executable, "-m", "otel_agent_journal.bootstrap.graph_told", agent.call, str(file)]
        try:
            ran = subprocess.run(
                command,
                env=environ,
                cwd=agent.cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_DESCRIBE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Refused(504, f"assistant {name} was not loaded within {_DESCRIBE_S:g} s") from error
        if ran.returncode:
            said = ran.stderr.decode("utf-8", "replace").strip()[-_SAID:]
            raise Refused(422, f"assistant {name} could not be asked for its graph: {said.rpartition(chr(10))[2]}")
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
