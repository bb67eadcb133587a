"""Who is sampled: the program's sampler decides what is forwarded, and what the flags say that go downstream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from otel_agent_journal.bootstrap.providers import Providers
from otel_agent_journal.mapping.span_join import SpanJoiner
from otel_agent_journal.pairing import is_ending, is_start
from otel_agent_journal.pipeline.processor import JournalSpanProcessor
from otel_agent_journal.pipeline.recorder import Recorder
from tests.pipeline.conftest import Written

REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{}"


@pytest.fixture(autouse=True)
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program has no provider, unless a test sets one."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)


@pytest.fixture(params=[False, True], ids=["not forwarded", "forwarded"])
def forwarded(request: pytest.FixtureRequest) -> bool:
    """Whether the drain forwards spans."""
    return bool(request.param)


class RecordOnly(Sampler):
    """Has every span recorded and none exported."""

    def should_sample(self, parent: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> SamplingResult:
        """Decide."""
        given = args[1] if len(args) > 1 else kwargs.get("attributes")
        return SamplingResult(Decision.RECORD_ONLY, given)

    def get_description(self) -> str:
        """Say what it is."""
        return "record only"


def agent(recorder: Recorder) -> list[str]:
    """Record a root and a tool below it; return the flags that each hands on."""
    flags: list[str] = []
    root = recorder.start_step("AGENT", "a")
    token = context.attach(root.context())
    tool = recorder.start_step("TOOL", "t")
    context.detach(token)
    for step in (root, tool):
        headers: dict[str, str] = {}
        propagate.inject(headers, step.context())
        flags.append("01" if int(headers["traceparent"][-1]) & 1 else "00")  # others are no business of ours
    tool.end()
    root.end()
    return flags


def said(written: Written) -> set[Any]:
    """Return what the journal says of steps being sampled, in STARTs and endings."""
    return {event.details.get("sampled") for event in written.events}


def forwarded_spans(written: Written) -> list[str]:
    """Return the names of the spans that the drain would send."""
    joiner, found = SpanJoiner(), []
    for event in written.events:
        if is_start(event):
            joiner.begin(event)
        elif is_ending(event) and (span := joiner.end(event)) is not None:
            found.append(span.name)
    return found


@pytest.mark.parametrize("sampler", [DEFAULT_OFF, ALWAYS_OFF, RecordOnly()], ids=["parent", "always off", "record"])
def test_not_sampled(monkeypatch: pytest.MonkeyPatch, written: Written, forwarded: bool, sampler: Sampler) -> None:
    """What the sampler drops is journaled, is not forwarded, and says so downstream; no span has it for a parent."""
    provider, exporter = TracerProvider(sampler=sampler), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    assert agent(Recorder(written, forwarded=forwarded, exported=lambda: True)) == ["00", "00"]
    assert len(written.events) == 4
    assert said(written) == {False}
    assert not forwarded_spans(written)
    assert not exporter.get_finished_spans()


def test_sampled(monkeypatch: pytest.MonkeyPatch, written: Written, forwarded: bool) -> None:
    """What is sampled says nothing of it in the journal."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider())
    assert agent(Recorder(written, forwarded=forwarded)) == ["01", "01"]
    assert said(written) == {None}
    assert forwarded_spans(written) == ["execute_tool t", "invoke_agent a"]


@pytest.mark.parametrize("flag", ["0", "1"])
def test_remote_parent(written: Written, forwarded: bool, flag: str) -> None:
    """Without a provider, the caller has decided."""
    token = context.attach(propagate.extract({"traceparent": REMOTE.format(flag)}))
    try:
        assert agent(Recorder(written, forwarded=forwarded)) == [f"0{flag}"] * 2
    finally:
        context.detach(token)
    assert said(written) == {None if flag == "1" else False}
    assert len(forwarded_spans(written)) == 2 * int(flag)


def test_nobody_exports(written: Written, forwarded: bool) -> None:
    """A trace of ours is sampled where it is forwarded; where not, the journal does not call it left out."""
    assert agent(Recorder(written, forwarded=forwarded)) == ["01" if forwarded else "00"] * 2
    assert said(written) == {None}


@pytest.mark.parametrize(("sampler", "recorded"), [(ALWAYS_ON, True), (DEFAULT_OFF, False), (None, True)])
def test_provider_within_a_step(
    monkeypatch: pytest.MonkeyPatch, written: Written, sampler: Sampler | None, recorded: bool
) -> None:
    """A provider that is set while a step runs records what is below it, as its sampler says of the trace."""
    root = Recorder(written).start_step("AGENT", "a")
    child = root.keeper.start_step("TOOL", "t", parent=root)  # type: ignore[attr-defined]
    assert not child.span.get_span_context().trace_flags.sampled
    provider = TracerProvider() if sampler is None else TracerProvider(sampler=ParentBased(sampler))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    for step in (root, child):
        with provider.get_tracer("user").start_as_current_span("work", step.context()) as span:
            assert span.is_recording() is recorded
            assert span.get_span_context().trace_id == root.span.get_span_context().trace_id


def test_ratio_within_a_step(monkeypatch: pytest.MonkeyPatch, written: Written) -> None:
    """Of traces that began before the provider was there its sampler takes its share."""
    recorder = Recorder(written)
    roots = [recorder.start_step("AGENT", "a") for _ in range(200)]
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.5))))
    assert 50 < sum(root.span.get_span_context().trace_flags.sampled for root in roots) < 150


@pytest.fixture
def stand_in() -> Iterator[Providers]:
    """Our stand-in, which is made as the environment says."""
    providers = Providers(JournalSpanProcessor, "http://127.0.0.1:9")
    yield providers
    providers.close()


@pytest.mark.parametrize(("name", "flags"), [("always_off", "00"), ("parentbased_always_on", "01")])
def test_sampler_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, written: Written, stand_in: Providers, name: str, flags: str
) -> None:
    """Without a provider OTEL_TRACES_SAMPLER decides of what is forwarded."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    recorder = Recorder(written, forwarded=True)
    stand_in._make_processor = lambda _: JournalSpanProcessor(recorder)
    stand_in.stand_in("http://127.0.0.1:9", {})
    assert agent(recorder) == [flags] * 2
    assert said(written) == {None if flags == "01" else False}


def test_sampler_that_raises(monkeypatch: pytest.MonkeyPatch, written: Written) -> None:
    """A sampler that raises costs the span, not the step."""

    class Broken(RecordOnly):
        def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
            raise RuntimeError

    recorder = Recorder(written)
    root = recorder.start_step("AGENT", "a")
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=Broken()))
    assert not root.span.get_span_context().trace_flags.sampled
    agent(recorder)
    root.end()
    assert len(written.events) == 6


def test_foreign_spans(written: Written) -> None:
    """A span of another library's that is recorded but not sampled is journaled and not forwarded."""
    provider = TracerProvider(sampler=RecordOnly())
    provider.add_span_processor(JournalSpanProcessor(Recorder(written), exported=lambda: True))
    provider.get_tracer("other").start_span("chat m", attributes={"gen_ai.operation.name": "chat"}).end()
    assert [event.details.get("sampled") for event in written.events] == [False, False]
    assert not forwarded_spans(written)


def test_nested_spans_of_users(written: Written, forwarded: bool) -> None:
    """Spans that a program without a provider opens within a step are none, and steps below know their parent."""
    recorder = Recorder(written, forwarded=forwarded)
    root = recorder.start_step("AGENT", "a")
    with trace.use_span(root.span), trace.get_tracer("user").start_as_current_span("none"):
        recorder.start_step("TOOL", "t", parent=root).end()
    root.end()
    assert "parent_span_id" not in written.events[1].details
