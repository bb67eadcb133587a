"""A recording of AgentCore apps for each test, checked at its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bedrock_agentcore.runtime import BedrockAgentCoreApp
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.frameworks.agentcore import AgentCoreInstrumentor
from otel_agent_journal.frameworks.agentcore.requests import Sessions
from otel_agent_journal.frameworks.agentcore.tasks import Tasks
from otel_agent_journal.pipeline.flushing import Flusher
from tests.frameworks.agentcore.serving import Served, served
from tests.frameworks.langgraph.recording import Recording, recording_at


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The app logs every failed request with its traceback."""
    log = logging.getLogger("bedrock_agentcore.app")
    log.disabled = True
    yield
    log.disabled = False


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """Record with a TracerProvider of the program's own; afterwards check what is true of every recording."""
    with recorded(tmp_path) as made:
        yield made
        made.check()


def recorded(folder: Path, **options: object):
    """Record AgentCore apps, as `recording_at` records graphs; what former tests left with the hooks is gone."""
    instrumentor = AgentCoreInstrumentor()
    hooks = instrumentor._hooks
    if hooks is not None:
        hooks.sessions = Sessions()
        hooks.tasks = Tasks(hooks.sessions)
        hooks.flusher = Flusher()
    return recording_at(folder / "spool", provider=TracerProvider(), instrumentor=instrumentor, **options)


@pytest.fixture
def serve() -> Iterator[Callable[[BedrockAgentCoreApp], Served]]:
    """Return a function that serves an app until the test ends."""
    with ExitStack() as open_:
        yield lambda app: open_.enter_context(served(app))
