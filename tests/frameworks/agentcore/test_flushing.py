"""The flush before a response: bounded, beside the event loop, and never the app's problem."""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bedrock_agentcore.runtime import BedrockAgentCoreApp
from opentelemetry.sdk.trace import SpanProcessor

from otel_agent_journal.delivered import ALL, Delivered
from otel_agent_journal.pipeline.current import Flush, set_flush
from tests.clock import by_the_clock, in_time
from tests.frameworks.agentcore.serving import Served

pytestmark = by_the_clock
BOUND_S = 2.0


@pytest.fixture(autouse=True)
def delivered() -> Iterator[list[float]]:
    """Be the process's flush; return what it was called with."""
    calls: list[float] = []

    def deliver(timeout_s: float) -> Delivered:
        calls.append(timeout_s)
        return ALL

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
    assert in_time(timed(running, payload), BOUND_S * 2) >= BOUND_S
    in_time(timed(running, payload), BOUND_S / 2)
    assert caplog.text.count("were not delivered before a response") == 1
    hangs.go_on.set()
    while timed(running, payload) > BOUND_S / 20:  # it is late once more at most
        pass
    running.call(payload)
    assert not any(lane.late for lane in recording.instrumentor._hooks.flusher.lanes)


async def test_tasks_are_flushed_before_the_app_is_idle(recording: Any, hangs: Hangs) -> None:
    """The app has its last task until that is flushed, by the decorator and by hand; not until then of others."""
    app = BedrockAgentCoreApp()

    @app.async_task
    async def report() -> None:
        pass

    async def seconds(work: Any) -> float:
        for lane in recording.instrumentor._hooks.flusher.lanes:
            lane.late = False
        began = time.monotonic()
        await work
        return time.monotonic() - began

    assert await seconds(report()) >= BOUND_S
    first, last = app.add_async_task("first"), app.add_async_task("last")
    in_time(await seconds(report()), BOUND_S / 2)
    in_time(await seconds(asyncio.to_thread(app.complete_async_task, first)), BOUND_S / 2)
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
    in_time(time.monotonic() - began, BOUND_S / 2)
    assert waiting.is_alive()
    waiting.join(10)


def test_threads_do_not_pile_up(recording: Any, serve: Any, hangs: Hangs) -> None:
    """However many requests come while a flush hangs, one thread waits for it."""
    running = served_app(serve)
    running.call({"how": "plain"})
    before = _thread._count()
    for _ in range(5):
        running.call({"how": "plain"})
    assert _thread._count() <= before + 2


def test_a_flush_that_raises(recording: Any, serve: Any) -> None:
    """A flush that fails is no failure of the request."""

    def deliver(_: float) -> Delivered:
        raise OSError("disk gone")

    set_flush(Flush(deliver, BOUND_S))
    in_time(timed(served_app(serve), {"how": "plain"}), BOUND_S / 2)
