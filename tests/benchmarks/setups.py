"""What instruments the measured process, one function a mode. Runs inside the environment of that mode.

The peers get their normal set-up: a TracerProvider with a BatchSpanProcessor, here before an exporter that only counts.
Ours gets the set-ups that users get, listed in README.md. Content is switched by the environment, see `environment`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

PEERS: Final = ("openinference", "traceloop", "official")
OURS: Final = ("run", "joined", "configure")
MODES: Final = ("none", "floor", *OURS, *PEERS)

Finish = Callable[[], int]
"""Deliver what is still buffered; return how many spans the exporter got so far. Called inside the measured time."""

_OFF: Final = {
    "openinference": {"OPENINFERENCE_HIDE_INPUTS": "true", "OPENINFERENCE_HIDE_OUTPUTS": "true"},
    "traceloop": {"TRACELOOP_TRACE_CONTENT": "false"},
    "official": {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"},
}
_ON: Final = {
    "openinference": {},
    "traceloop": {"TRACELOOP_TRACE_CONTENT": "true"},
    "official": {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"},
}
_FOREIGN: Final = ("OTEL_", "AGENT_JOURNAL_", "TRACELOOP_", "OPENINFERENCE_", "LANGSMITH_", "LANGCHAIN_", "PYTHON")


def environment(mode: str, content: bool) -> dict[str, str]:
    """Return the variables of a measured process: the caller's, less any that would instrument or configure it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    if mode in OURS:
        clean["AGENT_JOURNAL_CONTENT"] = "full" if content else "metadata"
        clean["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY" if content else "NO_CONTENT"
    return clean | (_ON if content else _OFF).get(mode, {})


def set_up(mode: str) -> Finish:
    """Instrument this process. `run` and `joined` expect to be children of `agent-journal run`."""
    return _SET_UPS[mode]()


def _nothing() -> Finish:
    return lambda: 0


def _provider() -> Finish:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class NullExporter(SpanExporter):
        spans = 0

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self.spans += len(spans)
            return SpanExportResult.SUCCESS

    exporter, provider = NullExporter(), TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    def finish() -> int:
        provider.force_flush()
        return exporter.spans

    return finish


def _openinference() -> Finish:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    finish = _provider()
    LangChainInstrumentor().instrument()
    return finish


def _traceloop() -> Finish:
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    finish = _provider()
    LangchainInstrumentor().instrument()
    return finish


def _official() -> Finish:
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    finish = _provider()
    LangChainInstrumentor().instrument()
    return finish


def _configure() -> Finish:
    import otel_agent_journal

    otel_agent_journal.configure(os.environ["BENCH_STORE"], spool=os.environ["BENCH_SPOOL"])

    def finish() -> int:
        if not otel_agent_journal.flush(120.0):
            raise RuntimeError("the store did not take everything within two minutes")
        return 0

    return finish


def _floor() -> Finish:
    """One bare span a step, nothing on it but its name, opened where the peers open theirs."""
    from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
    from opentelemetry import trace

    finish = _provider()
    tracer = trace.get_tracer("floor")

    class Spans(BaseCallbackHandler):
        run_inline = True

        def __init__(self) -> None:
            self.open: dict[UUID, Any] = {}

        def _start(self, run_id: UUID, parent_run_id: UUID | None, name: str) -> None:
            parent = self.open.get(parent_run_id) if parent_run_id else None
            context = trace.set_span_in_context(parent) if parent else None
            self.open[run_id] = tracer.start_span(name, context)

        def _end(self, *_: Any, run_id: UUID, **__: Any) -> None:
            span = self.open.pop(run_id, None)
            if span:
                span.end()

        def on_chain_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **known: Any) -> None:
            tags, name = known.get("tags") or (), known.get("name") or ""
            node = (known.get("metadata") or {}).get("langgraph_node")
            if parent_run_id is None or (name == node and any(tag.startswith("graph:step") for tag in tags)):
                self._start(run_id, parent_run_id, name)

        def on_chat_model_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **known: Any) -> None:
            self._start(run_id, parent_run_id, known.get("name") or "chat")

        def on_tool_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **known: Any) -> None:
            self._start(run_id, parent_run_id, known.get("name") or "tool")

        on_chain_end = on_chain_error = on_llm_end = on_llm_error = on_tool_end = on_tool_error = _end

        def on_interrupt(self, *_: Any, **__: Any) -> None:
            """Nothing: the graph's callback manager calls it on every handler."""

        on_resume = on_interrupt

    handler, init = Spans(), BaseCallbackManager.__init__

    def with_handler(manager: Any, *args: Any, **kwargs: Any) -> None:
        init(manager, *args, **kwargs)
        if handler not in manager.inheritable_handlers:
            manager.add_handler(handler, inherit=True)

    BaseCallbackManager.__init__ = with_handler  # type: ignore[method-assign]
    return finish


_SET_UPS: Final[dict[str, Callable[[], Finish]]] = {
    "none": _nothing,
    "floor": _floor,
    "run": _nothing,
    "joined": _provider,
    "configure": _configure,
    "openinference": _openinference,
    "traceloop": _traceloop,
    "official": _official,
}
