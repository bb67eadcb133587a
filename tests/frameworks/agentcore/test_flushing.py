"""The flush before a response: bounded, beside the event loop, and never the app's problem."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bedrock_agentcore.runtime import BedrockAgentCoreApp
from opentelemetry.sdk.trace import SpanProcessor

from otel_agent_journal.frameworks.agentcore.flushing import Flusher, Lane
from otel_agent_journal.pipeline.current import Flush, set_flush
from tests.frameworks.agentcore.serving import Served

BOUND_S = 1.0


@pytest.fixture(autouse=True)
def delivered() -> Iterator[list[float]]:
    """Be the process's flush; return what it was called with."""
    calls: list[float] = []

    def deliver(timeout_s: float) -> bool:
        calls.append(timeout_s)
        return True

    set_flush(Flush(deliver, BOUND_S))
    yield calls
    set_flush(None)


class Hangs(SpanProcessor):
    """An exporter that never comes back from a flush, as one whose backend is away and that knows no timeout."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Event()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Hang."""
        self.asked.release()
        return self.go_on.wait(60)


@pytest.fixture
def hangs(recording: Any) -> Iterator[Hangs]:
    """Have the program's provider flush without end, until the test does."""
    processor = Hangs()
    recording.provider.add_span_processor(processor)
    yield processor
    processor.go_on.set()


def served_app(serve: Any) -> Served:
    """Serve an app that answers in the way it is asked to."""
    app = BedrockAgentCoreApp()

    def parts(fails: bool) -> Any:
        yield "o"
        if fails:
            raise LookupError("gone")
        yield "k"

    async def on_the_loop(fails: bool) -> Any:
        for part in parts(fails):
            yield part

    @app.entrypoint
    def answer(payload: dict[str, Any]) -> Any:
        how = payload["how"]
        if how == "fails":
            raise LookupError("gone")
        if how == "plain":
            return "ok"
        return (on_the_loop if "on the loop" in how else parts)("fails" in how)

    return serve(app)


def timed(running: Served, payload: Any) -> float:
    """Return how long a call takes."""
    began = time.monotonic()
    assert running.call(payload).status == (500 if payload["how"] == "fails" else 200)
    return time.monotonic() - began


HOW = ["plain", "fails", "stream", "stream fails", "stream on the loop", "stream on the loop fails"]


@pytest.mark.parametrize("how", HOW)
def test_the_bound(recording: Any, serve: Any, hangs: Hangs, how: str, caplog: Any) -> None:
    """A response waits for the bound and no longer; those after it, while flushes are late, a tenth of it."""
    running, payload = served_app(serve), {"how": how}
    assert BOUND_S <= timed(running, payload) < BOUND_S * 2
    assert timed(running, payload) < BOUND_S / 2
    assert caplog.text.count("were not delivered before a response") == 1
    hangs.go_on.set()
    while timed(running, payload) > BOUND_S / 20:  # it is late once more at most
        pass
    running.call(payload)
    assert not recording.instrumentor._hooks.flusher._late


async def test_tasks_are_flushed_before_the_app_is_idle(recording: Any, hangs: Hangs) -> None:
    """The app has its last task until that is flushed, by the decorator and by hand; not until then of others."""
    app = BedrockAgentCoreApp()

    @app.async_task
    async def report() -> None:
        pass

    async def seconds(work: Any) -> float:
        recording.instrumentor._hooks.flusher._late = False
        began = time.monotonic()
        await work
        return time.monotonic() - began

    assert await seconds(report()) >= BOUND_S
    first, last = app.add_async_task("first"), app.add_async_task("last")
    assert await seconds(report()) < BOUND_S / 2
    assert await seconds(asyncio.to_thread(app.complete_async_task, first)) < BOUND_S / 2
    assert await seconds(asyncio.to_thread(app.complete_async_task, last)) >= BOUND_S


def test_the_journal_is_flushed_meanwhile(recording: Any, serve: Any, hangs: Hangs, delivered: Any) -> None:
    """A backend of spans that hangs keeps the journal from nothing: both are flushed at once."""
    served_app(serve).call({"how": "plain"})
    assert delivered == [BOUND_S]


def test_the_loop_goes_on(recording: Any, serve: Any, hangs: Hangs) -> None:
    """While a response waits for its flush, health checks are answered."""
    running = served_app(serve)
    waiting = threading.Thread(target=running.call, args=({"how": "plain"},))
    waiting.start()
    assert hangs.asked.acquire(timeout=10)
    began = time.monotonic()
    assert running.ping() == "Healthy"
    assert time.monotonic() - began < BOUND_S / 2
    assert waiting.is_alive()
    waiting.join(10)


def test_threads_do_not_pile_up(recording: Any, serve: Any, hangs: Hangs) -> None:
    """However many requests come while a flush hangs, one thread waits for it."""
    running = served_app(serve)
    for _ in range(5):
        running.call({"how": "plain"})
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("agent-journal-flush-spans") == 1


def test_a_flush_that_raises(recording: Any, serve: Any) -> None:
    """A flush that fails is no failure of the request."""

    def deliver(_: float) -> bool:
        raise OSError("disk gone")

    set_flush(Flush(deliver, BOUND_S))
    assert timed(served_app(serve), {"how": "plain"}) < BOUND_S / 2


def test_rounds_are_shared() -> None:
    """Those who ask while a flush works share the next one, which sees all that they have recorded."""
    rounds: list[int] = []
    working, go_on = threading.Event(), threading.Event()

    def work() -> bool:
        rounds.append(len(rounds))
        working.set()
        return go_on.wait(10)

    lane = Lane("lane", work)
    first = lane.ask()
    assert working.wait(10)
    later = [lane.ask() for _ in range(10)]
    assert len(set(map(id, later))) == 1
    assert not later[0].done()
    go_on.set()
    assert all(one.result(10) for one in [first, *later])
    assert rounds == [0, 1]


async def test_cancelled_while_it_waits(recording: Any, hangs: Hangs) -> None:
    """A request that is cancelled while its response waits for the flush is cancelled at once."""
    task = asyncio.create_task(Flusher().in_loop())
    await asyncio.to_thread(hangs.asked.acquire, timeout=10)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < BOUND_S / 2


def test_after_a_fork(recording: Any, hangs: Hangs, delivered: Any) -> None:
    """In a forked child, where the thread of a flush that was under way is gone, flushing works."""
    flusher = Flusher()
    flusher.ask()
    assert hangs.asked.acquire(timeout=10)
    child = os.fork()
    if child == 0:
        hangs.go_on.set()
        flusher.here()
        os._exit(0 if not flusher._late else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
