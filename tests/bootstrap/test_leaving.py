"""What is open as a program ends: its steps end before its provider shuts down, so their spans are exported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import otel_agent_journal as journal
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

def provide():
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda span: f"span {span.name}\\n")))
    trace.set_tracer_provider(provider)
    return provider

def steps():
    with journal.session("s1", agent="a") as session, session.step("tool", "t"):
        yield
"""


def run(tmp_path: Path, program: str) -> tuple[list[str], list[str]]:
    """Run a program that leaves a generator open; return the spans that it exported, and what is journaled."""
    told = f"{PROGRAM}{program}\nimport atexit\nkept = steps()\nnext(kept)\n"
    store = f"sqlite:///{tmp_path}/journal.db"
    environ = {**os.environ, "AGENT_JOURNAL_STORE": store}
    done = subprocess.run([sys.executable, "-c", told], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    from otel_agent_journal import open_store

    events = [event for event in open_store(store, create=False).read("s1") if event.outcome]
    return sorted(done.stdout.splitlines()), [f"{event.type} {event.outcome}" for event in events]


@pytest.mark.parametrize(
    "program",
    [
        "journal.configure(instrument=False)\nprovide()",
        "provide()\njournal.configure(instrument=False)",
    ],
    ids=["configured first", "provided first"],
)
def test_open_steps(tmp_path: Path, program: str) -> None:
    """Whichever was there first: open steps end as cancelled, and the program's exporter has their spans."""
    spans, ended = run(tmp_path, program)
    assert spans == ["span execute_tool t", "span invoke_agent a"]
    assert ended == ["TOOL_END cancelled", "AGENT_END cancelled"]
