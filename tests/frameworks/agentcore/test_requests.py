"""Requests to entrypoints of every kind, over HTTP."""

from __future__ import annotations

from typing import Any

from bedrock_agentcore.runtime import BedrockAgentCoreApp
from opentelemetry import trace

from otel_agent_journal.pipeline.session import step
from tests.frameworks.agentcore.serving import Served, wait_until


def work(question: str) -> str:
    """What a handler does, in any kind of it: a step and a span of its own."""
    with step("tool", "search", input=question) as one:
        with trace.get_tracer("user").start_as_current_span("lookup"):
            pass
        one.complete("found")
    return f"answer to {question}"


def test_sync(recording: Any, serve: Any, snapshot: Any) -> None:
    """A sync handler is a root step of the header's session; what it does hangs below it in one trace."""
    app = BedrockAgentCoreApp()

    @app.entrypoint
    def answer(payload: dict[str, Any]) -> dict[str, str]:
        return {"result": work(payload["prompt"])}

    running: Served = serve(app)
    assert running.call({"prompt": "why"}).json == {"result": "answer to why"}
    assert recording.snapshot() == snapshot


def test_async(recording: Any, serve: Any, snapshot: Any) -> None:
    """An async handler, which runs on the app's worker loop, likewise."""
    app = BedrockAgentCoreApp()

    @app.entrypoint
    async def answer(payload: dict[str, Any], context: Any) -> str:
        return work(payload["prompt"]) + f" in {context.session_id}"

    assert serve(app).call({"prompt": "why"}).json == "answer to why in s1"
    assert recording.snapshot() == snapshot


def test_sync_stream(recording: Any, serve: Any, snapshot: Any) -> None:
    """A generator's request is completed when the stream drains; its step is current in every part of it."""
    app = BedrockAgentCoreApp()

    @app.entrypoint
    def answer(payload: dict[str, Any]) -> Any:
        yield work("first")
        with trace.get_tracer("user").start_as_current_span("across a yield"):
            yield work("second")
            work("third")

    assert serve(app).call({}).events == ["answer to first", "answer to second"]
    assert recording.snapshot() == snapshot


def test_async_stream(recording: Any, serve: Any, snapshot: Any) -> None:
    """An async generator's likewise."""
    app = BedrockAgentCoreApp()

    @app.entrypoint
    async def answer(payload: dict[str, Any]) -> Any:
        yield work("first")
        yield {"not": "text"}
        with trace.get_tracer("user").start_as_current_span("across a yield"):
            yield work("second")
            work("third")

    assert serve(app).call({}).events == ["answer to first", {"not": "text"}, "answer to second"]
    assert recording.snapshot() == snapshot


def test_disconnect(recording: Any, serve: Any, snapshot: Any) -> None:
    """A client that goes away in the middle of a stream makes the step cancelled, and no error."""
    app = BedrockAgentCoreApp()

    @app.entrypoint
    async def answer(payload: dict[str, Any]) -> Any:
        import asyncio

        while True:
            yield "x" * 10_000
            await asyncio.sleep(0.001)

    response = serve(app).begin({})
    assert response.read(100)
    response.close()
    wait_until(lambda: not recording.recorder.open_roots())
    assert recording.attempt("answer").outcome == "cancelled"
