"""What we send ourselves is out of sight of instrumentation; what the program sends is not."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry import context
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled

from otel_agent_journal.codec import sealed
from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.reception import new_reception
from otel_agent_journal.delivery.redelivery import redeliver
from otel_agent_journal.delivery.store_durable import DurableAppend
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.forwarding.sender import open_sender
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.otlp.target import otlp_target
from otel_agent_journal.spool.set_aside import SetAside
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.otlp import open_store as open_otlp
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.sqlite import open_store as open_sqlite
from otel_agent_journal.uninstrumented import uninstrumented
from tests.otlp.backend import Backend
from tests.otlp.grpc_backend import GrpcBackend
from tests.spool.spooling import ended, new_writer, noted, started

EVENT = sealed(JournalEvent(session_id="s", event_id="1" * 32, type="NOTE", timestamp_ns=5))
SPAN = SpanRecord(trace_id="1" * 32, span_id="2" * 16, name="x", start_ns=1, end_ns=2, resource={})


def is_seen() -> bool:
    """Tell whether an instrumentation of any kind would make a span here."""
    plain = context.get_value("suppress_instrumentation") is None  # what older ones ask
    return plain or is_instrumentation_enabled() or is_http_instrumentation_enabled()


class Watched(MemoryStore):
    """A store that notes at each call from whom it comes, and whether that was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str, bool]] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("append", "read", "head", "write_head", "sessions", "put_blob"):
            self.calls.append((name, threading.current_thread().name, is_seen()))
        return found


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    """The program's own context is what it was."""
    before = context.get_current()
    yield
    assert context.get_current() is before
    assert is_seen()


def test_it_ends_with_what_it_is_around() -> None:
    """Also where that raises; what else is in the context stays."""
    token = context.attach(context.set_value("of the program", 1))

    @uninstrumented()
    def fails() -> None:
        raise OSError(f"{is_seen()}, {context.get_value('of the program')}")

    with pytest.raises(OSError, match="False, 1"):
        fails()
    assert is_seen()
    context.detach(token)


def _drained(root: Path, store: Watched) -> None:
    Drain(root, store).drain_once()


def _drained_by_a_thread(root: Path, store: Watched) -> None:
    drain = Drain(root, store)
    drain.start()
    assert drain.flush(10)
    drain.stop()


def _durable(root: Path, store: Watched) -> None:
    writer = DurableAppend(new_writer(root), lambda: store, timeout_s=10)
    writer.append(noted(3))
    writer.close()


def _tried_again(root: Path, store: Watched) -> None:
    SetAside(root).add_event(EVENT, "no", 0)
    redeliver(root, store, reception=new_reception)


@pytest.mark.parametrize("deliver", [_drained, _drained_by_a_thread, _durable, _tried_again])
def test_whoever_calls_a_store_is_not_seen(tmp_path: Path, deliver: Callable[[Path, Watched], None]) -> None:
    """In whichever thread, the program's own among them; the death of a writer, which is looked up, too."""
    writer, store = new_writer(tmp_path), Watched()
    for number in range(3):
        writer.append(started(number))
        writer.append(ended(number))
    writer.close()
    deliver(tmp_path, store)
    assert any(name == "append" for name, _, _ in store.calls)
    assert [call for call in store.calls if call[2]] == []


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend that takes everything."""
    server = Backend()
    yield server
    server.close()


@pytest.fixture
def collector() -> Iterator[GrpcBackend]:
    """A gRPC backend that takes everything."""
    server = GrpcBackend()
    yield server
    server.close()


def test_otlp_is_not_seen(backend: Backend, collector: GrpcBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """By either protocol, from any thread, of events and of spans; the program's own requests are."""
    seen: list[bool] = []
    opened = urllib.request.OpenerDirector.open

    def instrumented(opener: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(is_seen())
        return opened(opener, request, *args, **kwargs)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", instrumented)
    insecure = grpc.insecure_channel

    class Interceptor(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            seen.append(is_seen())
            return continuation(client_call_details, request)

    def channel(*args: Any, **kwargs: Any) -> Any:
        return grpc.intercept_channel(insecure(*args, **kwargs), Interceptor())

    monkeypatch.setattr(grpc, "insecure_channel", channel)
    for url in (backend.url, collector.url):
        store = open_otlp(f"otlp+{url}" if url.startswith("http") else url.replace("grpc", "otlp"), environ={})
        store.append([EVENT])
        store.close()
        sender = open_sender(otlp_target(url, {}))
        sender.send([SPAN])
        sender.close()
    assert seen == [False] * 4
    urllib.request.urlopen(backend.url, data=b"").close()
    assert seen.pop() is True


def test_sqlite_is_not_seen(tmp_path: Path) -> None:
    """Its statements make no spans, and between two events that a read yields the program's own do."""
    seen: list[bool] = []
    store = open_sqlite(f"sqlite:///{tmp_path}/journal.db")
    store.append([EVENT])
    with store._file.reading() as connection:
        connection.set_trace_callback(lambda _: seen.append(is_seen()))
    other = sealed(JournalEvent(session_id="s", event_id="2" * 32, type="NOTE", timestamp_ns=6))
    store.append([other])
    for _ in store.read("s"):
        assert is_seen()
    store.close()
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("url", ["dynamodb://table?region=eu-1", "s3://bucket?region=eu-1"])
def test_amazon_s_calls_are_not_seen(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading and writing, in whatever thread a store makes them."""
    botocore_client = pytest.importorskip("botocore.client")
    exceptions = pytest.importorskip("botocore.exceptions")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    seen: list[bool] = []

    def call(client: Any, operation: str, params: Any) -> None:
        seen.append(is_seen())
        raise exceptions.NoCredentialsError

    monkeypatch.setattr(botocore_client.BaseClient, "_make_api_call", call)
    store = open_store(url)
    for used in (
        lambda: store.append([EVENT]),
        lambda: next(store.read("s"), None),
        lambda: next(store.sessions(), None),
        lambda: store.follow(None),
        lambda: store.put_blob("s", "d" * 32, b"1"),  # type: ignore[attr-defined]
    ):
        with pytest.raises(StoreUnreachable):
            used()
    store.close()
    assert len(seen) >= 5
    assert not any(seen)


def test_postgresql_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first connection on."""
    psycopg = pytest.importorskip("psycopg")
    database = pytest.importorskip("otel_agent_journal_postgresql.database")
    seen: list[bool] = []

    def connect(**_: Any) -> None:
        seen.append(is_seen())
        raise psycopg.OperationalError("not here")

    monkeypatch.setattr(database.PatientConnection, "connect", connect)
    store = open_store("postgresql://h/d")
    for used in (lambda: store.append([EVENT]), lambda: next(store.read("s"), None), lambda: store.follow(None)):
        with pytest.raises(StoreUnreachable):
            used()
    store.close()
    assert len(seen) == 3
    assert not any(seen)
