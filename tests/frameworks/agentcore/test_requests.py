"""Requests to entrypoints of every kind, over HTTP."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
from typing import Any

import pytest
from bedrock_agentcore.runtime import BedrockAgentCoreApp
from opentelemetry import context as context_api
from opentelemetry import trace
from starlette.responses import JSONResponse, Response, StreamingResponse

from otel_agent_journal.pipeline.session import step
from tests.frameworks.agentcore.serving import Served, wait_until


def work(question: str) -> str:
    """What a handler does, in any kind of it: a step, and a span of its own."""
    with step("tool", "search", input=question) as one:
        with trace.get_tracer("user").start_as_current_span("lookup"):
            pass
        one.complete("found")
    return f"answer to {question}"


def app_of(handler: Any) -> BedrockAgentCoreApp:
    """Return an app with that entrypoint."""
    app = BedrockAgentCoreApp()
    app.entrypoint(handler)
    return app


# --- the kinds of handlers ----------------------------------------------------------------------------------------


def sync(payload: dict[str, Any]) -> dict[str, str]:
    """Answer at once."""
    return {"result": work(payload["prompt"])}


async def coroutine(payload: dict[str, Any], context: Any) -> str:
    """Answer from the worker loop."""
    return work(payload["prompt"]) + f" in {context.session_id}"


def generator(payload: dict[str, Any]) -> Any:
    """Answer in parts."""
    yield work("first")
    with trace.get_tracer("user").start_as_current_span("across a yield"):
        yield work("second")
        work("third")


async def async_generator(payload: dict[str, Any]) -> Any:
    """Answer in parts, from the worker loop."""
    yield work("first")
    yield {"not": "text"}
    with trace.get_tracer("user").start_as_current_span("across a yield"):
        yield work("second")
        work("third")


async def returns_async_generator(payload: dict[str, Any]) -> Any:
    """Answer with a stream that another function makes."""
    return async_generator(payload)


def returns_async_generator_sync(payload: dict[str, Any]) -> Any:
    """Answer with a stream that runs on the server's own loop."""
    return async_generator(payload)


def response(payload: dict[str, Any]) -> Any:
    """Answer with a response of its own."""
    return JSONResponse({"why": work("it")}, status_code=404)


def streaming_response(payload: dict[str, Any]) -> Any:
    """Answer with a streaming response of its own."""
    return StreamingResponse(generator(payload), media_type="text/plain")


KINDS = [
    sync,
    coroutine,
    generator,
    async_generator,
    returns_async_generator,
    returns_async_generator_sync,
    response,
    streaming_response,
]
STREAMS = [generator, async_generator, returns_async_generator_sync]


@pytest.mark.parametrize("handler", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_handler(recording: Any, serve: Any, snapshot: Any, handler: Any) -> None:
    """A handler is a root step of the header's session that ends with its answer; what it does hangs below it."""
    serve(app_of(handler)).call({"prompt": "why"})
    assert recording.snapshot() == snapshot


@pytest.mark.parametrize("handler", KINDS, ids=lambda kind: kind.__name__)
def test_answers_are_untouched(recording: Any, serve: Any, handler: Any) -> None:
    """Status, headers and body are those of the app without us."""
    running: Served = serve(app_of(handler))
    journaled = running.call({"prompt": "why"})
    recording.instrumentor.uninstrument()
    plain = running.call({"prompt": "why"})
    recording.instrumentor.instrument()
    assert journaled == plain
    assert journaled.body


def test_what_is_no_text_is_counted(recording: Any, serve: Any) -> None:
    """Of bytes that a response of the handler's own streams, or has, as no text, nothing is journaled but how many."""

    def picture(payload: dict[str, Any]) -> Any:
        if payload["whole"]:
            return Response(b"\x89PNG", media_type="image/png")
        return StreamingResponse((b"\x89PNG" for _ in range(3)), media_type="image/png")

    running: Served = serve(app_of(picture))
    assert running.call({"whole": True}, session="s1").body == b"\x89PNG"
    assert running.call({"whole": False}, session="s2").body == b"\x89PNG" * 3
    ended = {
        session: [event.details for event in events if event.type == "STEP_END"]
        for session, events in recording.sessions.items()
    }
    assert ended == {"s1": [{"output": {"status_code": 200, "media_type": "image/png"}}], "s2": [{"items": 3}]}


# --- failures -----------------------------------------------------------------------------------------------------


def sync_fails(payload: dict[str, Any]) -> None:
    """Fail."""
    work("it")
    raise LookupError("no such page")


async def coroutine_fails(payload: dict[str, Any]) -> None:
    """Fail on the worker loop."""
    work("it")
    raise LookupError("no such page")


def generator_fails(payload: dict[str, Any]) -> Any:
    """Fail in the middle."""
    yield work("it")
    raise LookupError("no such page")


async def async_generator_fails(payload: dict[str, Any]) -> Any:
    """Fail in the middle, on the worker loop."""
    yield work("it")
    raise LookupError("no such page")


def on_the_loop_fails(payload: dict[str, Any]) -> Any:
    """Fail in the middle, on the server's own loop."""
    return async_generator_fails(payload)


def fails_at_once(payload: dict[str, Any]) -> Any:
    """Fail before the first part."""
    raise LookupError("no such page")
    yield


FAILING = [sync_fails, coroutine_fails, generator_fails, async_generator_fails, on_the_loop_fails, fails_at_once]


@pytest.mark.parametrize("handler", FAILING, ids=lambda kind: kind.__name__)
def test_failures(recording: Any, serve: Any, snapshot: Any, handler: Any) -> None:
    """A handler that raises has failed, and the client is told as the app tells it without us."""
    running: Served = serve(app_of(handler))
    journaled = running.call({})
    (failed,) = (event for event in recording.events if event.type == "AGENT_ENTRYPOINT_FAILED")
    assert (failed.level, failed.error.type, failed.error.message) == ("ERROR", "LookupError", "no such page")
    assert recording.snapshot() == snapshot
    recording.instrumentor.uninstrument()
    assert journaled == running.call({})
    assert b"no such page" in journaled.body


async def test_base_exceptions_pass(recording: Any) -> None:
    """What is no Exception, such as SystemExit, passes as it is and cancels the step."""
    leaving = SystemExit(3)

    def leaves(payload: dict[str, Any]) -> None:
        raise leaving

    before = context_api.get_current()
    with pytest.raises(SystemExit) as caught:
        await app_of(leaves)._invoke_handler(leaves, None, False, {})
    assert caught.value is leaving
    assert context_api.get_current() == before
    assert recording.attempt("leaves").outcome == "cancelled"


async def test_cancelled(recording: Any) -> None:
    """A request whose task is cancelled ends cancelled at once, and so does what the handler had running."""
    began = threading.Event()

    async def waits(payload: dict[str, Any]) -> None:
        with step("tool", "wait"):
            began.set()
            await asyncio.sleep(60)

    app = app_of(waits)
    task = asyncio.create_task(app._invoke_handler(waits, None, False, {}))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert recording.attempt("waits").outcome == "cancelled"
    assert recording.attempt("wait").outcome == "cancelled"
    (failed,) = (event for event in recording.events if event.type == "AGENT_ENTRYPOINT_FAILED")
    assert (failed.level, failed.details["reason"]) == ("WARNING", "cancelled")
    app._worker_loop.call_soon_threadsafe(app._worker_loop.stop)
    app._worker_thread.join(10)
    app._worker_loop.close()


# --- streams that are broken off ----------------------------------------------------------------------------------


async def endless(payload: dict[str, Any]) -> Any:
    """Answer without end."""
    while True:
        yield "x" * 10_000
        await asyncio.sleep(0.001)


def endless_sync(payload: dict[str, Any]) -> Any:
    """Answer without end, from the thread pool."""
    while True:
        yield "x" * 10_000


def endless_on_the_loop(payload: dict[str, Any]) -> Any:
    """Answer without end, on the server's own loop."""
    return endless(payload)


def endless_response(payload: dict[str, Any]) -> Any:
    """Answer without end, by a response of its own."""
    return StreamingResponse(endless_sync(payload))


ENDLESS = [endless, endless_sync, endless_on_the_loop, endless_response]


@pytest.mark.parametrize("handler", ENDLESS, ids=lambda kind: kind.__name__)
def test_disconnect(recording: Any, serve: Any, handler: Any) -> None:
    """A client that goes away in the middle of a stream makes the step cancelled, which is no error."""
    response = serve(app_of(handler)).begin({})
    assert response.read(100)
    response.close()
    wait_until(lambda: not recording.recorder.open_roots())
    attempt = recording.attempt(handler.__name__)
    assert attempt.outcome == "cancelled"
    assert [note.type for note in attempt.notes if note.type != "CHUNK"] == [
        "AGENT_ENTRYPOINT_STARTED",
        "AGENT_ENTRYPOINT_FAILED",
    ]


def test_disconnect_leaves_the_agent_its_steps(recording: Any, serve: Any) -> None:
    """What still runs in the handler when its client goes away is not called cancelled: it ends as it does."""
    go_on, done = threading.Event(), threading.Event()

    async def answers(payload: dict[str, Any]) -> Any:
        with step("agent", "thinker") as thinker:
            yield "begun"
            for _ in range(50):
                yield "x" * 100_000
            await asyncio.to_thread(go_on.wait, 20)
            thinker.complete("thought")
        done.set()

    response = serve(app_of(answers)).begin({})
    assert response.read(10)
    response.close()
    wait_until(lambda: not recording.recorder.open_roots())
    go_on.set()
    assert done.wait(20)
    assert recording.attempt("answers").outcome == "cancelled"
    assert recording.attempt("thinker").outcome == "ok"


@pytest.mark.parametrize("handler", STREAMS, ids=lambda kind: kind.__name__)
async def test_a_stream_that_is_never_begun(recording: Any, handler: Any) -> None:
    """A stream that is dropped before its first part ends cancelled too, though none of its code ever runs."""
    result = await app_of(handler)._invoke_handler(handler, None, False, {})
    assert recording.recorder.open_roots()
    if hasattr(result, "aclose"):
        await result.aclose()
    del result
    gc.collect()
    assert not recording.recorder.open_roots()
    assert recording.attempt(handler.__name__).outcome == "cancelled"


async def test_a_stream_that_is_closed(recording: Any) -> None:
    """A stream closed after some parts is cancelled, its source is closed with it, and each is there once."""
    closed: list[str] = []

    def parts(payload: dict[str, Any]) -> Any:
        try:
            yield "one"
            yield "two"
        finally:
            closed.append("source")

    result = await app_of(parts)._invoke_handler(parts, None, False, {})
    assert next(result) == "one"
    result.close()
    assert closed == ["source"]
    attempt = recording.attempt("parts")
    assert (attempt.outcome, dict(attempt.details_end)) == ("cancelled", {"items": 1, "output": "one"})


def test_a_long_stream_is_cut_and_says_so(recording: Any, serve: Any) -> None:
    """Of a streamed answer the first million characters are in the ending, and it says how many more there were."""

    def long(payload: dict[str, Any]) -> Any:
        for _ in range(21):
            yield "x" * 50_000

    serve(app_of(long)).call({})
    (completed,) = (event for event in recording.events if event.type == "AGENT_ENTRYPOINT_COMPLETED")
    assert completed.details["items"] == 21
    assert completed.details["lost"].startswith("50,000 characters")
    assert completed.details["output"]["bytes"] == 1_000_002  # kept as a blob: over the field limit


# --- names and sessions -------------------------------------------------------------------------------------------


class Agent:
    """Something that can be called."""

    def __call__(self, payload: dict[str, Any]) -> str:
        """Answer."""
        return "from an object"


def test_handlers_without_a_name(recording: Any, serve: Any) -> None:
    """A partial has the name of its function, an object that of its class."""
    serve(app_of(functools.partial(functools.partial(sync)))).call({"prompt": "it"}, session="of a partial")
    serve(app_of(Agent())).call({}, session="of an object")
    names = {session: events[0].name for session, events in recording.sessions.items()}
    assert names == {"of a partial": "sync", "of an object": "Agent"}


def test_without_a_header(recording: Any, serve: Any) -> None:
    """A request without a session's header is a session of its own, named by its trace."""
    running: Served = serve(app_of(sync))
    running.call({"prompt": "one"}, session=None)
    running.call({"prompt": "two"}, session=None)
    sessions = recording.sessions
    assert len(sessions) == 2
    assert all({event.trace_id for event in events} == {session} for session, events in sessions.items())


def test_concurrent_sessions_do_not_mix(recording: Any, serve: Any) -> None:
    """Requests of many sessions at once, of which each waits for the others, each have their own steps."""
    together = threading.Barrier(8, timeout=20)

    def meets(payload: dict[str, Any]) -> Any:
        yield work(payload["prompt"])
        together.wait()
        yield work(payload["prompt"])

    running: Served = serve(app_of(meets))
    threads = [
        threading.Thread(target=running.call, args=({"prompt": f"p{number}"}, f"s{number}")) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    sessions = recording.sessions
    assert sorted(sessions) == [f"s{number}" for number in range(8)]
    for session, events in sessions.items():
        asked = [event.details["input"] for event in events if event.type == "TOOL_START"]
        assert asked == [f"p{session[1:]}"] * 2
        assert len({event.trace_id for event in events}) == 1


def test_a_span_around_the_request_is_kept(recording: Any, serve: Any) -> None:
    """Below the server span of another instrumentation, which has read the client's traceparent, the step hangs."""
    app = app_of(sync)
    server_span: list[Any] = []

    class Server:
        """Opens a span around every request, as an instrumentation of ASGI does."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            remote = trace.SpanContext(
                int("ab" * 16, 16), int("cd" * 8, 16), is_remote=True, trace_flags=trace.TraceFlags(1)
            )
            above = trace.set_span_in_context(trace.NonRecordingSpan(remote))
            with trace.get_tracer("asgi").start_as_current_span("POST /invocations", above) as span:
                server_span.append(span.get_span_context())
                await self.inner(scope, receive, send)

    app.add_middleware(Server)
    serve(app).call({"prompt": "it"})
    root = recording.span("sync")
    assert root.parent is not None
    assert root.parent.span_id == server_span[-1].span_id
    assert recording.attempt("sync").trace_id == "ab" * 16


# --- what makes no step -------------------------------------------------------------------------------------------


def test_pings_and_bad_requests_make_nothing(recording: Any, serve: Any) -> None:
    """Health checks, requests that are no JSON, and an app without an entrypoint are not journaled."""
    app = BedrockAgentCoreApp()
    running: Served = serve(app)
    assert running.ping() == "Healthy"
    assert running.call({}).status == 500
    assert recording.sessions == {}


# --- websockets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "outcome"), [(None, "ok"), (LookupError("no"), "error"), (1000, "ok"), (1006, "cancelled")]
)
async def test_websockets(recording: Any, raised: Any, outcome: str) -> None:
    """A websocket connection is a step for as long as its handler runs; a client that hangs up in order ends it."""
    from starlette.websockets import WebSocketDisconnect

    app = BedrockAgentCoreApp()

    @app.websocket
    async def talk(websocket: Any, context: Any) -> None:
        await websocket.accept()
        work("it")
        if isinstance(raised, int):
            raise WebSocketDisconnect(raised)
        if raised is not None:
            raise raised

    headers = [(b"x-amzn-bedrock-agentcore-runtime-session-id", b"s1")]
    scope = {"type": "websocket", "path": "/ws", "headers": headers, "query_string": b"", "subprotocols": []}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    for _ in range(2):
        await app(dict(scope), receive, send)
    assert sent[0] == "websocket.accept"
    attempts = [one for found in recording.steps.roots for one in found.attempts]
    assert [(one.name, one.outcome) for one in attempts] == [("talk", outcome)] * 2
    assert recording.events[0].session_id == "s1"
