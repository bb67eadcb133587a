"""Faults of ours cost the app nothing; instrumenting and its end change nothing but what is journaled."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bedrock_agentcore.runtime import BedrockAgentCoreApp

from otel_agent_journal.frameworks.agentcore import AgentCoreInstrumentor
from otel_agent_journal.pipeline.current import set_recorder
from tests.frameworks.agentcore.serving import Served
from tests.frameworks.langgraph.recording import recording_at

METHODS = ("_invoke_handler", "_handle_websocket", "add_async_task", "complete_async_task", "async_task")


class Broken:
    """A recorder of which everything raises."""

    content = True
    session_id = None

    def failed(self, what: str) -> None:
        """Count it, as every recorder can."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name} is broken")


class BreaksLater:
    """A recorder that opens steps, and then raises whatever it is asked."""

    content = True
    session_id = None

    def __init__(self, recorder: Any) -> None:
        self._inner = recorder

    def start_step(self, *args: Any, **kwargs: Any) -> Any:
        """Open a step that cannot be ended."""
        step = self._inner.start_step(*args, **kwargs)
        step.keeper = Broken()
        return step

    def session_of(self, context: Any) -> Any:
        """Work."""
        return self._inner.session_of(context)

    def failed(self, what: str) -> None:
        """Count it, as every recorder can."""

    def record(self, *args: Any, **kwargs: Any) -> None:
        """Raise after a START was written."""
        if "STARTED" not in args[1]:
            raise RuntimeError("broken")


def use(serve: Any) -> list[Any]:
    """Use everything of an app; return what a client and a caller see of it."""
    app = BedrockAgentCoreApp()

    @app.async_task
    async def report(pages: int) -> int:
        return pages

    @app.entrypoint
    async def answer(payload: dict[str, Any]) -> Any:
        found = await report(3)
        done = app.complete_async_task(app.add_async_task("by hand", {"a": 1}))
        if payload["how"] == "fails":
            raise LookupError("gone")

        async def stream() -> Any:
            yield found
            yield done
            if payload["how"] == "stream fails":
                raise LookupError("gone")

        return stream() if payload["how"].startswith("stream") else [found, done]

    running: Served = serve(app)
    return [running.call({"how": how}) for how in ("plain", "fails", "stream", "stream fails")]


@pytest.mark.parametrize("kind", ["broken", "breaks later"])
def test_faults_of_ours(recording: Any, serve: Any, kind: str) -> None:
    """With a recorder that fails at everything, or at every ending, answers are those of the app without us."""
    recording.instrumentor.uninstrument()
    plain = use(serve)
    recording.instrumentor.instrument()
    broken: Any = Broken() if kind == "broken" else BreaksLater(recording.recorder)
    set_recorder(broken)
    assert use(serve) == plain
    assert [answer.status for answer in plain] == [200, 500, 200, 200]
    set_recorder(recording.recorder)
    for root in recording.recorder.open_roots():
        root.keeper = recording.recorder
        root._ended = False
        root.end("cancelled")


def test_without_a_recorder(recording: Any, serve: Any) -> None:
    """Instrumented without a journal, an app does what it does."""
    set_recorder(None)
    assert [answer.status for answer in use(serve)] == [200, 500, 200, 200]
    assert recording.sessions == {}


def test_uninstrument() -> None:
    """Afterwards the methods are the SDK's own, and instrumenting again journals again, once."""
    originals = {name: vars(BedrockAgentCoreApp)[name] for name in METHODS}
    instrumentor = AgentCoreInstrumentor()
    assert instrumentor is AgentCoreInstrumentor()
    for _ in range(2):
        instrumentor.instrument()
        instrumentor.instrument()
        assert instrumentor.is_instrumented_by_opentelemetry
        assert all(vars(BedrockAgentCoreApp)[name] is not originals[name] for name in METHODS)
        instrumentor.uninstrument()
        assert {name: vars(BedrockAgentCoreApp)[name] for name in METHODS} == originals


def test_beside_another_instrumentation(tmp_path: Path, serve: Any) -> None:
    """A wrapper that somebody put around ours stays when ours goes, which then does nothing, and is not doubled."""
    instrumentor = AgentCoreInstrumentor()
    with recording_at(tmp_path, provider=None, instrumentor=instrumentor) as made:
        ours = BedrockAgentCoreApp._invoke_handler
        calls: list[str] = []

        @functools.wraps(ours)
        async def theirs(*args: Any, **kwargs: Any) -> Any:
            calls.append("theirs")
            return await ours(*args, **kwargs)

        BedrockAgentCoreApp._invoke_handler = theirs
        try:
            instrumentor.uninstrument()
            assert [answer.status for answer in use(serve)] == [200, 500, 200, 200]
            assert len(calls) == 4
            assert made.sessions == {}
            instrumentor.instrument()
            use(serve)
            assert len(calls) == 8
            assert sum(event.type == "AGENT_ENTRYPOINT_STARTED" for event in made.events) == 4
        finally:
            BedrockAgentCoreApp._invoke_handler = ours.__wrapped__


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_is_not_there(recording: Any, caplog: Any, name: str) -> None:
    """Where a version of the SDK has a method not, it is said what is lost, and the others are hooked."""

    class Older:
        """An app without one of the methods."""

    for other in METHODS:
        if other != name:
            setattr(Older, other, lambda self: None)

    class Module:
        BedrockAgentCoreApp = Older

    instrumentor = AgentCoreInstrumentor()
    mine = instrumentor._restore.copy()
    instrumentor._patch_app(Module)
    for restore in instrumentor._restore[len(mine) :]:
        restore()
    instrumentor._restore = mine
    (warning,) = (one for one in caplog.records if one.levelno == logging.WARNING)
    assert f"method=<{name}>" in warning.getMessage()
    assert "not journaled" in warning.getMessage()


def test_missing(monkeypatch: Any) -> None:
    """It says why there is nothing to instrument."""
    instrumentor = AgentCoreInstrumentor()
    assert instrumentor.missing() is None
    assert instrumentor.instrumentation_dependencies() == ("bedrock-agentcore >= 1.2",)
    monkeypatch.setattr(AgentCoreInstrumentor, "minimum", {"bedrock-agentcore": (99, 0)})
    assert "is older than 99.0" in (instrumentor.missing() or "")
    monkeypatch.setattr(AgentCoreInstrumentor, "minimum", {"no-such-package": (1, 0)})
    assert instrumentor.missing() == "no-such-package is not installed"


def test_imports_little() -> None:
    """Instrumenting imports neither the SDK nor what we need beside it: a program that serves nothing pays nothing."""
    code = (
        "import sys; from otel_agent_journal.frameworks.agentcore import AgentCoreInstrumentor as I;"
        "I().instrument(); print([n for n in sys.modules if 'agentcore.hooks' in n or 'starlette' in n])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.strip() == "[]"
