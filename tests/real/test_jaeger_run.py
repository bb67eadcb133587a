"""A real LangGraph agent under `agent-journal run`, its trace read back from the real Jaeger."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import started
from tests.real.jaeger import Jaeger
from tests.real.jaeger_spans import JaegerSpan, each_once, spans_of_service

STEPS = {"invoke_workflow researcher/1", "invoke_node plan/1", "invoke_node work/1", "execute_tool add/1"}
RUN = [sys.executable, "-c", "import sys; from otel_agent_journal.cli import main; sys.exit(main())"]

AGENT = '''
import operator, os, sys, time
from typing import Annotated, TypedDict
{before}
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from opentelemetry import trace

class State(TypedDict):
    seen: Annotated[list, operator.add]

@tool
def add(a: int, b: int) -> int:
    """Add."""
    with trace.get_tracer("mine").start_as_current_span("looking it up"):
        return a + b

def plan(state):
    return {{"seen": ["plan"]}}

def work(state):
    found = add.invoke({{"a": 1, "b": 2}})
    trace.get_current_span().set_attribute("app.found", found)
    if os.environ.get("HANG"):
        print("hanging", flush=True)
        time.sleep(60)
    return {{"seen": [found]}}

graph = StateGraph(State)
graph.add_node("plan", plan)
graph.add_node("work", work)
graph.add_edge(START, "plan")
graph.add_edge("plan", "work")
graph.add_edge("work", END)
app = graph.compile(name="researcher")
{after}
print(app.invoke({{"seen": []}}))
'''

OWN_EXPORTER = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor({processor}(OTLPSpanExporter(endpoint="{url}/v1/traces")))
trace.set_tracer_provider(provider)
"""

IN_MEMORY = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
trace.set_tracer_provider(provider)
"""


class Project:
    """A folder with an agent, and the command line used in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = f"agent-{secrets.token_hex(4)}"

    def write(self, before: str = "", after: str = "") -> None:
        (self.folder / "my_agent.py").write_text(AGENT.format(before=before, after=after))

    def environ(self, **variables: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "AGENT_JOURNAL_"))}
        return {**kept, "OTEL_SERVICE_NAME": self.service, **variables}

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUN, *arguments],
            cwd=self.folder,
            env=self.environ(**variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    def run(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.command("run", *options, "--", sys.executable, "my_agent.py", **variables)

    def run_and_kill(self, *options: str, after_s: float = 0.0, **variables: str) -> None:
        with started(
            [*RUN, "run", *options, "--", sys.executable, "my_agent.py"],
            cwd=self.folder,
            env=self.environ(HANG="1", **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "hanging\n"
            time.sleep(after_s)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
            assert process.wait(30) == 128 + signal.SIGKILL

    def session_id(self) -> str:
        return json.loads(self.command("ls", "-o", "jsonl").stdout.splitlines()[0])["session_id"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh project folder."""
    return Project(tmp_path)


def steps_and_others(spans: list[JaegerSpan]) -> tuple[dict[str, JaegerSpan], list[JaegerSpan]]:
    """Return the spans of steps by label, each once, and those of other libraries."""
    steps = [span for span in spans if "agent_journal.step.id" in span.tags]
    return each_once(steps), [span for span in spans if span not in steps]


def check_whole_trace(jaeger: Jaeger, project: Project) -> dict[str, JaegerSpan]:
    """Check that a finished run is in Jaeger: every step once, nested, with the user's own span in the tool."""
    steps, others = steps_and_others(spans_of_service(jaeger, project.service, 5))
    assert set(steps) == STEPS
    root, tool = steps["invoke_workflow researcher/1"], steps["execute_tool add/1"]
    assert root.parent is None
    assert steps["invoke_node plan/1"].parent == steps["invoke_node work/1"].parent == root.span_id
    assert tool.parent == steps["invoke_node work/1"].span_id
    assert {span.tags["agent_journal.outcome"] for span in steps.values()} == {"ok"}
    # Nothing names the session, so it is the trace.
    assert {span.tags["gen_ai.conversation.id"] for span in steps.values()} == {root.trace_id}
    assert tool.tags["gen_ai.tool.name"] == "add"
    assert tool.tags["gen_ai.operation.name"] == "execute_tool"
    assert "gen_ai.tool.call.arguments" not in tool.tags
    assert [(span.name, span.parent) for span in others] == [("looking it up", tool.span_id)]
    return steps


@pytest.mark.parametrize("way", ["--otlp", "--otlp grpc", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_without_a_provider_the_drain_forwards(jaeger: Jaeger, project: Project, way: str) -> None:
    """A program that knows nothing of OpenTelemetry has its whole trace in Jaeger, its own spans nested."""
    project.write()
    match way:
        case "--otlp":
            project.run("--otlp", jaeger.otlp_http)
        case "--otlp grpc":
            project.run("--otlp", jaeger.otlp_grpc.replace("http://", "grpc://"))
        case "OTEL_EXPORTER_OTLP_ENDPOINT":
            project.run(OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_http)
        case _:
            project.run(OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_grpc, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")

    steps = check_whole_trace(jaeger, project)
    assert "app.found" not in steps["invoke_node work/1"].tags  # what the program's code says is content


def test_what_the_program_puts_on_spans_is_there_with_content(jaeger: Jaeger, project: Project) -> None:
    """Where spans take content they have what its code sets on the spans of its steps."""
    project.write()
    project.run("--otlp", jaeger.otlp_http, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_ONLY")
    steps, _ = steps_and_others(spans_of_service(jaeger, project.service, 5))
    assert steps["invoke_node work/1"].tags["app.found"] == 3
    assert steps["execute_tool add/1"].tags["gen_ai.tool.call.arguments"] == '{"a":1,"b":2}'


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_that_exports_to_the_same_backend_has_each_step_once(
    jaeger: Jaeger, project: Project, when: str
) -> None:
    """Its own provider carries the steps, set before LangGraph is imported or just before it runs."""
    own = OWN_EXPORTER.format(processor="BatchSpanProcessor", url=jaeger.otlp_http)
    project.write(**{when: own})
    project.run("--otlp", jaeger.otlp_http)
    check_whole_trace(jaeger, project)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_that_exports_elsewhere_is_forwarded_too(jaeger: Jaeger, project: Project, when: str) -> None:
    """A provider that keeps its spans in memory leaves them there; the drain forwards the steps."""
    project.write(**{when: IN_MEMORY})
    project.run("--otlp", jaeger.otlp_http)
    steps, others = steps_and_others(spans_of_service(jaeger, project.service, 4))
    assert set(steps) == STEPS
    assert others == []


def test_a_program_s_own_exporter_works_without_us_forwarding(jaeger: Jaeger, project: Project) -> None:
    """Without `--otlp` its provider exports steps and its own spans, as ever."""
    project.write(before=OWN_EXPORTER.format(processor="BatchSpanProcessor", url=jaeger.otlp_http))
    project.run()
    check_whole_trace(jaeger, project)


KILLED: dict[str, Callable[[Jaeger], dict[str, str]]] = {
    "no provider": lambda jaeger: {},
    "in memory": lambda jaeger: {"before": IN_MEMORY},
    "own exporter": lambda jaeger: {
        "before": OWN_EXPORTER.format(processor="SimpleSpanProcessor", url=jaeger.otlp_http)
    },
}


@pytest.mark.parametrize("provider", KILLED)
def test_after_a_sigkill_every_step_is_there(jaeger: Jaeger, project: Project, provider: str) -> None:
    """What had finished is as ever; what was running ends as interrupted, with status ERROR; each step once."""
    project.write(**KILLED[provider](jaeger))
    project.run_and_kill("--otlp", jaeger.otlp_http)

    steps, _ = steps_and_others(spans_of_service(jaeger, project.service, 4))

    assert set(steps) == STEPS
    assert {label: span.tags["agent_journal.outcome"] for label, span in steps.items()} == {
        "invoke_workflow researcher/1": "interrupted",
        "invoke_node plan/1": "ok",
        "invoke_node work/1": "interrupted",
        "execute_tool add/1": "ok",
    }
    assert {label for label, span in steps.items() if span.tags.get("error")} == {
        "invoke_workflow researcher/1",
        "invoke_node work/1",
    }
    root, work = steps["invoke_workflow researcher/1"], steps["invoke_node work/1"]
    assert (root.parent, work.parent, steps["execute_tool add/1"].parent) == (None, root.span_id, work.span_id)
    # Jaeger rounds start and duration to microseconds, each for itself.
    assert abs(root.end_us - work.end_us) <= 2
    assert root.end_us >= steps["execute_tool add/1"].end_us - 2


LOOPING = """
for turn in range(1_000_000):
    add.invoke({"a": turn, "b": 1})
    if turn == 5:
        print("hanging", flush=True)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.11, 0.37])
def test_whenever_it_is_killed_jaeger_and_journal_agree(jaeger: Jaeger, project: Project, after_s: float) -> None:
    """Each attempt of the journal is one span, as it ended or as interrupted, and there is no other."""
    (project.folder / "my_agent.py").write_text(AGENT.format(before="", after=LOOPING))
    project.run_and_kill("--otlp", jaeger.otlp_http, "--session", "s", after_s=after_s)

    events = [json.loads(line) for line in project.command("show", "s", "--events", "-o", "jsonl").stdout.splitlines()]
    outcomes = {event["span_id"]: "interrupted" for event in events if event["event_type"].endswith("_START")}
    outcomes |= {event["span_id"]: event["outcome"] for event in events if "outcome" in event}
    steps = [
        span
        for span in spans_of_service(jaeger, project.service, len(outcomes))
        if "agent_journal.step.id" in span.tags
    ]
    assert len(outcomes) > 5
    assert sorted((span.span_id, span.tags["agent_journal.outcome"]) for span in steps) == sorted(outcomes.items())


def test_a_drain_after_the_kill_sends_the_rest(jaeger: Jaeger, project: Project) -> None:
    """A program that drained for itself is killed: its steps left open are sent by whoever adopts its spool."""
    project.write(before=f"from otel_agent_journal import configure\nconfigure(otlp={jaeger.otlp_http!r})")
    environ = project.environ(HANG="1")
    with started(
        [sys.executable, "my_agent.py"], cwd=project.folder, env=environ, stdout=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "hanging\n"
        agent.kill()
    project.command("drain", "--otlp", jaeger.otlp_http)

    steps = {
        span.span_id: span
        for span in spans_of_service(jaeger, project.service, 4)
        if "agent_journal.step.id" in span.tags
    }
    assert {span.label: span.tags["agent_journal.outcome"] for span in steps.values()} == {
        "invoke_workflow researcher/1": "interrupted",
        "invoke_node plan/1": "ok",
        "invoke_node work/1": "interrupted",
        "execute_tool add/1": "ok",
    }


def test_an_old_session_is_exported(jaeger: Jaeger, project: Project) -> None:
    """`export` sends a session that was never forwarded, killed in the middle."""
    project.write()
    project.run_and_kill()
    told = project.command("export", project.session_id(), "--otlp", jaeger.otlp_http, "-o", "jsonl")
    assert json.loads(told.stdout)["spans"] == 4

    steps, others = steps_and_others(spans_of_service(jaeger, project.service, 4))

    assert set(steps) == STEPS
    assert others == []
    assert steps["invoke_node work/1"].tags["agent_journal.outcome"] == "interrupted"


def test_a_backend_that_is_down_costs_the_agent_nothing(project: Project) -> None:
    """Exit code and output are the program's; one line says that spans did not arrive."""
    project.write()
    started = time.monotonic()
    run = project.run("--otlp", "http://127.0.0.1:1")
    assert run.stdout == "{'seen': ['plan', 3]}\n"
    assert time.monotonic() - started < 30
    assert run.stderr.count("refused; 0 spans forwarded, journal unaffected, retrying") == 1
    assert json.loads(project.command("ls", "-o", "jsonl").stdout)["status"] == "COMPLETED"


def test_configure_forwards_from_a_thread(jaeger: Jaeger, project: Project) -> None:
    """A program that configures itself has the same trace, without `run`."""
    project.write(before=f"from otel_agent_journal import configure\nconfigure(otlp={jaeger.otlp_http!r})")
    subprocess.run(
        [sys.executable, "my_agent.py"],
        cwd=project.folder,
        env=project.environ(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    check_whole_trace(jaeger, project)


def test_opentelemetry_instrument_has_each_step_once(jaeger: Jaeger, project: Project) -> None:
    """OpenTelemetry's own launcher exports by its exporter; the drain stands down."""
    project.write()
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    if not launcher.exists():
        pytest.skip("opentelemetry-instrument is not installed")
    subprocess.run(
        [launcher, sys.executable, "my_agent.py"],
        cwd=project.folder,
        env=project.environ(
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_METRICS_EXPORTER="none",
            OTEL_LOGS_EXPORTER="none",
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_http,
        ),
        check=True,
        capture_output=True,
        timeout=60,
    )
    check_whole_trace(jaeger, project)
