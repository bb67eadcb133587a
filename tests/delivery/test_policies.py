"""The journal's policy over a real wire: all waits but what a backend refuses by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.mapping.log_record import log_records
from otel_agent_journal.spool.set_aside import count, kept
from otel_agent_journal.store.otlp import OtlpStore, open_store
from tests.otlp.backend import Backend
from tests.spool.spooling import new_writer, noted

EVENTS = 20


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend that takes everything."""
    server = Backend()
    yield server
    server.close()


@pytest.fixture
def store(backend: Backend) -> OtlpStore:
    """A store that ships there."""
    return open_store(f"otlp+{backend.url}", environ={})


@pytest.fixture
def drain(tmp_path: Path, store: OtlpStore) -> Drain:
    """A drain with little patience, of a spool that a writer left."""
    writer = new_writer(tmp_path)
    for number in range(EVENTS):
        writer.append(noted(number, text="poison" if number == 7 else "fine"))
    writer.close()
    return Drain(tmp_path, store, patience=Patience(first_s=0.001, last_s=0.01))


def sizes(backend: Backend) -> list[int]:
    """Return how many records each request had."""
    return [len(log_records(ExportLogsServiceRequest.FromString(body))) for _, _, body in backend.received]


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405, 408, 429, 500, 501, 502, 503])
def test_whatever_may_pass_is_waited_for(tmp_path: Path, backend: Backend, drain: Drain, status: int) -> None:
    """No batch is halved, nothing is set aside, and once it has passed all is delivered."""
    backend.status = status
    with pytest.raises(StoreUnreachable, match=f"answered {status}"):
        drain.drain_once(patience_s=0.05)
    assert set(sizes(backend)) == {EVENTS}
    backend.status = 200
    assert drain.drain_once().delivered == EVENTS
    assert drain.stats.set_aside == count(tmp_path) == 0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_everything_is_waited_for(tmp_path: Path, backend: Backend, drain: Drain, status: int) -> None:
    """A proxy that refuses everybody says nothing of an event: one is tried by itself, and no half."""
    backend.status = status
    with pytest.raises(StoreUnreachable, match=f"answered {status}|takes nothing"):
        drain.drain_once(patience_s=0.05)
    assert set(sizes(backend)) == {EVENTS, 1}
    backend.status = 200
    drain.drain_once()
    assert drain.stats.set_aside == count(tmp_path) == 0


def test_what_is_refused_by_itself_is_set_aside(tmp_path: Path, backend: Backend, drain: Drain) -> None:
    """Its neighbours pass; it is named with what the backend said."""
    backend.refuses = b"poison"
    report = drain.drain_once()
    assert (report.delivered, report.set_aside, count(tmp_path)) == (EVENTS - 1, 1, 1)
    ((_, item),) = kept(tmp_path)
    assert item is not None
    assert "answered 400" in item.why
    assert item.event is not None
    assert item.event.details["n"] == 7
