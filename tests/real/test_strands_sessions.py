"""Strands' sessions on every store's real server: manager, repository, storage, and many writers where calls fail."""

from __future__ import annotations

import asyncio
import os

import pytest

from otel_agent_journal.store.registry import open_store
from tests.context.transcript_race import check_race, writers_lose_nothing
from tests.frameworks.strands.session_checks import CHECKS, storage_keeps_bytes
from tests.real.backends import Backend
from tests.real.fault_proxy import AtRandom

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
WRITERS, EACH = (8, 18) if SOAK else (2, 3)


@pytest.mark.timeout(600)
def test_sessions(backend: Backend) -> None:
    """All that holds in memory, each in a store of its own."""
    for check in CHECKS:
        with backend.opened(backend.fresh()) as store:
            check(store)
    with backend.opened(backend.fresh()) as store:
        asyncio.run(storage_keeps_bytes(store))


@pytest.mark.long_form
@pytest.mark.timeout(3600 if SOAK else 300)
def test_writers_at_a_time_lose_nothing(backend: Backend) -> None:
    """Behind a proxy that fails a fifth of all calls, before or after the server has done them."""
    url = backend.fresh()
    with backend.proxy(AtRandom(0.2, seed=2), silence_s=0.02, slow_s=0.01) as proxy:
        writers_lose_nothing(lambda: open_store(backend.through(url, proxy)), WRITERS, EACH)
    with backend.opened(url) as store:
        check_race(store, WRITERS, EACH)
