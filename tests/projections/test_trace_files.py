"""Trace files as the viewers' own specifications have them: speedscope's schema, and Chrome's trace events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.cost import Cost
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.projections.trace_files import TracedSession, chrome, speedscope, tracks_of
from tests.projections import told
from tests.projections.test_profile import step
from tests.projections.told_at_random import heaps

UNITS = ("none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes")


def check_speedscope(file: dict[str, Any]) -> None:
    """Hold a file to `file-format-spec.ts`: every frame that opens closes, within what opened before it, in time."""
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert set(file) == {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    frames = file["shared"]["frames"]
    assert all(set(frame) == {"name"} and isinstance(frame["name"], str) for frame in frames)
    for profile in file["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "events"}
        assert profile["type"] == "evented"
        assert profile["unit"] in UNITS
        stack: list[int] = []
        at = profile["startValue"]
        for event in profile["events"]:
            assert set(event) == {"type", "frame", "at"}
            assert at <= event["at"] <= profile["endValue"]
            at = event["at"]
            assert 0 <= event["frame"] < len(frames)
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert event["type"] == "C"
                assert stack.pop() == event["frame"]
        assert not stack


def check_chrome(file: dict[str, Any]) -> None:
    """Hold a file to the trace event format: events of a thread are one within the other, or apart."""
    assert file["displayTimeUnit"] in ("ms", "ns")
    threads: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in file["traceEvents"]:
        assert {"name", "ph", "ts", "pid", "tid"} <= set(event)
        assert isinstance(event["name"], str)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert set(event["args"]) == {"name"}
            continue
        assert event["ph"] == "X"
        assert event["dur"] >= 0
        threads.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
    for spans in threads.values():
        around: list[tuple[float, float]] = []
        for start, end in spans:
            while around and around[-1][1] <= start + 1e-6:
                around.pop()
            assert not around or end <= around[-1][1] + 1e-6
            around.append((start, end))


def session(*events: JournalEvent, now_ns: int = 100, **more: Any) -> TracedSession:
    return TracedSession("s1", fold_steps(events), more.get("costs", {}), now_ns)


def test_steps_side_by_side_have_tracks_of_their_own() -> None:
    """A step is on its parent's track, but where another is at work there; what is beneath it stays with it."""
    traced = session(
        *step("root", 0, 100, under=None),
        *step("a", 10, 50, kind="TOOL"),
        *step("b", 20, 60, kind="AGENT"),
        *step("c", 30, 40, under="b", kind="MODEL"),
        *step("d", 60, 70, kind="TOOL"),
        *step("e", 65, 68, kind="TOOL"),
    )
    names = [[one.attempt.name for one in track] for track in tracks_of(traced.tree, 100)]
    assert names == [["root", "a", "d"], ["b", "c", "e"]]
    file = speedscope([traced], "test")
    check_speedscope(file)
    assert [profile["name"] for profile in file["profiles"]] == ["s1", "s1, in parallel (2)"]
    check_chrome(chrome([traced], "test"))


def test_what_is_told_of_a_step() -> None:
    """Number, attempt, outcome, tokens and cost; of an error its type; no content."""
    used = told.end(
        "m", 10, 20, "error", under="root", kind="MODEL", usage={"input_tokens": 3}, details={"output": "x"}
    )
    start = told.start("m", 10, under="root", kind="MODEL", details={"messages": ["secret"]})
    (key,) = (one.key for one in fold_steps([start, used]).attempts)
    running = told.start("root", 0)
    traced = session(running, start, used, costs={key: Cost(Decimal("0.5"), 1)})
    file = chrome([traced], "test")
    root, model = (event for event in file["traceEvents"] if event["ph"] == "X")
    assert root["args"] == {"number": 1, "step_id": "root", "attempt": 1, "outcome": "running"}
    assert model["args"] == {
        "number": 2,
        "step_id": "m",
        "attempt": 1,
        "outcome": "error",
        "error": "ValueError",
        "input_tokens": 3,
        "output_tokens": 0,
        "cost_usd": 0.5,
    }
    assert (model["ts"], model["dur"], model["cat"]) == (0.01, 0.01, "model")
    assert b"secret" not in msgspec.json.encode([file, speedscope([traced], "test")])


def test_times_in_which_nothing_ran_are_left_out() -> None:
    """An hour between two runs is no part of a track; two sessions are two processes."""
    hour = 3_600 * 10**9
    traced = session(*step("r1", 0, 10, under=None), *step("r2", hour, hour + 5, under=None))
    assert [one.span for one in tracks_of(traced.tree, 0)[0]] == [(0, 10), (10, 15)]
    assert {event["pid"] for event in chrome([traced, traced], "t")["traceEvents"]} == {1, 2}
    assert speedscope([session()], "t")["profiles"] == []


def test_names_of_any_kind() -> None:
    """A name is text of a length that a viewer can show, whatever it was."""
    traced = session(*step("x", 0, 9, under=None, name="\ud800\x1b[31m" + "n" * 500))
    (frame,) = speedscope([traced], "t")["shared"]["frames"]
    assert frame["name"].startswith("agent \\ud800")
    assert len(frame["name"]) <= 130
    msgspec.json.encode(frame)


@given(heaps)
def test_of_any_session_files_hold(events: list[JournalEvent]) -> None:
    """Whatever the events are, both files are as their viewers want them."""
    traced = session(*events, now_ns=50)
    check_speedscope(speedscope([traced], "t"))
    check_chrome(chrome([traced], "t"))
