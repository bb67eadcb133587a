"""The journal does not need a sampled span: it is the same without, and so is what user code sees."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_agent_journal.testing.scripted import reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import recording_at

UNSAMPLED = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(0)))


def provider(how: str) -> TracerProvider | None:
    """A TracerProvider, or none."""
    match how:
        case "ratio 0":
            return TracerProvider(sampler=TraceIdRatioBased(0))
        case "always off":
            return TracerProvider(sampler=ALWAYS_OFF)
        case "unsampled parent":
            return TracerProvider(sampler=ParentBased(TraceIdRatioBased(1)))
        case "none":
            return None
        case _:
            return TracerProvider()


def journal(root: Path, how: str, *, text: bool = True) -> Any:
    """What is journaled of an agent run under such a provider, as text, and its events."""
    agent = graphs.agent([reply("", calls=[("search", {"query": "x"})], input_tokens=4, output_tokens=2), "It is x."])
    with recording_at(root, provider=provider(how)) as recording:
        with trace.use_span(UNSAMPLED if how == "unsampled parent" else trace.INVALID_SPAN):
            agent.invoke(graphs.question(), graphs.on_thread())
            graphs.flaky(1).invoke({"notes": []}, graphs.on_thread())
        recording.check(spans=how == "sampled")
        assert len(recording.spans) == (10 if how == "sampled" else 0)
        told = re.sub(r",? ?'parent_span_id': '<id>'", "", recording.tree()).replace(" in={}", "")
        return told if text else recording.events


@pytest.mark.parametrize("how", ["ratio 0", "always off", "unsampled parent", "none"])
def test_the_journal_is_the_same(tmp_path: Path, how: str) -> None:
    """With ratio 0, no sampling, an unsampled parent or no provider the journal is what it is with every sample."""
    assert journal(tmp_path / "a", how) == journal(tmp_path / "b", "sampled")


@pytest.mark.parametrize("how", ["ratio 0", "always off", "unsampled parent", "none"])
def test_ids_are_there(tmp_path: Path, how: str) -> None:
    """Each attempt has a span id of its own and each invocation one trace id, that of an unsampled parent if any."""
    events = journal(tmp_path, how, text=False)
    starts = [event for event in events if event.type.endswith("_START")]
    assert len({event.span_id for event in starts}) == len(starts)
    assert len({event.trace_id for event in events}) == (1 if how == "unsampled parent" else 2)
    if how == "unsampled parent":
        assert events[0].trace_id == f"{0xABC:032x}"
        assert events[0].details["parent_span_id"] == f"{0xDEF:016x}"


@pytest.mark.parametrize("how", ["ratio 0", "unsampled parent", "none"])
def test_what_user_code_says_of_a_light_span_is_kept(tmp_path: Path, how: str) -> None:
    """Attributes and events that user code sets on a step's span are journaled though no span is sampled."""

    def work(state: graphs.Notes) -> graphs.Notes:
        span = trace.get_current_span()
        span.set_attribute("customer", "c1")
        span.add_event("looked", {"shelf": 3})
        return {"notes": [f"{span.get_span_context().span_id:016x}"]}

    with recording_at(tmp_path, provider=provider(how)) as recording:
        with trace.use_span(UNSAMPLED if how == "unsampled parent" else trace.INVALID_SPAN):
            result = graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
        attempt = recording.attempt("sub")
        assert attempt.span_id == result["notes"][0]
        assert attempt.details_end["attributes"]["customer"] == "c1"
        (event,) = attempt.details_end["events"]
        assert (event["name"], event["attributes"]) == ("looked", {"shelf": 3})


@pytest.mark.parametrize("how", ["ratio 0", "always off"])
def test_users_spans_nest_under_light_spans(tmp_path: Path, how: str) -> None:
    """A user's span within a step has that step's span as its parent, sampled or not."""

    def work(state: graphs.Notes) -> graphs.Notes:
        around = trace.get_current_span().get_span_context()
        with trace.get_tracer("user").start_as_current_span("mine") as own:
            assert own.get_span_context().trace_id == around.trace_id
        return {"notes": ["x"]}

    with recording_at(tmp_path, provider=provider(how)) as recording:
        graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
        recording.check(spans=False)


PROGRAM = """
import sys
import otel_agent_journal
from otel_agent_journal.testing.scripted import reply
if sys.argv[1] == "provider":
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
otel_agent_journal.configure("sqlite:///" + sys.argv[2])
from tests.frameworks.langgraph import graphs
script = [reply("", calls=[("search", {"query": "x"})], input_tokens=4, output_tokens=2), "It is x."]
graphs.agent(script).invoke(graphs.question(), graphs.on_thread())
graphs.flaky(1).invoke({"notes": []}, graphs.on_thread())
"""


@pytest.mark.parametrize("disabled", ["true", "false"])
def test_with_the_sdk_disabled(tmp_path: Path, disabled: str) -> None:
    """With OTEL_SDK_DISABLED=true a process journals what it journals with a provider."""
    from otel_agent_journal.projections.steps import fold_steps
    from otel_agent_journal.store.registry import open_store

    told: list[list[tuple[str, str, str, int]]] = []
    for number, kind in enumerate(("provider", "none")):
        database = tmp_path / f"{number}" / "journal.db"
        database.parent.mkdir()
        subprocess.run(
            [sys.executable, "-c", PROGRAM, kind, str(database)],
            check=True,
            timeout=60,
            env={**os.environ, "OTEL_SDK_DISABLED": disabled, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        store = open_store(f"sqlite:///{database}")
        events = list(store.read("t1"))
        store.close()
        assert all(event.trace_id and event.span_id for event in events if event.step_id)
        told.append([(step.kind, step.name, step.status, len(step.attempts)) for step in fold_steps(events).walk()])
        assert len({json.dumps(event.details.get("exported")) for event in events}) == 1
    assert told[0] == told[1]
    assert [line[:3] for line in told[0]][:3] == [
        ("AGENT", "researcher", "ok"),
        ("NODE", "model", "ok"),
        ("MODEL", "scripted-1", "ok"),
    ]
    assert told[0][-1] == ("NODE", "fetch", "ok", 2)
