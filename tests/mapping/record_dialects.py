"""Records what real instrumentations put on spans, as `tests/golden/dialects/*.json`.

Each runs in the environment that the benchmarks build for it (`python tests/benchmarks/peers.py` builds them all and
prints where they are), with this repository's sources on the path:

    PYTHONPATH=src ENVIRONMENT/bin/python tests/mapping/record_dialects.py openinference|traceloop|official
    PYTHONPATH=src ENVIRONMENT/bin/python tests/mapping/record_dialects.py strands|strands_latest|openinference_strands

The frameworks and instrumentations are real, the model follows a script: an agent calls a tool and counts tokens,
streams an answer, and has a tool that fails; its content is captured. A recording holds every span as it was at its
creation and as it ended, in order, and which attributes it had (`soon`) as the next span began or ended. Ids are
counted, times are ranks, and what is of the machine is left out, so that two recordings of one version are equal but
for measured durations.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

GOLDEN: Final = Path(__file__).resolve().parents[1] / "golden" / "dialects"
BASE_NS: Final = 1_760_000_000_000_000_000
SESSION: Final = "session-1"
_UUID: Final = re.compile(
    r"(?<![0-9a-f])(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])"
)
_TIME: Final = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?")
_PATH: Final = re.compile(r"/(?:[\w.+@-]+/)+([\w.+@-]+)")
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


class Recorder:
    """A span processor that keeps what it is shown. Used by one thread after the other."""

    def __init__(self) -> None:
        self.spans: dict[int, dict[str, Any]] = {}
        self.order: list[tuple[str, int]] = []
        self._last: Any = None

    def _look_back(self) -> None:
        """Keep which attributes the span that was created last has got since."""
        if self._last is not None:
            self.spans[self._last.get_span_context().span_id]["soon"] = list(self._last.attributes)
            self._last = None

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Keep a span as it was created."""
        self._look_back()
        self._last = span
        context = span.get_span_context()
        number = len(self.spans)
        self.spans[context.span_id] = {"number": number, "at_creation": dict(span.attributes)}
        self.order.append(("start", number))

    def on_ending(self, span: Any) -> None:
        """Do nothing."""

    _on_ending = on_ending

    def on_end(self, span: Any) -> None:
        """Keep a span as it ended."""
        self._look_back()
        context = span.get_span_context()
        kept = self.spans[context.span_id]
        self.order.append(("end", kept["number"]))
        kept |= {
            "name": span.name,
            "kind": span.kind.name,
            "trace_id": f"{context.trace_id:032x}",
            "span_id": f"{context.span_id:016x}",
            "parent_span_id": None if span.parent is None else f"{span.parent.span_id:016x}",
            "scope": {"name": span.instrumentation_scope.name, "version": span.instrumentation_scope.version or ""},
            "start_ns": span.start_time,
            "end_ns": span.end_time,
            "status": {"code": span.status.status_code.value, "description": span.status.description},
            "attributes": dict(span.attributes),
            "events": [
                {"name": event.name, "timestamp_ns": event.timestamp, "attributes": dict(event.attributes or {})}
                for event in span.events
            ],
            "links": [
                {"trace_id": f"{link.context.trace_id:032x}", "span_id": f"{link.context.span_id:016x}"}
                for link in span.links
            ],
        }

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Do nothing."""
        return True


class _CountedIds:
    """Ids that count up."""

    def __init__(self) -> None:
        self._traces, self._spans = itertools.count(1), itertools.count(1)

    def generate_trace_id(self) -> int:
        """Return the next trace's."""
        return 0xD1A1EC7 << 96 | next(self._traces)

    def generate_span_id(self) -> int:
        """Return the next span's."""
        return 0x5A << 56 | next(self._spans)

    def is_trace_id_random(self) -> bool:
        """Say that they are not."""
        return False


def provider(*processors: Any) -> Any:
    """Return the process's tracer provider, with these processors."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    made = TracerProvider(id_generator=_CountedIds(), resource=Resource({"service.name": "scripted"}))  # type: ignore[arg-type]
    for processor in processors:
        made.add_span_processor(processor)
    trace.set_tracer_provider(made)
    return made


# --- the agents ---------------------------------------------------------------------------------------------------


def langchain_agent(around: Callable[[], Any] = contextlib.nullcontext) -> None:
    """Run the agent, stream it, and let its tool fail, in one session; look a document up in another."""
    from langchain.agents import create_agent
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import RunnableLambda
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver

    from otel_agent_journal.testing.scripted import ScriptedModel, reply

    @tool
    def search(query: str) -> str:
        """Look something up."""
        return f"two hits for {query}"

    @tool
    def broken(query: str) -> str:
        """Fail."""
        raise ValueError(f"no index for {query}")

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document("sourdough needs time", id="d1", metadata={"shelf": "bread"})]

    model = ScriptedModel(
        script=[
            reply("", calls=[("search", {"query": "bread"})], input_tokens=20, output_tokens=7, message_id="m1"),
            reply(
                "Bread, twice.",
                input_tokens=40,
                output_tokens=9,
                cache_read=16,
                reasoning=3,
                model="scripted-1-0815",
                message_id="m2",
            ),
            reply("Streamed in words.", input_tokens=50, output_tokens=5, message_id="m3"),
            reply("", calls=[("broken", {"query": "cheese"})], input_tokens=60, output_tokens=8, message_id="m4"),
        ]
    )
    agent = create_agent(
        model, [search, broken], system_prompt="Be brief.", name="helper", checkpointer=InMemorySaver()
    )
    config: Any = {"configurable": {"thread_id": SESSION}}
    with around():
        agent.invoke({"messages": [{"role": "user", "content": "What of bread?"}]}, config)
        for _ in agent.stream({"messages": [{"role": "user", "content": "Again."}]}, config, stream_mode="messages"):
            pass
        with contextlib.suppress(ValueError):
            agent.invoke({"messages": [{"role": "user", "content": "What of cheese?"}]}, config)
        look_up = RunnableLambda(lambda question: Shelf().invoke(question)).with_config(run_name="look up")
        look_up.invoke("bread", {"metadata": {"thread_id": SESSION}})


def strands_agent() -> None:
    """Run the agent, whose second tool fails, and stream it once more."""
    import asyncio

    from strands import Agent, tool

    from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say

    @tool
    def search(query: str) -> str:
        """Look something up."""
        return f"two hits for {query}"

    @tool
    def broken(query: str) -> str:
        """Fail."""
        raise ValueError(f"no index for {query}")

    model = ScriptedModel(
        [
            call(("search", {"query": "bread"}), ("broken", {"query": "cheese"}), text="I look."),
            say("Bread, twice.", thought="cheese is gone"),
            say("Streamed in words."),
            RuntimeError("the model is away"),
        ],
        usage={"inputTokens": 20, "outputTokens": 7, "totalTokens": 27, "cacheReadInputTokens": 4},
    )
    agent = Agent(
        model=model,
        tools=[search, broken],
        system_prompt="Be brief.",
        name="helper",
        callback_handler=None,
        trace_attributes={"session.id": SESSION, "user.id": "user-1"},
    )
    agent("What of bread and cheese?")

    async def streamed() -> None:
        async for _ in agent.stream_async("Again."):
            pass

    asyncio.run(streamed())
    with contextlib.suppress(Exception):
        agent("And now?")


# --- the instrumentations -----------------------------------------------------------------------------------------


def _openinference(recorder: Recorder) -> None:
    from openinference.instrumentation import using_session
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=provider(recorder))
    langchain_agent(lambda: using_session(SESSION))


def _traceloop(recorder: Recorder) -> None:
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    LangchainInstrumentor().instrument(tracer_provider=provider(recorder))
    langchain_agent()


def _official(recorder: Recorder) -> None:
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument(tracer_provider=provider(recorder))
    langchain_agent()


def _strands(recorder: Recorder) -> None:
    provider(recorder)
    strands_agent()


def _strands_latest(recorder: Recorder) -> None:
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental,gen_ai_tool_definitions"
    provider(recorder)
    strands_agent()


def _openinference_strands(recorder: Recorder) -> None:
    from openinference.instrumentation.strands_agents import StrandsAgentsToOpenInferenceProcessor

    provider(StrandsAgentsToOpenInferenceProcessor(), recorder)
    strands_agent()


RECORDINGS: Final[dict[str, tuple[Callable[[Recorder], None], tuple[str, ...]]]] = {
    "openinference": (_openinference, ("openinference-instrumentation-langchain", "langchain", "langgraph")),
    "traceloop": (_traceloop, ("opentelemetry-instrumentation-langchain", "langchain", "langgraph")),
    "official": (_official, ("opentelemetry-instrumentation-genai-langchain", "langchain", "langgraph")),
    "strands": (_strands, ("strands-agents",)),
    "strands_latest": (_strands_latest, ("strands-agents",)),
    "openinference_strands": (
        _openinference_strands,
        ("openinference-instrumentation-strands-agents", "strands-agents"),
    ),
}


# --- what is written ----------------------------------------------------------------------------------------------


class _Scrub:
    """Takes out of texts what differs from run to run and from machine to machine."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, value: Any) -> Any:
        match value:
            case str():
                text = _PATH.sub(r"\1", _TIME.sub("2026-01-01T00:00:00+00:00", _ADDRESS.sub("", value)))
                return _UUID.sub(self._uuid, text)
            case list() | tuple():
                return [self(item) for item in value]
            case dict():
                return {key: self(item) for key, item in value.items()}
            case _:
                return value

    def _uuid(self, found: re.Match[str]) -> str:
        number = self._known.setdefault(found[0], len(self._known) + 1)
        return f"00000000-0000-4000-8000-{number:012d}"


def _ranked(spans: list[dict[str, Any]]) -> None:
    """Replace every time by its rank, in milliseconds: order is kept, measurements are not."""
    times = {span[key] for span in spans for key in ("start_ns", "end_ns")}
    times |= {event["timestamp_ns"] for span in spans for event in span["events"]}
    rank = {time: BASE_NS + number * 1_000_000 for number, time in enumerate(sorted(times))}
    for span in spans:
        span["start_ns"], span["end_ns"] = rank[span["start_ns"]], rank[span["end_ns"]]
        for event in span["events"]:
            event["timestamp_ns"] = rank[event["timestamp_ns"]]


def _scrubbed(spans: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    scrub = _Scrub()
    for span in spans:
        yield {
            key: value if key in ("trace_id", "span_id", "parent_span_id", "links") else scrub(value)
            for key, value in span.items()
            if key != "number"
        }


def main() -> int:
    """Record one instrumentation and write its file."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in RECORDINGS:
        print(f"usage: record_dialects.py {'|'.join(RECORDINGS)}", file=sys.stderr)
        return 2
    run, distributions = RECORDINGS[name]
    recorder = Recorder()
    run(recorder)
    spans = sorted(recorder.spans.values(), key=lambda span: span["number"])
    _ranked(spans)
    recording = {
        "instrumentation": name,
        "versions": {distribution: metadata.version(distribution) for distribution in distributions},
        "order": [list(step) for step in recorder.order],
        "spans": list(_scrubbed(spans)),
    }
    target = GOLDEN / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(recording, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {len(spans)} spans")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
