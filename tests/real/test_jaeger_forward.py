"""Events through the forwarder to the real Jaeger, read back by its query API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from otel_agent_journal.event import SESSION_INTERRUPTED, ErrorInfo, JournalEvent, Usage
from otel_agent_journal.forwarding.export import BackendUnreachable, export_session
from otel_agent_journal.forwarding.forwarder import Forwarder, open_forwarder
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.facts import Fact, SessionNoted, StepEnded, StepNoted, StepStarted, events_of
from otel_agent_journal.mapping.to_span import INTERRUPTED_WITHOUT_END
from tests.real.jaeger import Jaeger
from tests.real.jaeger_spans import each_once, spans_of_trace

WRITER = SimpleNamespace(writer="w1", resource={"service.name": "my-agent", "deployment.environment": "test"})
CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}


class Steps:
    """Makes facts of one trace, times counting up from now."""

    def __init__(self, session_id: str = "s1") -> None:
        self.session_id = session_id
        self.trace_id = secrets.token_hex(16)
        self.now_ns = time.time_ns() - 60_000_000_000
        self.open: dict[str, StepStarted] = {}

    def tick(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns

    def start(
        self, kind: str, name: str, parent: str | None = None, *, attempt: int = 1, **details: Any
    ) -> StepStarted:
        step_id = name if attempt == 1 else next(iter(self.open[name].step_id.split("#")))
        fact = StepStarted(
            self.session_id,
            kind,
            name,
            step_id,
            parent,
            attempt,
            self.tick(),
            self.trace_id,
            secrets.token_hex(8),
            details,
        )
        self.open[name] = fact
        return fact

    def end(self, name: str, outcome: str = "ok", **more: Any) -> StepEnded:
        start = self.open[name]
        return StepEnded(
            start.session_id,
            start.kind,
            start.name,
            start.step_id,
            start.parent_step_id,
            start.attempt,
            start.start_ns,
            start.trace_id,
            start.span_id,
            self.tick(),
            outcome,
            more.pop("error", None),
            more.pop("usage", None),
            more,
        )

    def note(self, name: str, event_type: str, **details: Any) -> StepNoted:
        start = self.open[name]
        return StepNoted(
            start.session_id,
            event_type,
            "INFO",
            start.name,
            start.step_id,
            start.parent_step_id,
            start.attempt,
            start.start_ns,
            start.trace_id,
            start.span_id,
            0,
            self.tick(),
            details,
        )

    def killed(self) -> SessionNoted:
        details = {"writer": "w1", "reason": "killed"}
        return SessionNoted(self.session_id, "killed", SESSION_INTERRUPTED, "WARNING", self.tick() + 1, details=details)


def journal(*facts: Fact) -> list[JournalEvent]:
    """Return the events of facts."""
    return [event for fact in facts for event in events_of(fact, "w1")]


def research(steps: Steps) -> list[JournalEvent]:
    """Return the events of an agent with a node, a model call, a failed tool and its retry, and a retrieval."""
    return journal(
        steps.start("AGENT", "researcher", links=[{"trace_id": "ab" * 16, "span_id": "cd" * 8}]),
        steps.start("NODE", "plan", "researcher"),
        steps.start(
            "MODEL", "gpt-x", "plan", attributes={genai.REQUEST_MODEL: "gpt-x", genai.PROVIDER_NAME: "scripted"}
        ),
        steps.end(
            "gpt-x",
            usage=Usage(
                input_tokens=100, output_tokens=20, cache_read_tokens=60, cache_write_tokens=5, reasoning_tokens=7
            ),
            attributes={genai.RESPONSE_MODEL: "gpt-x-1", genai.RESPONSE_FINISH_REASONS: ["stop"]},
        ),
        steps.end("plan"),
        steps.start("NODE", "work", "researcher"),
        steps.start("TOOL", "search", "work", attributes={genai.TOOL_CALL_ID: "call-1"}),
        steps.note("search", "PROGRESS", message="3 of 10 pages"),
        steps.end("search", "error", error=ErrorInfo(type="TimeoutError", message="no answer from api.example.org")),
        steps.start("TOOL", "search", "work", attempt=2, attributes={genai.TOOL_CALL_ID: "call-1"}),
        steps.end("search", output="Grüße, 世界 🚀"),
        steps.start("RETRIEVAL", "wiki", "work"),
        steps.end("wiki"),
        steps.start("STEP", "cleanup", "work"),
        steps.end("cleanup", "cancelled"),
        steps.end("work"),
        steps.end("researcher"),
    )


def address(jaeger: Jaeger, protocol: str) -> str:
    """Return where Jaeger takes OTLP by a protocol."""
    return jaeger.otlp_http if protocol == "http" else jaeger.otlp_grpc.replace("http://", "grpc://")


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, jaeger: Jaeger) -> str:
    """Jaeger's address, once for each protocol."""
    return address(jaeger, request.param)


@pytest.fixture
def own_jaeger(jaeger_program: Path, tmp_path: Path) -> Iterator[Jaeger]:
    """A Jaeger of the test's own, known where it will be but not started."""
    server = Jaeger(jaeger_program, tmp_path)
    yield server
    server.stop()


@pytest.fixture
def forwarder(url: str) -> Iterator[Forwarder]:
    """A forwarder to Jaeger."""
    made = open_forwarder(url, {})
    yield made
    made.close(1)


@pytest.fixture
def forwarder_of_content(url: str) -> Iterator[Forwarder]:
    """A forwarder to Jaeger with content on spans: what the program's code puts on them is some."""
    made = open_forwarder(url, CONTENT)
    yield made
    made.close(1)


def deliver(forwarder: Forwarder, events: Sequence[JournalEvent]) -> None:
    """Hand events to a forwarder in three batches, as a drain does."""
    third = len(events) // 3 + 1
    for at in range(0, len(events), third):
        forwarder(events[at : at + third], WRITER)


def test_every_span_arrives_once_with_parent_attributes_link_and_status(jaeger: Jaeger, forwarder: Forwarder) -> None:
    """A whole trace is read back as it was journaled."""
    steps = Steps()
    events = research(steps)
    deliver(forwarder, events)
    assert forwarder.flush(10)

    spans = each_once(spans_of_trace(jaeger, steps.trace_id, 8))

    assert set(spans) == {
        "invoke_agent researcher/1",
        "invoke_node plan/1",
        "invoke_node work/1",
        "chat gpt-x/1",
        "execute_tool search/1",
        "execute_tool search/2",
        "retrieval wiki/1",
        "cleanup/1",
    }
    root, model = spans["invoke_agent researcher/1"], spans["chat gpt-x/1"]
    failed, retried = spans["execute_tool search/1"], spans["execute_tool search/2"]
    assert root.parent is None
    assert root.links == [("ab" * 16, "cd" * 8)]
    assert root.service == "my-agent"
    assert root.resource["deployment.environment"] == "test"
    assert model.parent == spans["invoke_node plan/1"].span_id
    assert failed.parent == retried.parent == spans["invoke_node work/1"].span_id
    assert spans["invoke_node work/1"].parent == root.span_id
    assert model.tags["span.kind"] == "client"
    assert {key: model.tags[key] for key in model.tags if key.startswith(("gen_ai.", "agent_journal."))} == {
        "gen_ai.conversation.id": "s1",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.response.model": "gpt-x-1",
        "gen_ai.response.finish_reasons": '["stop"]',
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 7,
        "agent_journal.step.id": "gpt-x",
        "agent_journal.step.parent_id": "plan",
        "agent_journal.step.kind": "model",
        "agent_journal.step.name": "gpt-x",
        "agent_journal.attempt": 1,
        "agent_journal.outcome": "ok",
    }
    assert failed.tags["error"] is True
    assert failed.tags["otel.status_description"] == failed.tags["error.type"]
    assert failed.tags["error.type"] == "TimeoutError"
    assert failed.events[0]["event"] == "progress"
    assert "3 of 10 pages" not in str(failed.events)  # that is content
    assert "error" not in retried.tags
    assert spans["cleanup/1"].tags["agent_journal.outcome"] == "cancelled"
    assert "error" not in spans["cleanup/1"].tags
    assert all("gen_ai.tool.call.result" not in span.tags for span in spans.values())
    start = next(event for event in events if event.type == "MODEL_START")
    assert model.start_us == start.timestamp_ns // 1000
    assert model.end_us - model.start_us == 1000
    assert forwarder.stats.sent == 8
    assert forwarder.stats.dropped == 0


def test_events_delivered_twice_are_one_span(jaeger: Jaeger, forwarder: Forwarder) -> None:
    """A drain that delivers again after a failure doubles nothing."""
    steps = Steps()
    events = research(steps)
    deliver(forwarder, events)
    deliver(forwarder, events)
    assert forwarder.flush(10)

    assert len(each_once(spans_of_trace(jaeger, steps.trace_id, 8))) == 8


def test_steps_of_a_killed_writer_arrive_as_interrupted(jaeger: Jaeger, forwarder: Forwarder) -> None:
    """Finished steps are as ever; open ones end at the last sign of life with status ERROR."""
    steps = Steps()
    events = journal(
        steps.start("AGENT", "researcher", exported=True),
        steps.start("NODE", "plan", "researcher"),
        steps.end("plan"),
        steps.start("NODE", "work", "researcher"),
        steps.start("TOOL", "search", "work"),
        steps.killed(),
    )
    deliver(forwarder, events)
    assert forwarder.flush(10)

    spans = each_once(spans_of_trace(jaeger, steps.trace_id, 4))

    assert spans["invoke_node plan/1"].tags["agent_journal.outcome"] == "ok"
    for name in ("invoke_agent researcher/1", "invoke_node work/1", "execute_tool search/1"):
        assert spans[name].tags["agent_journal.outcome"] == "interrupted"
        assert spans[name].tags["otel.status_description"] == INTERRUPTED_WITHOUT_END
        assert spans[name].end_us == (events[-1].timestamp_ns - 1) // 1000
    assert spans["execute_tool search/1"].parent == spans["invoke_node work/1"].span_id


def test_unicode_and_big_attributes_arrive_whole(jaeger: Jaeger, forwarder_of_content: Forwarder) -> None:
    """Text of every script, and a megabyte of it, is not cut."""
    forwarder = forwarder_of_content
    steps = Steps("Sitzung-Ä-会話")
    big = "ß世🚀" * 100_000
    deliver(
        forwarder,
        journal(
            steps.start("TOOL", "поиск 搜索", attributes={"note": "\ud800 broken", "app.big": big, "list": ["é", "ü"]}),
            steps.end("поиск 搜索", attributes={"n": 2**70, "f": 0.5, "b": True}),
        ),
    )
    assert forwarder.flush(20)

    (span,) = spans_of_trace(jaeger, steps.trace_id, 1)

    assert span.name == "execute_tool поиск 搜索"
    assert span.tags["gen_ai.conversation.id"] == "Sitzung-Ä-会話"
    assert span.tags["app.big"] == big
    assert span.tags["note"] == "\\ud800 broken"
    assert span.tags["list"] == '["é","ü"]'
    assert span.tags["n"] == str(2**70)
    assert span.tags["f"] == 0.5
    assert span.tags["b"] is True


def test_a_batch_over_the_receivers_limit_is_sent_in_parts(jaeger: Jaeger, forwarder_of_content: Forwarder) -> None:
    """Twelve spans of one megabyte each are over gRPC's four megabytes; all arrive."""
    forwarder = forwarder_of_content
    steps = Steps()
    facts: list[Fact] = []
    for index in range(12):
        facts += [steps.start("TOOL", f"t{index}", attributes={"app.big": "x" * 1_000_000}), steps.end(f"t{index}")]
    deliver(forwarder, journal(*facts))
    assert forwarder.flush(30)

    assert len(each_once(spans_of_trace(jaeger, steps.trace_id, 12))) == 12


def test_content_goes_onto_spans_only_when_asked(jaeger: Jaeger) -> None:
    """OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT decides."""
    steps = Steps()
    forwarder = open_forwarder(jaeger.otlp_http, CONTENT)
    deliver(forwarder, journal(steps.start("TOOL", "add", input={"a": 1, "b": 2}), steps.end("add", output="3")))
    forwarder.close(10)

    (span,) = spans_of_trace(jaeger, steps.trace_id, 1)

    assert span.tags["gen_ai.tool.call.arguments"] == '{"a":1,"b":2}'
    assert span.tags["gen_ai.tool.call.result"] == "3"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_backend_that_comes_up_late_gets_everything(own_jaeger: Jaeger, protocol: str) -> None:
    """While it is down spans wait and one warning is given; when it is up, all arrive, each once."""
    warnings: list[str] = []
    forwarder = open_forwarder(address(own_jaeger, protocol), {}, warn=warnings.append)
    steps = Steps()
    deliver(forwarder, research(steps))
    assert not forwarder.flush(5)
    assert forwarder.stats.pending == 8
    assert forwarder.stats.last_error == "refused"

    own_jaeger.start()
    deadline = time.monotonic() + 30
    while forwarder.stats.pending and time.monotonic() < deadline:
        time.sleep(0.1)
    stats = forwarder.close(5)

    assert (stats.sent, stats.dropped, stats.pending) == (8, 0, 0)
    assert len(each_once(spans_of_trace(own_jaeger, steps.trace_id, 8))) == 8
    (warning,) = warnings
    assert warning.startswith("OTLP ")
    assert warning.endswith("refused; 0 spans forwarded, journal unaffected, retrying")


def test_a_backend_that_goes_away_and_comes_back_gets_the_rest(own_jaeger: Jaeger) -> None:
    """Spans made while it was away arrive after it is back."""
    forwarder = open_forwarder(address(own_jaeger, "grpc"), {}, warn=lambda _: None)
    own_jaeger.start()
    first, second = Steps(), Steps()
    deliver(forwarder, research(first))
    assert forwarder.flush(10)
    own_jaeger.stop()
    deliver(forwarder, research(second))
    assert not forwarder.flush(3)

    own_jaeger.start()
    deadline = time.monotonic() + 30
    while forwarder.stats.pending and time.monotonic() < deadline:
        time.sleep(0.1)
    forwarder.close(5)

    assert len(each_once(spans_of_trace(own_jaeger, second.trace_id, 8))) == 8


def test_an_old_session_is_exported_whole(jaeger: Jaeger, url: str) -> None:
    """`export` sends every span of a session, in whatever order its events come, steps left open included."""
    steps = Steps()
    events = research(steps)
    late = journal(steps.start("TOOL", "forever", "work", exported=True))
    sent: list[int] = []

    count = export_session(
        [*late, *reversed(events)], url, {"service.name": "exported"}, environ={}, progress=sent.append
    )

    spans = each_once(spans_of_trace(jaeger, steps.trace_id, 9))
    assert count == 9
    assert sent == [9]
    assert spans["invoke_node work/1"].parent == spans["invoke_agent researcher/1"].span_id
    assert spans["execute_tool forever/1"].tags["agent_journal.outcome"] == "interrupted"
    assert spans["execute_tool forever/1"].parent == spans["invoke_node work/1"].span_id
    assert {span.service for span in spans.values()} == {"exported"}


def test_an_export_to_nowhere_says_so() -> None:
    """An unreachable backend is an error with exit code 4 that names the address."""
    with pytest.raises(BackendUnreachable, match=r"OTLP http://127.0.0.1:1/v1/traces refused; 0 of 8 spans") as raised:
        export_session(research(Steps()), "http://127.0.0.1:1", environ={}, pause=lambda _: None)
    assert raised.value.exit_code == 4
