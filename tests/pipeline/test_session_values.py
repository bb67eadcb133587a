"""Whatever values a hand-written agent gives: nothing raises, no event is lost, and none of them notices."""

from __future__ import annotations

import uuid
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal import Usage, session
from otel_agent_journal.codec import decode_line, encode_line
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step_block import attributes_of
from tests.pipeline.conftest import Written
from tests.strategies import anything
from tests.untouchable import Noticing

EVENTS = [
    "SESSION_INITIATED", "AGENT_START", "SCORES", "STAGE_CHANGED", "MODEL_START", "PROGRESS", "REASONING", "WARNING",
    "CHUNK", "MODEL_END", "TOOL_START", "TOOL_ERROR", "FINAL_RESPONSE", "AGENT_END", "SESSION_COMPLETED",
]  # fmt: skip


def agent(value: Any) -> None:
    """An agent that gives a value wherever it can give one."""
    with session(value, agent=value, input=value) as one:
        one.record("SCORES", value, level=value)
        one.stage(value, progress=value)
        with one.step("model", value, input=value, attributes={"mine": value}) as called:
            called.progress(value, more=value)
            called.reasoning(value)
            called.warning(value)
            called.chunk("said")
            called.chunk(value)
            called.complete(value, sources=value, message_id=value, usage=value, attributes={"mine": value})
        with one.step("tool", None) as failed:
            failed.fail(value, more=value)
        one.respond("done")


def types_of(written: Written) -> list[str]:
    """The types of what was written, in order, one CHUNK for all; each event goes there and back."""
    events = written.events
    assert all(decode_line(encode_line(event)).event_id == event.event_id for event in events)
    types = [event.type for event in events]
    return [kind for at, kind in enumerate(types) if kind != "CHUNK" or types[at - 1] != "CHUNK"]


@given(anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value(recorder: Recorder, written: Written, value: Any) -> None:
    """Any value anywhere: every event is there, can be read, and has valid fields."""
    written.payloads.clear()
    agent(value)
    assert types_of(written) == EVENTS
    assert recorder.dropped == 0


@pytest.mark.parametrize("kind", Noticing().objects())
def test_nobody_notices(recorder: Recorder, written: Written, kind: str) -> None:
    """No object is asked for anything, nor called."""
    noticing = Noticing()
    value = noticing.objects()[kind]
    agent(value)
    assert noticing.noticed == []
    assert types_of(written) == EVENTS


def test_nobody_notices_on_spans(recorder: Recorder, written: Written, caplog: pytest.LogCaptureFixture) -> None:
    """The same where steps are spans of the program's provider; the SDK has nothing to complain of."""
    noticing = Noticing()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in noticing.objects().values():
            TracerProvider().get_tracer("t").start_span("s", attributes=attributes_of({"mine": [value, 1], "b": value}))
    assert (noticing.noticed, caplog.text) == ([], "")


@pytest.mark.parametrize(
    ("given_id", "known"),
    [(uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"), (12345, "12345"), ("s1", "s1")],
)
def test_ids_and_names(recorder: Recorder, written: Written, given_id: Any, known: str) -> None:
    """A session's id may be a UUID or a number, a name a number or None."""
    with session(given_id, agent=7) as one:
        assert one.session_id == known
        with one.step("tool", 7), one.step("tool", None):
            pass
    assert {event.session_id for event in written.events} == {known}
    assert [event.name for event in written.events if event.type.endswith("_START")] == ["7", "7", "tool"]


def test_values_of_the_right_kind(recorder: Recorder, written: Written) -> None:
    """Usage as a model's SDK gives it, progress as a text, keys that are numbers, details that are none."""
    with session("s1") as one:
        one.record("SCORES", {1: "gold"})
        one.record("SCORES", [1, 2], level="warning")
        one.record("SCORES", None, level="loud")
        one.stage(3, progress="50")
        with one.step("model", "m") as called:
            called.complete("ok", usage={"prompt_tokens": 12, "completion_tokens": 3.0, "total": None}, sources="a")
    events = {event.type: event for event in written.events}
    scores = [(event.level, event.details) for event in written.events if event.type == "SCORES"]
    assert scores == [("INFO", {"1": "gold"}), ("WARNING", {"value": [1, 2]}), ("INFO", {})]
    assert events["STAGE_CHANGED"].details == {"stage": "3", "progress": 50}
    assert events["MODEL_END"].usage == Usage(input_tokens=12, output_tokens=3)
    assert events["MODEL_END"].details["sources"] == ["a"]


def test_attributes() -> None:
    """Attributes of a span are texts, numbers, and lists of one kind of these."""
    assert attributes_of({"a": 1, 2: "b", "c": [1, "x"], "d": {"e": 1}, "f": None, "g": 2**70, "": 1}) == {
        "a": 1, "2": "b", "c": ["1", "x"], "d": '{"e":1}', "g": str(2**70),
    }  # fmt: skip
    assert attributes_of(None) is None
    assert attributes_of({}) is None
