"""The other ways in: opentelemetry-instrument, configure(), exporter and processor, programs with a provider."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.e2e.conftest import BIN, GRAPH, Workdir

QUIET = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

RUN_IT = 'build(("a", lambda s: {"notes": ["a"]})).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})\n'
AGENT = GRAPH + RUN_IT

FOREIGN = """
from opentelemetry import trace
tracer = trace.get_tracer("somebody.else")
def foreign_call():
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m1", "gen_ai.conversation.id": "foreign"}
    with tracer.start_as_current_span("chat m1", attributes=attributes) as span:
        span.set_attribute("gen_ai.usage.input_tokens", 11)
        with tracer.start_as_current_span("GET /"):
            pass
"""

PROVIDER = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
memory = InMemorySpanExporter()
def provide(**options):
    provider = TracerProvider(**options)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
def names():
    return sorted(span.name for span in memory.get_finished_spans())
"""


def shape(events: list[dict[str, Any]]) -> list[tuple[str, str | None, str | None]]:
    """Return what of events must be equal whatever way they came; each process introduces itself once."""
    introduced = [event["writer"] for event in events if "process" in event.get("details", {})]
    assert sorted(introduced) == sorted({event["writer"] for event in events})
    return [(event["event_type"], event.get("name"), event.get("outcome")) for event in events]


WANTED = [
    ("AGENT_START", "walker", None),
    ("NODE_START", "a", None),
    ("NODE_END", "a", "ok"),
    ("AGENT_END", "walker", "ok"),
]


def test_opentelemetry_instrument_gives_the_same_journal(workdir: Workdir) -> None:
    """Under opentelemetry-instrument each step is journaled once, as it happens, and its span goes to the exporters."""
    workdir.write("agent.py", AGENT)
    done = workdir.command(
        BIN / "opentelemetry-instrument",
        sys.executable,
        "agent.py",
        env=QUIET | {"OTEL_TRACES_EXPORTER": "console,agent_journal"},
    )
    assert done.returncode == 0, done.stderr
    assert '"name": "invoke_node a"' in done.stdout
    assert '"name": "invoke_workflow walker"' in done.stdout
    events = workdir.events("s1")
    assert shape(events) == WANTED
    assert events[0]["trace_id"] in done.stdout


def test_run_over_opentelemetry_instrument_attaches_once(workdir: Workdir) -> None:
    """agent-journal run -- opentelemetry-instrument journals each step once."""
    workdir.write("agent.py", AGENT)
    done = workdir.journal(
        "run", "--", BIN / "opentelemetry-instrument", "--traces_exporter", "console", "--metrics_exporter", "none",
        "--logs_exporter", "none", sys.executable, "agent.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert shape(workdir.events("s1")) == WANTED


def test_configure_in_the_program(workdir: Workdir) -> None:
    """configure() before or after LangGraph is imported journals by a thread of the program."""
    workdir.write("first.py", "import otel_agent_journal; otel_agent_journal.configure()\n" + AGENT)
    configured = "import otel_agent_journal; otel_agent_journal.configure()\n"
    workdir.write("later.py", GRAPH + configured + RUN_IT.replace("s1", "s2"))
    assert workdir.python("first.py").returncode == 0
    assert workdir.python("later.py").returncode == 0
    assert shape(workdir.events("s1")) == WANTED
    assert shape(workdir.events("s2")) == WANTED


def test_configure_rejects_what_is_malformed(workdir: Workdir) -> None:
    """configure() tells its caller what is wrong and what to write instead."""
    workdir.write(
        "program.py",
        """
import otel_agent_journal
from otel_agent_journal import JournalError
for options in ({"store": "journal.db"}, {"store": "mongodb://x"}, {"store": "dynamodb://t"}, {"content": "some"}):
    try:
        otel_agent_journal.configure(**options)
    except JournalError as error:
        print(type(error).__name__, error)
""",
    )
    said = workdir.python("program.py").stdout.splitlines()
    assert len(said) == 4, said
    assert "sqlite:///journal.db" in said[0]
    assert said[1].startswith("UnknownScheme")
    assert "dynamodb://TABLE" in said[2]
    assert "full, metadata" in said[3]


def test_exporter_alone_journals_ended_spans(workdir: Workdir) -> None:
    """OTEL_TRACES_EXPORTER=agent_journal journals the GenAI spans of a program that attaches nothing."""
    workdir.write(
        "program.py",
        """
from opentelemetry.sdk._configuration import _BaseConfigurator
class Configurator(_BaseConfigurator):
    def _configure(self, **kwargs):
        from opentelemetry.sdk._configuration import _initialize_components
        _initialize_components(**kwargs)
Configurator().configure()
"""
        + FOREIGN
        + "foreign_call()\nfrom opentelemetry import trace\ntrace.get_tracer_provider().shutdown()\n",
    )
    done = workdir.python(
        "program.py",
        env=QUIET | {"OTEL_TRACES_EXPORTER": "agent_journal"},
    )
    assert done.returncode == 0, done.stderr
    events = workdir.events("foreign")
    assert shape(events) == [("MODEL_START", "m1", None), ("MODEL_END", "m1", "ok")]
    assert events[1]["usage"] == {"input_tokens": 11}


def test_spans_of_others_are_journaled_as_they_begin(workdir: Workdir) -> None:
    """GenAI spans that others open in a journaled process become steps, in the session around them."""
    workdir.write(
        "agent.py",
        PROVIDER
        + "provide()\n"
        + FOREIGN
        + GRAPH
        + """
def call(state):
    foreign_call()
    return {"notes": ["a"]}
build(("a", call)).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})
""",
    )
    assert workdir.run("agent.py").returncode == 0
    events = workdir.events("s1")
    assert shape(events) == [
        *WANTED[:2],
        ("MODEL_START", "m1", None),
        ("MODEL_END", "m1", "ok"),
        *WANTED[2:],
    ]
    by_type = {event["event_type"]: event for event in events}
    assert by_type["MODEL_START"]["parent_step_id"] == by_type["NODE_START"]["step_id"]
    assert by_type["MODEL_START"]["trace_id"] == by_type["NODE_START"]["trace_id"]


def test_all_spans_on_request(workdir: Workdir) -> None:
    """With AGENT_JOURNAL_SPANS=all every span of a provider is a step."""
    workdir.write("agent.py", PROVIDER + "provide()\n" + FOREIGN + "foreign_call()\n")
    workdir.run("agent.py", env={"AGENT_JOURNAL_SPANS": "all"})
    names = [event["name"] for event in workdir.events("foreign") if event["event_type"].endswith("_START")]
    assert names == ["m1", "GET /"]


def test_providers_before_and_after_are_joined(workdir: Workdir) -> None:
    """A TracerProvider that the program sets, before or after its first run, has the steps among its spans."""
    workdir.write(
        "agent.py",
        PROVIDER
        + GRAPH
        + """
agent = build(("a", lambda s: {"notes": ["a"]}))
if sys.argv[1] == "before":
    provide()
agent.invoke({"notes": []}, {"configurable": {"thread_id": "first"}})
if sys.argv[1] == "after":
    provide()
agent.invoke({"notes": []}, {"configurable": {"thread_id": "second"}})
print(names())
""",
    )
    steps = ["invoke_node a", "invoke_workflow walker"]
    assert workdir.run("agent.py", "before").stdout == f"{sorted(steps * 2)}\n"
    assert workdir.run("agent.py", "after").stdout == f"{steps}\n"
    for session in ("first", "second"):
        assert [shape(workdir.events(session))[at : at + 4] for at in (0, 4)] == [WANTED, WANTED]


def test_journal_is_the_same_whatever_the_provider(workdir: Workdir) -> None:
    """With a sampling ratio of 0, an unsampled parent, the SDK disabled, or no provider the journal is the same."""
    workdir.write(
        "agent.py",
        PROVIDER
        + FOREIGN
        + GRAPH
        + """
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
how = sys.argv[1]
if how == "ratio":
    provide(sampler=TraceIdRatioBased(0.0))
elif how in ("parent", "disabled", "sampled"):
    provide()
def note(state):
    span = trace.get_current_span()
    span.set_attribute("mine", 1)
    return {"notes": [f"{span.get_span_context().span_id:016x}"]}
agent = build(("a", note))
def go():
    return agent.invoke({"notes": []}, {"configurable": {"thread_id": how}})["notes"][0]
if how == "parent":
    context = trace.SpanContext(0x1234567890ABCDEF1234567890ABCDEF, 0x1234567890ABCDEF, is_remote=True)
    with trace.use_span(trace.NonRecordingSpan(context)):
        print(go(), names())
else:
    print(go(), names())
""",
    )
    for how in ("none", "ratio", "parent", "disabled", "sampled"):
        env = {"OTEL_SDK_DISABLED": "true"} if how == "disabled" else {}
        done = workdir.run("agent.py", how, env=env)
        assert done.returncode == 0, done.stderr
        inside, spans = done.stdout.strip().split(" ", 1)
        events = workdir.events(how)
        assert shape(events) == WANTED, how
        assert events[1]["span_id"] == inside, "the step's span is the current one in the node"
        recorded = ["invoke_node a", "invoke_workflow walker"] if how == "sampled" else []
        assert json.loads(spans.replace("'", '"')) == recorded
        if how == "parent":
            assert {event["trace_id"] for event in events} == {"1234567890abcdef1234567890abcdef"}
        if how != "sampled":
            assert events[2]["details"]["attributes"]["mine"] == 1


def test_configure_again_replaces_everything(workdir: Workdir) -> None:
    """A second configure() moves the journal; nothing is written twice, and nothing to where it was before."""
    workdir.write(
        "agent.py",
        PROVIDER
        + "provide()\n"
        + FOREIGN
        + GRAPH
        + """
import otel_agent_journal
def call(state):
    foreign_call()
    return {"notes": ["a"]}
agent = build(("a", call))
for store in ("sqlite:///one/journal.db", "sqlite:///two/journal.db"):
    otel_agent_journal.configure(store)
    agent.invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})
""",
    )
    for program in (workdir.python, workdir.run):
        done = program("agent.py")
        assert done.returncode == 0, done.stderr
        assert "refuse" not in done.stderr
    for place in ("one", "two"):
        events = workdir.events("s1", env={"AGENT_JOURNAL_STORE": f"sqlite:///{place}/journal.db"})
        assert len(events) == 2 * (len(WANTED) + 2)
