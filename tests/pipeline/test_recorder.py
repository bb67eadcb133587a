"""The recorder: nothing it meets is felt by the agent, and what it drops is counted."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import SpanKind

from otel_agent_journal.event import Usage
from otel_agent_journal.mapping.facts import Heartbeat
from otel_agent_journal.mapping.genai import SCHEMA_URL
from otel_agent_journal.mapping.to_span import span_of_attempt
from otel_agent_journal.pipeline.attempts import Attempts
from otel_agent_journal.pipeline.clock import Clock, RandomIds
from otel_agent_journal.pipeline.heartbeat import Heartbeat as HeartbeatThread
from otel_agent_journal.pipeline.light_span import MAX_ATTRIBUTES, MAX_EVENTS, LightSpan
from otel_agent_journal.pipeline.recorder import Recorder
from tests.pipeline.conftest import Written


def test_refusing_spool_is_counted(recorder: Recorder, written: Written) -> None:
    """An appender that refuses costs events, which are counted, and nothing else."""
    written.refuse = True
    recorder.start_step("AGENT", "a").end()
    assert recorder.dropped == 2


def test_raising_spool_is_counted_and_said_once(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """An appender that raises is said once a minute, and never reaches the agent."""

    def broken(payload: bytes) -> bool:
        raise OSError("broken")

    recorder._append = broken
    for _ in range(3):
        recorder.start_step("AGENT", "a").end()
    assert recorder.dropped == 6
    assert caplog.text.count("an event could not be journaled") == 1


def test_a_provider_whose_lock_this_thread_holds(
    recorder: Recorder, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that came while the provider made a tracer journals, and waits for no lock of its own thread."""
    provider = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with provider._tracers_lock:
        within = recorder.start_step("AGENT", "handler")
        within.end()
    after = recorder.start_step("AGENT", "after")
    after.end()
    assert written.types() == ["AGENT_START", "AGENT_END"] * 2
    assert (type(within.span), type(after.span) is LightSpan) == (LightSpan, False)


def test_raising_sampler_costs_the_span_alone(
    recorder: Recorder, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sampler of the program's that raises costs the span; the journal is whole."""

    class Broken(Sampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
            raise RuntimeError("sampler")

        def get_description(self) -> str:
            return "broken"

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=Broken()))
    root = recorder.start_step("AGENT", "a")
    recorder.start_step("NODE", "n", parent=root).end()
    root.end()
    assert written.types() == ["AGENT_START", "NODE_START", "NODE_END", "AGENT_END"]
    assert isinstance(root.span, LightSpan)


def test_only_the_first_ending_counts(recorder: Recorder, written: Written) -> None:
    """A step ends once, however often it is ended."""
    step = recorder.start_step("AGENT", "a")
    step.end("ok")
    step.end("error", error=ValueError("late"))
    assert written.types() == ["AGENT_START", "AGENT_END"]


def test_closing_ends_what_is_open(recorder: Recorder, written: Written) -> None:
    """A process that leaves in order ends its open steps as cancelled, the innermost first."""
    root = recorder.start_step("AGENT", "a")
    recorder.start_step("TOOL", "t", parent=recorder.start_step("NODE", "n", parent=root))
    recorder.close()
    endings = [(event.name, event.outcome) for event in written.events if event.type.endswith("_END")]
    assert endings == [("t", "cancelled"), ("n", "cancelled"), ("a", "cancelled")]


def test_ended_steps_are_not_kept(recorder: Recorder) -> None:
    """A recorder remembers no step that has ended."""
    root = recorder.start_step("AGENT", "a")
    for _ in range(100):
        recorder.start_step("NODE", "n", parent=root).end()
    assert recorder.open_roots() == [root]
    root.end()
    assert recorder.open_roots() == []
    gc.collect()
    assert not root._open


def test_heartbeat_names_the_open_sessions(recorder: Recorder, written: Written) -> None:
    """A heartbeat is written while a root is open, and names the sessions of the open roots."""
    recorder.heartbeat()
    assert written.facts == []
    one = recorder.start_step("AGENT", "a", session_id="s1")
    recorder.start_step("AGENT", "b", session_id="s2", detached=True)
    recorder.heartbeat()
    beat = written.facts[-1]
    assert isinstance(beat, Heartbeat)
    assert sorted(beat.sessions) == ["s1", "s2"]
    one.end()
    recorder.heartbeat()
    last = written.facts[-1]
    assert isinstance(last, Heartbeat)
    assert last.sessions == ("s2",)
    recorder.close()


def test_heartbeat_thread_beats_and_takes_over(recorder: Recorder, written: Written) -> None:
    """The thread beats at its interval, and drains here once nobody else has for a while."""
    took_over = threading.Event()
    root = recorder.start_step("AGENT", "a", session_id="s1")
    thread = HeartbeatThread(recorder, is_drained=lambda: False, drain_here=took_over.set, heartbeat_s=0.5)
    try:
        assert took_over.wait(20)
        assert any(isinstance(fact, Heartbeat) for fact in written.facts)
    finally:
        thread.stop()
        root.end()


def test_clock_never_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that is set back changes nothing; one that is set forward is followed."""
    clock = Clock()
    wall = time.time_ns()
    before = clock.now_ns()
    monkeypatch.setattr(time, "time_ns", lambda: wall - 3_600_000_000_000)
    clock.catch_up()
    after = clock.now_ns()
    assert before <= after < before + 60_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: wall + 3_600_000_000_000)
    clock.catch_up()
    assert clock.now_ns() >= wall + 3_599_000_000_000


def test_ids_are_random_whatever_the_seed() -> None:
    """Ids come from the operating system, all different, also from many threads."""
    ids, found = RandomIds(), []

    def draw() -> None:
        found.extend(ids.hex() for _ in range(2000))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000
    assert all(len(one) == 32 for one in found)
    assert len(ids.span_id_hex()) == 16


def test_attempts_are_bounded() -> None:
    """Of more steps than the bound, those longest not begun count from 1 again."""
    attempts = Attempts(max_steps=2)
    assert [attempts.next(step) for step in ("a", "a", "b", "a", "c", "b", "a")] == [1, 2, 1, 3, 1, 1, 1]


def test_light_span_is_bounded_and_ends() -> None:
    """A light span keeps as much as one of the SDK, and nothing after its end."""
    span = LightSpan("", f"{7:016x}", sampled=True)
    for number in range(MAX_ATTRIBUTES + 10):
        span.set_attribute(f"key {number}", number)
        span.add_event(f"event {number}")
    span.set_attribute("key 0", "again")
    assert span.attributes is not None
    assert span.events is not None
    assert (len(span.attributes), len(span.events), span.attributes["key 0"]) == (MAX_ATTRIBUTES, MAX_EVENTS, "again")
    span.record_exception(ValueError("no"))
    span.end()
    span.set_attribute("key 1", "late")
    assert span.attributes["key 1"] == 1
    assert not span.is_recording()


def test_metrics_of_model_calls(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    """A model call that ends is measured once, whoever made the step, with the error's type that its span has."""
    reader, exporter, provider = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    meters = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    for outcome, error in (("ok", None), ("error", LookupError("x")), ("cancelled", None)):
        step = recorder.start_step("MODEL", "m", attributes={"gen_ai.request.model": "m", "gen_ai.provider.name": "p"})
        step.end(outcome, error=error, usage=Usage(input_tokens=3, output_tokens=2))
    recorder.start_step("TOOL", "t").end()
    points = [
        (metric.name, dict(point.attributes))
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    durations = [labels for name, labels in points if name == "gen_ai.client.operation.duration"]
    plain = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.provider.name": "p"}
    failed = next(span for span in exporter.get_finished_spans() if span.attributes and "error.type" in span.attributes)
    assert failed.attributes is not None
    assert durations == [plain, {**plain, "error.type": failed.attributes["error.type"]}]
    assert {span.instrumentation_scope.schema_url for span in exporter.get_finished_spans()} == {SCHEMA_URL}


@pytest.mark.parametrize(
    ("kind", "attributes", "expected"),
    [
        ("AGENT", {"server.address": "bedrock"}, SpanKind.CLIENT),
        ("AGENT", {"server.address": "bedrock", "gen_ai.operation.name": "invoke_workflow"}, SpanKind.INTERNAL),
        ("AGENT", None, SpanKind.INTERNAL),
        ("TOOL", {"server.address": "mcp"}, SpanKind.INTERNAL),
        ("MODEL", None, SpanKind.CLIENT),
    ],
)
def test_kinds_of_spans(
    monkeypatch: pytest.MonkeyPatch, written: Written, kind: str, attributes: dict[str, Any] | None, expected: SpanKind
) -> None:
    """A model call and the call of a remote agent are a client's, live and rebuilt from the journal."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider())
    step = Recorder(written).start_step(kind, "x", attributes=attributes)
    step.end()
    assert step.span.current.kind is expected  # type: ignore[attr-defined]
    start, end = written.events
    assert span_of_attempt(start, end).kind == expected.name
