"""AWS Lambda: what a handler recorded is delivered before the process may be frozen."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as trace_api

from otel_agent_journal import lambda_handler, open_store
from otel_agent_journal.bootstrap import serverless
from otel_agent_journal.delivered import ALL
from otel_agent_journal.pipeline.current import Flush, set_flush
from otel_agent_journal.pipeline.flushing import Flusher
from otel_agent_journal.spool.writer import _reason
from otel_agent_journal.threads import Bell
from tests.clock import by_the_clock, in_time
from tests.e2e.conftest import Workdir
from tests.processes import started


class Context:
    """Lambda's context, as far as it counts."""

    def __init__(self, left_ms: int = 30_000) -> None:
        self.left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        """What is left."""
        return self.left_ms


class Delivered(list[float]):
    """The bounds that the journal was flushed with; `takes_s` is how long a flush takes."""

    takes_s = 0.0
    raises = False

    def deliver(self, timeout_s: float) -> Any:
        """Flush."""
        self.append(timeout_s)
        if self.raises:
            raise RuntimeError("no")
        time.sleep(self.takes_s)
        return ALL


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Delivered]:
    """A journal whose flushes are counted."""
    flusher = Flusher()
    monkeypatch.setattr(serverless, "_FLUSHER", flusher)
    counted = Delivered()
    set_flush(Flush(counted.deliver, 2.0))
    yield counted
    for lane in flusher.lanes:  # what hung is over, and touches no other test's
        bell = Bell()
        lane.ask(0, bell.ring)
        assert bell.wait(10)
    set_flush(None)


class Provider:
    """The program's TracerProvider, whose exporter takes its time."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.bounds: list[int] = []

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the SDK's, which need not keep to its time."""
        self.bounds.append(timeout_millis)
        time.sleep(self.takes_s)
        return ALL


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """A provider that is the program's."""
    made = Provider()
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER", made)
    return made


# --- a handler is what it was -------------------------------------------------------------------------------------


def test_with_and_without_parentheses(delivered: Delivered) -> None:
    """The decorated handler has its name, its documentation and its signature, however it was decorated."""

    def handle(event: dict[str, Any], context: Any, *, extra: int = 0) -> str:
        """Answer."""
        return f"{event['q']}{extra}"

    for decorated in (lambda_handler(handle), lambda_handler()(handle), lambda_handler(timeout_s=1)(handle)):
        assert (decorated.__name__, decorated.__doc__, decorated.__wrapped__) == ("handle", "Answer.", handle)  # type: ignore[attr-defined]
        assert inspect.signature(decorated) == inspect.signature(handle)
        assert decorated({"q": "hi"}, Context(), extra=1) == "hi1"
    assert delivered == [2.0, 2.0, 1.0]


def test_it_flushes_when_the_handler_raises(delivered: Delivered) -> None:
    """The handler's exception passes untouched, after everything was flushed."""
    error = ValueError("no")

    @lambda_handler
    def handle(event: Any, context: Any) -> None:
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        handle({}, Context())
    assert caught.value is error
    assert len(delivered) == 1


async def test_async_handlers(delivered: Delivered) -> None:
    """A coroutine function stays one, and is flushed as it returns, raises or is cancelled."""

    @lambda_handler
    async def handle(event: Any, context: Any) -> str:
        await asyncio.sleep(event)
        assert event < 1
        return "done"

    assert inspect.iscoroutinefunction(handle)
    assert await handle(0, Context()) == "done"
    task = asyncio.create_task(handle(60, Context()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(delivered) == 2


# --- the bound ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_ms", "timeout_s", "bound"), [(30_000, None, 2.0), (1_200, None, 1.0), (30_000, 5.0, 5.0), (50, None, 0.0)]
)
def test_never_longer_than_is_left(
    delivered: Delivered, provider: Provider, left_ms: int, timeout_s: float | None, bound: float
) -> None:
    """The bound is the one given, else the setting's, and never longer than the invocation has left."""
    lambda_handler(timeout_s=timeout_s)(lambda event, context: None)({}, Context(left_ms))
    for _ in range(100):  # with no time at all they are begun, and not waited for
        if delivered and provider.bounds:
            break
        time.sleep(0.02)
    assert delivered == [pytest.approx(bound)]
    assert provider.bounds == [int(bound * 1000)]


@pytest.mark.parametrize("arguments", [(), ({},), ({}, None), ({}, object())])
def test_without_a_context(delivered: Delivered, arguments: tuple[Any, ...]) -> None:
    """Called without Lambda's context, as in a test of the user's, the setting's bound holds."""
    lambda_handler(lambda *given: given)(*arguments)
    assert delivered == [2.0]


@by_the_clock
def test_who_hangs_is_not_waited_for(
    delivered: Delivered, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """A flush that takes too long holds up the response for the bound alone, and the next one not at all; said once."""
    provider.takes_s = 3.0
    handle = lambda_handler(timeout_s=0.3)(lambda event, context: "answer")
    took: list[float] = []
    for _ in range(3):
        begun = time.monotonic()
        assert handle({}, Context()) == "answer"
        took.append(time.monotonic() - begun)
    assert in_time(took[0], 2) > 0.25
    in_time(max(took[1:]), 0.25)
    assert (len(delivered), len(provider.bounds)) == (3, 1)
    assert sum("not delivered before a response" in record.message for record in caplog.records) == 1


def test_it_never_raises(delivered: Delivered, provider: Provider) -> None:
    """Neither a flush that fails nor a context that does keeps the response back."""
    delivered.raises = True

    class Broken:
        @property
        def get_remaining_time_in_millis(self) -> None:
            raise RuntimeError("no")

    assert lambda_handler(lambda event, context: "answer")({}, Context()) == "answer"
    assert lambda_handler(lambda event, context: "answer")({}, Broken()) == "answer"
    assert len(delivered) == 1


def test_many_at_once(delivered: Delivered) -> None:
    """Handlers that return at the same time, as in a test server, all answer."""
    delivered.takes_s = 0.05
    handle = lambda_handler(lambda event, context: answers.append(event))
    answers: list[int] = []
    threads = [threading.Thread(target=handle, args=(number, Context())) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(answers) == list(range(8))


def test_without_a_journal() -> None:
    """A program that journals nothing is only wrapped."""
    assert lambda_handler(lambda event, context: "answer")({}, Context()) == "answer"


# --- frozen -------------------------------------------------------------------------------------------------------

FUNCTION = """
import os, signal, sys
import otel_agent_journal
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from otel_agent_journal import invocation, lambda_handler, step

class ToFile(SpanExporter):
    def export(self, spans):
        with open("spans", "a") as file:
            file.writelines(f"{span.name}\\n" for span in spans)
        return SpanExportResult.SUCCESS

otel_agent_journal.configure()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(ToFile(), schedule_delay_millis=60_000))

class Context:
    def get_remaining_time_in_millis(self):
        return 30_000

@lambda_handler
def handle(event, context):
    with invocation(event["session"], agent="helper") as call, step("agent", "helper"):
        with step("tool", "search") as one:
            one.complete("x" * 200_000)
        if event.get("fail"):
            raise ValueError("no")
        call.succeed("done")

for number, event in enumerate(({"session": "s1"}, {"session": "s2", "fail": True})):
    try:
        handle(event, Context())
    except ValueError:
        pass
    os.kill(os.getpid(), signal.SIGSTOP)
"""
EVENTS = ["SESSION_INITIATED", "AGENT_INVOCATION_STARTED", "AGENT_START", "TOOL_START", "TOOL_END"]


@pytest.mark.parametrize("durability", ["store", "spool"])
def test_frozen_as_the_handler_returned(workdir: Workdir, durability: str) -> None:
    """A process stopped as its handler has returned, or raised, has all its events in the store, and sent its spans."""
    program = workdir.write("function.py", FUNCTION)
    store = f"sqlite:///{workdir.path}/journal.db"
    env = {**workdir.env, "AGENT_JOURNAL_STORE": store, "AGENT_JOURNAL_DURABILITY": durability}
    env["AGENT_JOURNAL_SPOOL"] = str(workdir.path / "spool")
    with started([sys.executable, program], cwd=workdir.path, env=env) as process:
        for session, last in (
            ("s1", ["AGENT_INVOCATION_SUCCEEDED", "AGENT_END"]),
            ("s2", ["AGENT_ERROR", "AGENT_INVOCATION_FAILED"]),
        ):
            _, state = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(state), state
            opened = open_store(store, create=False)
            assert [event.type for event in opened.read(session)] == [*EVENTS, *last]
            opened.close()
            spans = Path(workdir.path / "spans").read_text().split("\n")
            assert spans.count("execute_tool search") == ("s1", "s2").index(session) + 1
            process.send_signal(signal.SIGCONT)


def test_a_spool_that_cannot_be_written_says_what_to_do() -> None:
    """Where only /tmp can be written, as in Lambda, the refusal names the setting."""
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS), "/var/task/.agent-journal")
    assert _reason(refused) == (
        "Read-only file system: /var/task/.agent-journal; set AGENT_JOURNAL_SPOOL to a folder that can be written,"
        " in AWS Lambda one below /tmp"
    )
    assert _reason(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == "No space left on device"
