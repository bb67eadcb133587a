"""The checkpointer conforms to LangGraph's suite, on every store's real server."""

from __future__ import annotations

import os

import pytest

from otel_agent_journal.bootstrap.checkpoints import JournalSaver
from tests.frameworks.langgraph.checkpoints.conformance import BySyncMethods, conforms
from tests.real.backends import Backend

# An async method is its sync twin in a thread: what looks at the latter alone is for the long form.
KINDS = [JournalSaver, BySyncMethods] if os.environ.get("AGENT_JOURNAL_SOAK") else [JournalSaver]


@pytest.mark.long_form
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
async def test_all_capabilities(kind: type[JournalSaver], backend: Backend) -> None:
    """All are detected and pass, delta histories too, by async and by sync methods."""
    url = backend.fresh()
    await conforms(lambda: kind(url))
