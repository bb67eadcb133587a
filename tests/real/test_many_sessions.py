"""What one session, or the latest, cost of a store does not grow with the others that are in it: requests, counted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from otel_agent_journal import wait_for
from tests.real.backends import Backend
from tests.real.many_sessions import fill, of_all, questions, session_id_of

FEW, MANY = 60, 240  # sessions
SLACK_BYTES = 512  # numbers that have a digit more
PAGE_BYTES = 400_000  # of a listing, which a store with few sessions does not fill
OF_ONE = ("status", "show", "tail", "wait_for")
FILTERED = {"query: the latest 5 that failed": 8}  # where a filter leaves a page empty, the next of each share is read
MOST = {"dynamodb": 8, "s3": 8, "postgresql": 10}  # requests that a pruned session costs


def counts(backend: Backend, url: str, spool: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Return requests and bytes of answers of each question."""
    found: dict[str, tuple[int, int]] = {}
    with backend.proxy() as proxy, backend.opened(backend.through(url, proxy)) as store:
        monkeypatch.setenv("AGENT_JOURNAL_STORE", backend.through(url, proxy))
        monkeypatch.setenv("AGENT_JOURNAL_SPOOL", str(spool))
        assert next(store.sessions()) is not None  # connected
        for name, ask in questions(store, spool, session_id_of(20), lambda one: wait_for(one, timeout_s=30).status):
            calls, size = proxy.calls.total(), proxy.answered_bytes
            assert ask()
            found[name] = proxy.calls.total() - calls, proxy.answered_bytes - size
    return found


def test_one_session_costs_the_same_among_many(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times as many sessions: not one request more, nor more bytes, where one or the latest are asked for."""
    url, now_ns = backend.fresh(), time.time_ns()
    with backend.opened(url) as store:
        fill(store, 0, FEW, now_ns)
    few = counts(backend, url, tmp_path, monkeypatch)
    with backend.opened(url) as store:
        fill(store, FEW, MANY, now_ns)
    many = counts(backend, url, tmp_path, monkeypatch)
    assert few.keys() == many.keys()
    for name, (requests, size) in many.items():
        assert requests <= few[name][0] + FILTERED.get(name, 0), (name, few, many)
        more = SLACK_BYTES if name in OF_ONE else PAGE_BYTES
        assert size <= few[name][1] + more, (name, few, many)


def test_pruning_costs_what_is_pruned(backend: Backend) -> None:
    """Each session that goes costs a few requests, and saying how many would go costs a listing."""
    url, now_ns = backend.fresh(), time.time_ns()
    with backend.opened(url) as store:
        fill(store, 0, MANY // 2, now_ns)
    with backend.proxy() as proxy, backend.opened(backend.through(url, proxy)) as store:
        assert next(store.sessions()) is not None
        asked = dict(of_all(store, now_ns, MANY // 2))
        begun = proxy.calls.total()
        assert asked["prune, dry run"]() == MANY // 20
        listed = proxy.calls.total() - begun
        assert asked["prune"]() == MANY // 20
        each = (proxy.calls.total() - begun - 2 * listed) / (MANY // 20)
        assert each <= MOST[backend.name], (each, proxy.calls)
        assert asked["prune"]() == 0
