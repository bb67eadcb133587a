"""A scripted Bedrock for each test, and clients of it that do not wait long between their retries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agent_journal.testing.bedrock import BedrockServer


@pytest.fixture
def server() -> Iterator[BedrockServer]:
    with BedrockServer() as running:
        yield running
