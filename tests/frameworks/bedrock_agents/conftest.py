"""A recording of Bedrock agents for each test, checked at its end, and the service they are in."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.testing.bedrock import BedrockServer
from tests.frameworks.langgraph.recording import Recording, recording_at


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Let no connection that a test broke be found unclosed in the middle of another."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
        gc.freeze()  # what is left will stay: the next one need not look through it


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """Record with a TracerProvider of the program's own; afterwards check what is true of every recording."""
    instrumentor = BedrockAgentsInstrumentor()
    with recording_at(tmp_path / "spool", provider=TracerProvider(), instrumentor=instrumentor) as made:
        yield made
        made.check()


@pytest.fixture
def recording_without_sdk(tmp_path: Path) -> Iterator[Recording]:
    """Record in a program that has no TracerProvider."""
    with recording_at(tmp_path / "spool", instrumentor=BedrockAgentsInstrumentor()) as made:
        yield made
        made.check()


@pytest.fixture
def server() -> Iterator[BedrockServer]:
    """Bedrock on loopback."""
    with BedrockServer() as served:
        yield served


@pytest.fixture
def client(server: BedrockServer) -> Any:
    """Return a client for agents that gives up at the first error."""
    return server.client("bedrock-agent-runtime", config=Config(retries={"total_max_attempts": 1}))
