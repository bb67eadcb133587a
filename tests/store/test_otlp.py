"""The store that ships events: what goes over the wire, and what each answer means to whoever delivers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from otel_agent_journal.codec import sealed
from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.errors import ConfigError, StoreError, StoreUnreachable, UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.log_record import WriterHeard, carried, log_records
from otel_agent_journal.store.otlp import MAX_REQUEST_BYTES, OtlpStore, open_store
from otel_agent_journal.store.protocol import BlobStore, HearsWriters, JournalStore, StoreAdmin
from tests.otlp.backend import Backend

ENV = {"OTEL_SERVICE_NAME": "agents", "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "authorization=Bearer%20t"}


def event(number: int, text: str = "") -> JournalEvent:
    """Return an event."""
    details = {"input": text}
    return sealed(JournalEvent(session_id="s", event_id=f"{number:032x}", type="NOTE", timestamp_ns=5, details=details))


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend that takes everything."""
    server = Backend()
    yield server
    server.close()


@pytest.fixture
def store(backend: Backend) -> Iterator[OtlpStore]:
    """A store that ships there."""
    opened = open_store(backend.url.replace("http://", "otlp+http://"), environ=ENV)
    yield opened
    opened.close()


def requests(backend: Backend) -> list[ExportLogsServiceRequest]:
    """Return what the backend was sent."""
    return [ExportLogsServiceRequest.FromString(body) for _, _, body in backend.received]


def test_what_is_shipped(backend: Backend, store: OtlpStore) -> None:
    """Events, values and heartbeats, with the resource and the headers of OpenTelemetry's variables."""
    store.append([event(1), event(2)])
    store.put_blob("s", "d", b"1")
    store.heard("w", 7, ("s",))
    first, _, last = requests(backend)
    assert [carried(record) for record in log_records(first)] == [event(1), event(2)]
    assert [carried(record) for record in log_records(last)] == [WriterHeard("w", 7, ("s",))]
    (resource,) = (found.resource for found in first.resource_logs)
    assert [(pair.key, pair.value.string_value) for pair in resource.attributes] == [("service.name", "agents")]
    path, headers, _ = backend.received[0]
    assert (path, headers["authorization"]) == ("/v1/logs", "Bearer t")


def test_what_it_is(store: OtlpStore, backend: Backend) -> None:
    """A store that takes events and values, passes heartbeats on, and reads nothing."""
    for protocol in (JournalStore, BlobStore, HearsWriters, StoreAdmin):
        assert isinstance(store, protocol)
    can = store.capabilities
    assert (can.read, can.context, can.heads, can.blobs) == (False, False, False, True)
    assert store.url == backend.url.replace("http://", "otlp+http://")
    assert store.info().backend == "otlp"
    assert store.init_plan() == []
    store.init()


def test_what_it_cannot(store: OtlpStore) -> None:
    """Reading, listing and contexts are refused, with which store to name."""
    calls = (
        lambda: store.read("s"),
        lambda: store.read_context("i"),
        lambda: store.append_context("i", 0, ()),
        lambda: store.follow(None),
        store.tip,
        store.sessions,
        lambda: store.head("s"),
        lambda: store.write_head(None),  # type: ignore[arg-type]
        lambda: store.get_blob("s", "d"),
        lambda: store.delete_session("s1", None, 0),
        store.unsettled,
        store.session_ids,
        lambda: store.iam_policy("writer"),
    )
    for call in calls:
        with pytest.raises(UnsupportedByStore, match="name the store of the receiver behind it"):
            call()


def test_many_events_are_several_requests(backend: Backend, store: OtlpStore) -> None:
    """None is over what a Collector takes by default, and all arrive."""
    store.append([event(number, "x" * 500_000) for number in range(12)])
    assert len(backend.received) == 3
    assert all(len(body) <= MAX_REQUEST_BYTES for _, _, body in backend.received)
    assert sum(len(log_records(request)) for request in requests(backend)) == 12


def test_a_refusal_is_no_outage(backend: Backend, store: OtlpStore) -> None:
    """What the backend will never take is told apart from what may pass later."""
    backend.status = 413
    with pytest.raises(StoreError, match=r"refuses a request of [\d,]+ bytes: answered 413") as raised:
        store.append([event(1)])
    assert not isinstance(raised.value, StoreUnreachable)
    for status in (429, 503, 401):
        backend.status = status
        with pytest.raises(StoreUnreachable, match=f"answered {status}"):
            store.append([event(1)])


def test_when_to_come_again(backend: Backend, store: OtlpStore) -> None:
    """What a backend says of it goes to whoever delivers, who waits at least as long."""
    backend.status, backend.headers = 429, {"retry-after": "7"}
    with pytest.raises(StoreUnreachable) as raised:
        store.append([event(1)])
    assert raised.value.retry_after_s == 7
    patience = Patience(first_s=0, last_s=0)
    began = time.monotonic()
    assert patience.wait(0, 0.2)
    assert time.monotonic() - began >= 0.2


def test_records_that_are_rejected(backend: Backend, store: OtlpStore) -> None:
    """A partial success is an error for whoever delivers: in halves he finds out which it was."""
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 1
    response.partial_success.error_message = "too strange"
    backend.body = response.SerializeToString()
    with pytest.raises(StoreError, match="rejected 1 of 2 records: too strange"):
        store.append([event(1), event(2)])


@pytest.mark.parametrize("url", ["otlp://", "otlp:///", "otlp+x://h", "otlps+http://h"])
def test_what_names_no_endpoint(url: str) -> None:
    """It is said, with how one is named."""
    with pytest.raises(ConfigError, match="otlp://localhost:4317"):
        open_store(url, environ={})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("otlp://h", "otlp://h:4317"),
        ("OTLPS://h:1", "otlps://h:1"),
        ("otlp+https://h/base", "otlp+https://h/base"),
        ("otlp+http://user:secret@h:9", "otlp+http://h:9"),
    ],
)
def test_its_url(url: str, shown: str) -> None:
    """It can be printed: no secret is in it."""
    store = open_store(url, environ={})
    assert store.url == shown
    store.close()
