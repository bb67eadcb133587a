"""A process that journals and forwards as `agent-journal run` wires it, on disk and over OTLP, its drain stopped.

So what lies in the spool is there to be searched before it is delivered, and then the store, and what the backend got.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentelemetry import trace as trace_api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.util._once import Once

from otel_agent_journal.bootstrap.agent import AgentProcess
from otel_agent_journal.bootstrap.openers import open_drain, open_forwarder, open_store
from otel_agent_journal.config import SPAN_CONTENT, settings_from_env
from otel_agent_journal.forwarding.export import spans_of_session
from otel_agent_journal.pipeline.current import set_recorder
from tests.otlp.backend import Backend
from tests.privacy.finding import bytes_below

NONE: Final = "no provider"  # spans are light ones, which the drain forwards; those of others go by the stand-in
OWN: Final = "own provider"  # spans are the program's, and go by its exporter


class Searched(NamedTuple):
    """What a run of the program left behind."""

    spool: list[bytes]
    rest: list[bytes]
    sent: list[bytes]
    dropped: int


def run(
    program: Callable[[], None],
    folder: Path,
    *,
    content: bool,
    span_content: bool,
    provider: str,
    instrumentors: Callable[[], list[Any]] = list,
    environ: dict[str, str] | None = None,
    shipped: bool = False,
) -> Searched:
    """Run a program and return every byte that it left at rest, and that left by OTLP.

    `shipped`: its store is the backend's, too.
    """
    folder.mkdir()
    backend = Backend()
    given = {
        "AGENT_JOURNAL_STORE": f"otlp+{backend.url}" if shipped else f"sqlite:///{folder}/journal.db",
        "AGENT_JOURNAL_SPOOL": f"{folder}/spool",
        "AGENT_JOURNAL_OTLP": backend.url,
        "AGENT_JOURNAL_CONTENT": "full" if content else "metadata",
        "AGENT_JOURNAL_DRAIN": "parent",
        SPAN_CONTENT: "SPAN_AND_EVENT" if span_content else "NO_CONTENT",
        **(environ or {}),
    }
    try:
        with _environment(given):
            process = AgentProcess(settings_from_env())
            with _journaling(process, provider, backend.url, instrumentors()):
                program()
            spool = bytes_below(folder)
            exported = _deliver(process)
            sent = [exported, *(body for _, _, body in backend.received)]
            return Searched(spool, bytes_below(folder), sent, process.recorder.dropped)
    finally:
        backend.close()


@contextmanager
def _environment(given: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _journaling(process: AgentProcess, provider: str, url: str, instrumentors: list[Any]) -> Iterator[None]:
    """Have a process of this kind around the program; afterwards this one is as it was."""
    _set_provider(None)
    made: TracerProvider | None = None
    process.providers.join()
    if provider == OWN:
        made = TracerProvider(resource=Resource.create())
        made.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        trace_api.set_tracer_provider(made)
    else:
        process.providers.stand_in(url, os.environ)
    set_recorder(process.recorder)
    for instrumentor in instrumentors:
        instrumentor.instrument()
    try:
        yield
        process.recorder.settle(20)
        process.providers.flush(20)
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        set_recorder(None)
        process.recorder.close()
        process.providers.close()
        process.writer.close()
        if made is not None:
            made.shutdown()
        _set_provider(None)


def _deliver(process: AgentProcess) -> bytes:
    """Deliver what is in the spool, and forward it, as the parent does; return what `export` would send again."""
    store = open_store(process.settings, create=True)
    forwarder = open_forwarder(process.settings, store)
    drain = open_drain(process.settings, store, forward=forwarder)
    report = drain.drain_once()
    assert (report.set_aside, report.corrupt, report.refused, report.pending_bytes) == (0, 0, 0, 0)
    assert forwarder.flush(20)
    assert forwarder.close(20).dropped == 0
    if not store.capabilities.read:
        store.close()
        return b""
    spans = [
        span
        for head in store.sessions()
        for span in spans_of_session(
            list(store.read(head.session_id)), capture_content=process.settings.span_content, get_blob=store.get_blob
        )
    ]
    store.close()
    return repr(spans).encode()


def _set_provider(provider: Any) -> None:
    trace_api._TRACER_PROVIDER_SET_ONCE = Once()
    trace_api._TRACER_PROVIDER = provider
