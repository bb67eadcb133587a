"""Strands' sessions on every store's real server: manager, repository and storage."""

from __future__ import annotations

import asyncio

from tests.frameworks.strands.session_checks import CHECKS, storage_keeps_bytes
from tests.real.backends import Backend


def test_sessions(backend: Backend) -> None:
    """All that holds in memory, in one store: each check has sessions of its own, or takes the place of one."""
    for check in CHECKS:
        with backend.opened(backend.fresh()) as store:
            check(store)
    with backend.opened(backend.fresh()) as store:
        asyncio.run(storage_keeps_bytes(store))
