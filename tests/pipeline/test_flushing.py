"""`Flusher`: journal and spans delivered side by side within a bound, and nobody held up twice for what is late."""

from __future__ import annotations

import _thread
import asyncio
import os
import threading
import time
from collections.abc import Iterator

import pytest
from opentelemetry import trace as trace_api

from otel_agent_journal import threads
from otel_agent_journal.delivered import ALL, UNKNOWN, Delivered
from otel_agent_journal.pipeline.current import Flush, set_flush
from otel_agent_journal.pipeline.flushing import Flusher, Lane, flush_timeout_s
from otel_agent_journal.threads import Bell
from tests.clock import by_the_clock, in_time

pytestmark = by_the_clock
BOUND_S = 1.5


class Backend:
    """Something that is flushed, as fast as it is told to: by the journal's door and by a TracerProvider's."""

    def __init__(self) -> None:
        self.bounds: list[float] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self.answer = ALL

    def flush(self, timeout_s: float) -> Delivered:
        """Flush."""
        self.bounds.append(timeout_s)
        self.begun.release()
        self.go_on.wait(20)
        return self.answer

    def force_flush(self, timeout_millis: int) -> bool:
        """Flush spans."""
        return bool(self.flush(timeout_millis / 1000))


@pytest.fixture
def journal() -> Iterator[Backend]:
    """The journal's store."""
    backend = Backend()
    set_flush(Flush(backend.flush, BOUND_S))
    yield backend
    backend.go_on.set()
    set_flush(None)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The spans' backend."""
    backend = Backend()
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER", backend)
    yield backend
    backend.go_on.set()


def answer(lane: Lane, timeout_s: float) -> Delivered:
    """Return what a lane answers."""
    bell = Bell()
    asked = lane.ask(timeout_s, bell.ring)
    assert bell.wait(10)
    return asked.delivered()


def seconds(flusher: Flusher, timeout_s: float | None = None) -> float:
    """Return for how long a flush blocks."""
    began = time.monotonic()
    flusher.here(timeout_s)
    return time.monotonic() - began


# --- the bound ----------------------------------------------------------------------------------------------------


def test_both_within_the_bound(journal: Backend, spans: Backend) -> None:
    """Both are flushed with the bound that is set, or the one given, and what is delivered holds up nobody."""
    flusher = Flusher()
    in_time(seconds(flusher), BOUND_S / 2)
    flusher.here(3)
    assert journal.bounds == spans.bounds == [BOUND_S, 3]


def test_with_nothing_to_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a journal and a provider there is nothing to wait for; the bound is two seconds."""
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER", None)
    flusher = Flusher()
    in_time(seconds(flusher), 1)
    assert (flush_timeout_s(), [lane.late for lane in flusher.lanes]) == (2, [False, False])


def test_what_is_late_is_waited_for_less(journal: Backend, spans: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """What hangs is waited for once, then a tenth as long, until it is in time again; it is said once."""
    flusher = Flusher()
    spans.go_on.clear()
    assert in_time(seconds(flusher), BOUND_S * 2) >= BOUND_S
    assert in_time(seconds(flusher), BOUND_S / 2) >= BOUND_S / 10
    assert caplog.text.count("were not delivered before a response") == 1
    spans.go_on.set()
    assert answer(flusher.lanes[1], BOUND_S)
    spans.go_on.clear()
    assert seconds(flusher) >= BOUND_S


def test_what_is_late_takes_nothing_from_the_other(journal: Backend, spans: Backend) -> None:
    """While spans hang the journal still has the whole bound, and each response waits for it."""
    flusher = Flusher()
    spans.go_on.clear()
    flusher.here()
    journal.go_on.clear()
    begun = time.monotonic()
    threading.Timer(BOUND_S / 2, journal.go_on.set).start()
    seconds(flusher)
    assert in_time(time.monotonic() - begun, BOUND_S) >= BOUND_S / 2
    assert len(journal.bounds) == 2
    assert [lane.late for lane in flusher.lanes] == [False, True]


def test_what_fails_or_takes_too_long_is_late(journal: Backend, spans: Backend) -> None:
    """A flush that says that it did not deliver all, or that was done after its time, is late, asked for or not."""
    flusher = Flusher()
    spans.answer = UNKNOWN
    journal.go_on.clear()
    flusher.ask()
    time.sleep(BOUND_S * 1.1)
    journal.go_on.set()
    for _ in range(100):
        if all(lane.late for lane in flusher.lanes):
            return
        time.sleep(0.02)
    raise AssertionError([lane.late for lane in flusher.lanes])


@pytest.mark.parametrize("error", [OSError("disk gone"), SystemExit(3)])
def test_a_flush_that_raises(error: BaseException) -> None:
    """What a flush raises is told as not delivered, and the lane works on."""
    errors = [error]

    def work(_: float) -> Delivered:
        if errors:
            raise errors.pop()
        return ALL

    lane = Lane(work)
    assert not answer(lane, 1)
    assert lane.late
    assert answer(lane, 1)
    assert not lane.late


# --- rounds -------------------------------------------------------------------------------------------------------


def test_rounds_are_shared() -> None:
    """Those who ask while a flush works share the next one, which sees all they recorded and has the longest bound."""
    backend = Backend()
    backend.go_on.clear()
    lane = Lane(backend.flush)
    first = lane.ask(1)
    assert backend.begun.acquire(timeout=10)
    bell = Bell()
    later = [lane.ask(bound, bell.ring) for bound in (2, 4, 3)]
    assert not bell.wait(0)
    backend.go_on.set()
    assert bell.wait(10)
    assert answer(lane, 5)
    assert all(one.delivered() for one in [first, *later])
    assert backend.bounds == [1, 4, 5]


def test_threads_do_not_pile_up(journal: Backend, spans: Backend) -> None:
    """However often one flushes while a backend hangs, one thread waits for it."""
    flusher = Flusher()
    spans.go_on.clear()
    before = _thread._count()
    for _ in range(20):
        flusher.ask()
    assert _thread._count() <= before + len(flusher.lanes)
    spans.go_on.set()
    assert flusher.here(10)  # and none of its rounds is left to the next test


def test_where_no_thread_can_be_had(journal: Backend, spans: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where threads cannot be started, as while the interpreter leaves, nothing is waited for; later it works."""
    flusher = Flusher()
    with monkeypatch.context() as patch:
        patch.setattr(threads, "_start", refuse)
        in_time(seconds(flusher), BOUND_S / 2)
    assert journal.bounds == []
    flusher.here()
    assert journal.bounds == [BOUND_S]


def refuse(*_: object) -> None:
    """Start no thread."""
    raise RuntimeError("can't start new thread")


def test_after_a_fork(journal: Backend, spans: Backend) -> None:
    """In a forked child, where the thread of a flush that was under way is gone, flushing works."""
    flusher = Flusher()
    spans.go_on.clear()
    flusher.ask()
    assert spans.begun.acquire(timeout=10)
    child = os.fork()
    if child == 0:
        spans.go_on.set()
        flusher.here(10)
        os._exit(0 if len(spans.bounds) == 2 and not any(lane.late for lane in flusher.lanes) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- event loops --------------------------------------------------------------------------------------------------


async def test_the_loop_goes_on(journal: Backend, spans: Backend) -> None:
    """While a coroutine waits for the flush others run, and it waits no longer than the bound."""
    spans.go_on.clear()
    began = time.monotonic()
    task = asyncio.create_task(Flusher().in_loop())
    turns = 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 5
    assert in_time(time.monotonic() - began, BOUND_S * 2) >= BOUND_S


async def test_as_soon_as_it_is_delivered(journal: Backend, spans: Backend) -> None:
    """A coroutine waits no longer than the flush takes."""
    began = time.monotonic()
    await Flusher().in_loop(30)
    in_time(time.monotonic() - began, 5)
    assert journal.bounds == spans.bounds == [30]


async def test_cancelled_while_it_waits(journal: Backend, spans: Backend) -> None:
    """A coroutine that is cancelled while it waits is cancelled at once, and the flush goes on for the others."""
    spans.go_on.clear()
    flusher = Flusher()
    task = asyncio.create_task(flusher.in_loop(20))
    assert await asyncio.to_thread(spans.begun.acquire, timeout=10)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    in_time(time.monotonic() - began, 5)
    other = asyncio.create_task(flusher.in_loop(20))
    await asyncio.sleep(0)
    spans.go_on.set()
    await other
    assert len(spans.bounds) == 2


async def test_a_blocking_flush_on_a_loop(journal: Backend, spans: Backend) -> None:
    """`beside_loop` waits for nothing in a thread that has a loop, and blocks one that has none; `here` blocks any."""
    spans.go_on.clear()
    began = time.monotonic()
    Flusher().beside_loop()
    in_time(time.monotonic() - began, BOUND_S / 2)
    await asyncio.to_thread(Flusher().beside_loop)
    assert in_time(time.monotonic() - began, BOUND_S * 2) >= BOUND_S
    assert seconds(Flusher()) >= BOUND_S


def test_a_loop_that_is_closed_meanwhile(journal: Backend, spans: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """A flush that is done when the loop that waited for it is gone harms nobody."""
    spans.go_on.clear()
    flusher = Flusher()
    asyncio.run(flusher.in_loop(0.05))
    caplog.clear()
    spans.go_on.set()
    assert answer(flusher.lanes[1], 1)
    assert caplog.records == []
