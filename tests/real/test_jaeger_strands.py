"""A real Strands agent under `agent-journal run`: its native spans and our steps are one trace in the real Jaeger."""

from __future__ import annotations

import pytest

from tests.real.jaeger import Jaeger
from tests.real.jaeger_spans import JaegerSpan, spans_of_service
from tests.real.test_jaeger_run import IN_MEMORY, OWN_EXPORTER, Project

AGENT = '''
import os, time
{before}
from opentelemetry import trace
from strands import Agent, tool
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say

@tool
def add(a: int, b: int) -> int:
    """Add."""
    with trace.get_tracer("mine").start_as_current_span("looking it up"):
        if os.environ.get("HANG") and a == 3:
            print("hanging", flush=True)
            time.sleep(60)
        return a + b

turns = [call(("add", {{"a": number, "b": 1}})) for number in range(1, 11)]
agent = Agent(model=ScriptedModel([*turns, say("it is 11")]), tools=[add], name="calc", callback_handler=None,
              trace_attributes={{"session.id": "sums-1"}})
print(agent("add up"))
'''


@pytest.fixture
def project(tmp_path) -> Project:
    """A fresh project folder."""
    return Project(tmp_path)


def write(project: Project, before: str = "") -> None:
    (project.folder / "my_agent.py").write_text(AGENT.format(before=before))


def named(spans: list[JaegerSpan], start: str) -> list[JaegerSpan]:
    return sorted((span for span in spans if span.name.startswith(start)), key=lambda span: span.start_us)


PROVIDERS = {
    "no provider": lambda jaeger: "",
    "in memory": lambda jaeger: IN_MEMORY,
    "own exporter": lambda jaeger: OWN_EXPORTER.format(processor="SimpleSpanProcessor", url=jaeger.otlp_http),
    "own batching exporter": lambda jaeger: OWN_EXPORTER.format(processor="BatchSpanProcessor", url=jaeger.otlp_http),
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_native_spans_and_steps_are_the_same(jaeger: Jaeger, project: Project, provider: str) -> None:
    """Whoever exports, each step is one span; where Strands' own are recorded in Jaeger, its cycles are between."""
    write(project, PROVIDERS[provider](jaeger))
    project.run("--otlp", jaeger.otlp_http)

    spans = spans_of_service(jaeger, project.service, 22)
    steps = [span for span in spans if "agent_journal.step.id" in span.tags]

    (root,) = named(spans, "invoke_agent calc")
    assert len(named(spans, "chat")) == 11
    assert len(named(spans, "execute_tool add")) == 10
    assert len(steps) == len({span.tags["agent_journal.step.id"] for span in steps}) == 22
    assert {span.tags["agent_journal.outcome"] for span in steps} == {"ok"}
    assert {span.tags["gen_ai.conversation.id"] for span in steps} == {"sums-1"}
    assert {span.trace_id for span in spans} == {root.trace_id}
    ids = {span.span_id for span in spans}
    if provider != "in memory":  # there the cycles are in the program's memory alone
        assert len(named(spans, "execute_event_loop_cycle")) == 11
        assert not [span for span in spans if span.parent is not None and span.parent not in ids]
    assert named(spans, "chat")[0].tags["gen_ai.usage.input_tokens"] == 10


@pytest.mark.parametrize("provider", ["no provider", "in memory", "own exporter"])
def test_killed_in_the_third_tool_call_of_ten(jaeger: Jaeger, project: Project, provider: str) -> None:
    """Two tool calls are done, the third is interrupted with its input kept, in the journal and in Jaeger."""
    write(project, PROVIDERS[provider](jaeger))
    project.run_and_kill("--otlp", jaeger.otlp_http)

    shown = project.command("show", "sums-1").stdout
    assert shown.count('"kind":"TOOL"') == 3
    (third,) = [
        line
        for line in project.command("show", "sums-1", "--events").stdout.splitlines()
        if '"a":3' in line and "TOOL_START" in line
    ]
    assert '"input":{"a":3,"b":1}' in third

    spans = spans_of_service(jaeger, project.service, 7)
    steps = [span for span in spans if "agent_journal.step.id" in span.tags]
    assert [span.tags["agent_journal.outcome"] for span in named(steps, "execute_tool")] == ["ok", "ok", "interrupted"]
    assert [span.tags["agent_journal.outcome"] for span in named(steps, "chat")] == ["ok"] * 3
    assert [span.tags["agent_journal.outcome"] for span in named(steps, "invoke_agent")] == ["interrupted"]
    assert len(steps) == len({span.span_id for span in steps}) == 7
