"""A plugin for pytest (`-p tests.storm`): tests run in a storm, and must hold as they do without.

STORM=collector: garbage is collected at every allocation of a test that may collect any, in any thread; there often
is some whose finalizers start and end steps, spans and streams of the journal. STORM=signals: a handler does the same
in the main thread, every two milliseconds. What the storm itself journals is in the session `storm`, and left out of
what tests look at. A process that hangs says where each of its threads is, and ends.
"""

from __future__ import annotations

import faulthandler
import gc
import itertools
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

from otel_agent_journal.pipeline import current
from otel_agent_journal.pipeline.flushing import Flusher
from otel_agent_journal.pipeline.processor import JournalSpanProcessor
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.store.memory import MemoryStore
from tests.frameworks.langgraph.recording import InMemorySpanExporter, Recording
from tests.pipeline.conftest import Written

SESSION: Final = "storm"
LIMIT_S: Final = float(os.environ.get("STORM_LIMIT_S", "110"))
EVERY: Final = (
    5  # collections for a piece of garbage that journals, at first; then ever more, so that a test comes to its end
)
_RARER: Final = 1.05
_PIECES: Final = 25  # of each kind
_SIGNAL_S: Final = 0.002
_STDERR: Final = os.dup(2)  # before pytest captures it

CHAT: Final = {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": SESSION}

_flusher = Flusher()
_tracers: WeakKeyDictionary[Recorder, Tracer] = WeakKeyDictionary()
seen = itertools.count()


class Dropped:
    """Something in a cycle, which the collector alone ends: by what it was given to do then."""

    def __init__(self, ends: Callable[[], object]) -> None:
        self.itself = self
        self.ends = ends

    def __del__(self) -> None:
        next(seen)
        self.ends()


def a_step(recorder: Recorder) -> Callable[[], object]:
    """Return the ending of a step that has a child and streamed text."""
    root = recorder.start_step("AGENT", "left", session_id=SESSION, detached=True)
    root.chunk("text")

    def ends() -> None:
        child = recorder.start_step("TOOL", "within", parent=root)
        child.note("PROGRESS", {"message": "m"})
        root.end("cancelled")

    return ends


def a_stream(recorder: Recorder) -> Callable[[], object]:
    """Return the ending of a generator that ends its step and asks for a flush."""

    def stream() -> Iterator[int]:
        step = recorder.start_step("STEP", "stream", session_id=SESSION, detached=True)
        try:
            yield 1
        finally:
            step.end("cancelled")
            _flusher.ask()

    left = stream()
    next(left)
    return left.close


def a_foreign_span(recorder: Recorder) -> Callable[[], object]:
    """Return the ending of a span of another library, under a provider of its own that our processor is attached to."""
    tracer = _tracers.get(recorder)
    if tracer is None:
        provider = TracerProvider()
        provider.add_span_processor(JournalSpanProcessor(recorder))
        tracer = _tracers[recorder] = provider.get_tracer("storm")
    return tracer.start_span("chat m", Context(), attributes=CHAT).end


def an_event(recorder: Recorder) -> Callable[[], object]:
    """Return what records an event of a session."""
    return lambda: recorder.record(SESSION, "STORMY", {"n": 1})


KINDS: Final = (a_step, an_event, a_stream, a_foreign_span)


class Collector:
    """Garbage is collected at every allocation that may collect any, and often there is some that journals."""

    def __init__(self, recorder: Recorder | None) -> None:
        self._kept = [] if recorder is None else [Dropped(kind(recorder)) for _ in range(_PIECES) for kind in KINDS]
        self._left, self._gap = EVERY, float(EVERY)

    def begin(self) -> None:
        """Begin; what is there by now is looked at no more, so that collections are quick."""
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._collected)
        gc.set_threshold(1, 1, 1)

    def end(self) -> None:
        """End, with nothing of it left."""
        gc.set_threshold(700, 10, 10)
        gc.callbacks.remove(self._collected)
        self._kept.clear()
        gc.unfreeze()
        gc.collect()

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        self._left -= phase == "stop"
        if self._left <= 0 and self._kept:
            self._gap *= _RARER
            self._left = int(self._gap)
            self._kept.pop()


class Signals:
    """A signal handler journals, within whatever the main thread does."""

    pause = False

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._left = len(KINDS) * _PIECES
        self._within = False
        if recorder is not None:
            a_foreign_span(recorder)()  # here, since to make a provider takes locks of the standard library's

    def begin(self) -> None:
        """Begin."""
        self._before = signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, _SIGNAL_S, _SIGNAL_S)

    def end(self) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def _handle(self, *_: Any) -> None:
        if self._recorder is not None and self._left > 0 and not self.pause and not self._within:
            self._left -= 1
            self._within = True
            KINDS[next(seen) % len(KINDS)](self._recorder)()
            self._within = False


STORMS: Final = {"collector": Collector, "signals": Signals}


def pytest_sessionstart() -> None:
    """Have a process that hangs say where, and end."""
    faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=_STDERR)


def pytest_unconfigure() -> None:
    """The end of the process is watched as well."""
    os.write(_STDERR, b"%d pieces of the storm\n" % next(seen))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Run a test in the storm; what was left to a thread is done before what is checked after the test."""
    recorder = current.get_recorder()
    recorder = recorder if type(recorder) is Recorder else None
    storm = STORMS[os.environ["STORM"]](recorder)
    storm.begin()
    try:
        return (yield)
    finally:
        storm.end()
        assert recorder is None or recorder.settle(10)


@contextmanager
def still() -> Generator[None]:
    """Have no signals come."""
    before, Signals.pause = Signals.pause, True
    try:
        yield
    finally:
        Signals.pause = before


@pytest.fixture(autouse=True)
def without_the_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what the storm has journaled out of what tests look at."""
    sessions, finished = MemoryStore.sessions, InMemorySpanExporter.get_finished_spans

    monkeypatch.setattr(
        MemoryStore,
        "sessions",
        lambda store, *given: iter([head for head in sessions(store, *given) if head.session_id != SESSION]),
    )

    def seen_in_peace(exporter: InMemorySpanExporter) -> tuple[Any, ...]:
        with still():  # else a handler waits for the exporter's lock, which the test has that it interrupts
            spans = finished(exporter)
        return tuple(span for span in spans if span.attributes.get("gen_ai.conversation.id") != SESSION)

    def cleared_in_peace(exporter: InMemorySpanExporter) -> None:
        with still():
            clear(exporter)

    clear = InMemorySpanExporter.clear
    monkeypatch.setattr(InMemorySpanExporter, "get_finished_spans", seen_in_peace)
    monkeypatch.setattr(InMemorySpanExporter, "clear", cleared_in_peace)
    append = Written.append
    monkeypatch.setattr(
        Written, "append", lambda written, payload: SESSION.encode() in payload or append(written, payload)
    )
    roots = Recorder.open_roots
    monkeypatch.setattr(
        Recorder,
        "open_roots",
        lambda recorder: [recorder.settle(10)] and [root for root in roots(recorder) if root.session_id != SESSION],
    )
    drain = Recording.drain

    def in_peace(recording: Recording) -> None:
        with still():  # else something comes whenever all is delivered
            drain(recording)

    monkeypatch.setattr(Recording, "drain", in_peace)
