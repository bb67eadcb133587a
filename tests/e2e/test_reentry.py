"""Nothing waits for itself: whatever runs our code, wherever, the agent goes on and the journal is the same.

The scenarios are those of the other tests, run in a storm (`tests/storm.py`) by a pytest in a child: their assertions
and snapshots are what must hold. The programs here are ends of processes, and an agent whose handlers journal.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Workdir

ROOT = Path(__file__).parents[2]
LONG = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
LIMIT_S = 1500 if LONG else 110
SHORT_OF_PIPELINE = "tests/pipeline/test_session.py::test_block_of_the_readme"
SHORT = (
    "langgraph/test_running.py::test_invoke",
    "langgraph/test_agents.py::test_create_agent",
    "langgraph/test_agents.py::test_metrics",
    "strands/test_running.py::test_an_agent",
    "bedrock_agents/test_agents.py::test_agent_with_everything",
    "bedrock_agents/test_leaving.py::test_half_an_answer",
    "agentcore/test_requests.py::test_a_stream_that_is_never_begun",
    "agentcore/test_requests.py::test_a_stream_that_is_closed",
    "agentcore/test_tasks.py::test_decorated",
)
# What counts threads or flushes, forks, sends signals of its own, or breaks the recorder that the storm has is none.
LONG_FORM = {
    "pipeline": (
        "tests/pipeline/test_session.py",
        "tests/pipeline/test_lifecycle.py",
        "--deselect=tests/pipeline/test_lifecycle.py::test_it_is_alive_while_it_lasts",  # the storm is alive too
    ),
    "langgraph": (
        "tests/frameworks/langgraph",
        "--deselect=tests/frameworks/langgraph/test_instrumenting.py::test_a_recorder_that_fails",
    ),
    "strands": ("tests/frameworks/strands",),
    "bedrock_agents": (
        "tests/frameworks/bedrock_agents",
        "--deselect=tests/frameworks/bedrock_agents/test_instrumenting.py",
    ),
    "agentcore": (
        "tests/frameworks/agentcore",
        "--deselect=tests/frameworks/agentcore/test_never_hurts.py",
        "--deselect=tests/frameworks/agentcore/test_freeze.py",
        "--deselect=tests/frameworks/agentcore/test_flushing.py::test_the_journal_is_flushed_meanwhile",
    ),
}
SCENARIOS = LONG_FORM if LONG else {"some": (SHORT_OF_PIPELINE, *(f"tests/frameworks/{one}" for one in SHORT))}


@pytest.mark.long_form
@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("scenarios", SCENARIOS)
@pytest.mark.parametrize("storm", ["collector", "signals"])
def test_scenarios_in_a_storm(storm: str, scenarios: str) -> None:
    """With finalizers at every allocation, or handlers all the time, that journal, the scenarios hold as ever."""
    env = {name: value for name, value in os.environ.items() if name != "AGENT_JOURNAL_SOAK"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.storm", "-p", "no:xdist", "-o", "timeout=0"),
            *("-W", "ignore:unclosed:ResourceWarning"),  # a client in a cycle, which others would have closed first
            *SCENARIOS[scenarios],
        ],
        cwd=ROOT,
        env=env | {"STORM": storm, "STORM_LIMIT_S": str(LIMIT_S - 10)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-6000:], done.stderr[-6000:])
    assert "pieces of the storm" in done.stderr


HELD = """
import asyncio, gc, sys, threading, time
from otel_agent_journal import session, step

gc.disable()

def stream():
    with session("generator"), step("tool", "held"):
        yield 1

async def astream():
    with session("async generator"), step("tool", "held"):
        yield 1

class Object:
    def __init__(self):
        self.itself = self
        self.block = session("object")
        self.block.__enter__()
    def __del__(self):
        self.block.__exit__(None, None, None)
        with session("late"), step("tool", "late"):
            pass

async def hold():
    found = astream()
    await found.__anext__()
    return found

held = [stream(), Object()]
next(held[0])
loop = asyncio.new_event_loop()
held.append(loop.run_until_complete(hold()))
sys.held = held  # is ended as the interpreter ends, or never

def busy():
    while True:
        with session("daemon"), step("tool", "t"):
            time.sleep(0.001)

for _ in range(2):
    threading.Thread(target=busy, daemon=True).start()
print("over", flush=True)
"""


@pytest.mark.parametrize("alone", [True, False])
def test_held_at_the_interpreters_end(workdir: Workdir, alone: bool) -> None:
    """A program ends though it holds generators, async ones and objects with steps, and daemons are recording."""
    program = workdir.write("held.py", ("import otel_agent_journal as j; j.configure()\n" if alone else "") + HELD)
    done = workdir.python(program) if alone else workdir.run(program)
    assert (done.stdout, done.returncode) == ("over\n", 0), done.stderr
    assert "Traceback" not in done.stderr
    told = {row["session_id"]: row["status"] for row in workdir.sessions()}
    assert {told["generator"], told["async generator"], told["object"]} == {"INTERRUPTED"}
    assert workdir.journal("verify").returncode == 0


TOLD_TO_END = """
import os, signal, sys, threading, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
trace.set_tracer_provider(provider)
import otel_agent_journal as journal
journal.configure(instrument=False)

def end(number, frame):
    journal.record_event("s1", "TOLD_TO_END")
    journal.flush(2)
    journal.shutdown()
    print("ended", flush=True)
    os._exit(0)

signal.alarm(100)  # should it not end
signal.signal(signal.SIGTERM, end)
threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGTERM)).start()
with journal.session("s1"):
    while True:
        with journal.step("tool", "t"):
            trace.get_current_span().set_attribute("n", 1)
"""


@pytest.mark.parametrize("after_s", ["0.2", "0.31", "0.43"])
def test_a_handler_that_shuts_the_journal_down(workdir: Workdir, after_s: str) -> None:
    """A handler of SIGTERM records, flushes and shuts down amid whatever the main thread records: it ends."""
    done = workdir.python(workdir.write("ended.py", TOLD_TO_END), after_s)
    assert (done.stdout, done.returncode) == ("ended\n", 0), done.stderr
    (row,) = workdir.sessions()
    assert row["status"] == "INTERRUPTED"
    assert "TOLD_TO_END" in workdir.journal("show", "s1", "--events", "-o", "jsonl").stdout
