"""A query's time: it ends whenever that is over, also between two calls of DuckDB."""

from __future__ import annotations

import time

import pytest

from otel_agent_journal.errors import QueryFailed
from otel_agent_journal.query import query
from otel_agent_journal.query.limits import TimeLimit
from otel_agent_journal.store.memory import MemoryStore

HEAVY = "SELECT count(*) FROM range(200000) a, range(200000) b WHERE a.range > b.range"


def test_an_interrupt_is_repeated_until_the_work_ends() -> None:
    """DuckDB forgets an interrupt that comes while it does nothing, so one is not enough."""
    interrupts: list[float] = []
    limit = TimeLimit(0.0, lambda: interrupts.append(time.monotonic()))
    with limit.running():
        until_s = time.monotonic() + 20
        while len(interrupts) < 3 and time.monotonic() < until_s:
            time.sleep(0.01)
    assert len(interrupts) >= 3
    count = len(interrupts)
    time.sleep(0.3)
    assert len(interrupts) <= count + 1  # one may have been on its way
    assert limit.over


@pytest.mark.parametrize("timeout_s", [0.0, 0.001, 0.05])
def test_a_query_whose_time_is_over_before_it_runs_ends(timeout_s: float) -> None:
    """Whether its time is over as it is planned, between planning and running, or later: it ends, and says so."""
    store = MemoryStore("memory:")
    began_s = time.process_time()
    with pytest.raises(QueryFailed, match="did not end within"), query(store, HEAVY, timeout_s=timeout_s) as result:
        list(result)
    assert time.process_time() - began_s < 20  # all of it takes minutes
    store.close()
