"""Where the time of a session went: against figures made by hand, and what must hold of any session."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections import profile as profiles
from otel_agent_journal.projections.profile import (
    HUMAN,
    IDLE,
    MODEL,
    OWN,
    RETRIEVAL,
    RETRY,
    TOOL,
    Profile,
    critical_path,
    length,
    runs_of,
    spans_of,
    union,
    within,
    without,
)
from otel_agent_journal.projections.steps import fold_steps
from tests.projections import told
from tests.projections.told_at_random import heaps, sessions

S = 1_000_000_000


def step(step_id: str, begun: int, ended: int, *, under: str | None = "root", **more: Any) -> list[JournalEvent]:
    outcome = more.pop("outcome", "ok")
    return [
        told.start(step_id, begun, under=under, **more),
        told.end(step_id, begun, ended, outcome, under=under, **more),
    ]


def profile_of(*events: JournalEvent, now_ns: int = 10_000) -> Profile:
    found = Profile()
    found.add(fold_steps(events), now_ns, {})
    return found


def rows(found: Profile) -> dict[str, tuple[int, int, float, int]]:
    """Calls, total, own time and that on the critical path by the name of a path's step."""
    return {
        path.name: (row.calls, row.total_ns, row.own_ns, row.critical_ns)
        for path, row in zip(found.paths, found.rows, strict=True)
    }


def test_one_after_the_other() -> None:
    """A model and a tool in an agent: own times add up, and all of it is critical."""
    found = profile_of(
        *step("root", 0, 100, under=None),
        *step("m", 10, 40, kind="MODEL"),
        *step("t", 50, 90, kind="TOOL"),
        *step("r", 90, 95, kind="RETRIEVAL"),
    )
    assert rows(found) == {
        "root": (1, 100, 25, 25),
        "m": (1, 30, 30, 30),
        "t": (1, 40, 40, 40),
        "r": (1, 5, 5, 5),
    }
    assert found.work_ns == {MODEL: 30, TOOL: 40, RETRIEVAL: 5, OWN: 25}
    assert found.total_ns == 100


def test_side_by_side() -> None:
    """What overlaps counts once in a path's total; steps at work at once share the time; the longest is critical."""
    found = profile_of(
        *step("root", 0, 100, under=None),
        *step("a1", 0, 60, kind="TOOL", name="search"),
        *step("a2", 20, 80, kind="TOOL", name="search"),
        *step("b", 40, 60, kind="MODEL", name="gpt"),
    )
    third = 20 / 3
    by_name = rows(found)
    assert by_name["search"][:2] == (2, 80)
    assert by_name["search"][2] == pytest.approx(20 + 20 + 2 * third + 20)
    assert by_name["gpt"][2] == pytest.approx(third)
    assert by_name["root"] == (1, 100, pytest.approx(20), 40)
    assert (by_name["search"][3], by_name["gpt"][3]) == (60, 0)
    assert found.total_ns == pytest.approx(100)


def test_waits() -> None:
    """Before a retry it is waited within the session's time; for a human and between runs outside of it."""
    found = profile_of(
        *step("root", 0, 100, under=None, outcome="interrupted"),
        *step("t", 10, 20, kind="TOOL", outcome="error"),
        *step("t", 50, 60, kind="TOOL", attempt=2),
        *step("root", 500, 520, under=None),
        *step("again", 600, 610, under=None, kind="AGENT"),
        *step("more", 605, 609, under=None, kind="AGENT"),
    )
    assert found.wait_ns == {RETRY: 30, HUMAN: 400, IDLE: 80}
    assert found.work_ns == {MODEL: 0, TOOL: 20, RETRIEVAL: 0, OWN: 80}
    assert found.total_ns == 130


def test_tried_again_without_having_failed() -> None:
    """A step that was asked for twice, or again at once, was not waited for."""
    found = profile_of(
        *step("root", 0, 100, under=None),
        *step("t", 10, 20, kind="TOOL"),
        *step("t", 50, 60, kind="TOOL", attempt=2),
        *step("u", 60, 70, kind="TOOL", outcome="error"),
        *step("u", 70, 80, kind="TOOL", attempt=2),
    )
    assert found.wait_ns[RETRY] == 0


@pytest.mark.parametrize(("said", "waited"), [(2, 2), (0.5, 0.5), ("2", 0), (-1, 0), (1e9, 0), (9, 5)])
def test_a_backoff_that_is_told(said: Any, waited: float) -> None:
    """A warning says how long it is waited before a call is tried again: no longer than the call took."""
    begun, ended = step("m", 0, 10 * S, under=None, kind="MODEL")
    note = told.noted("WARNING", 5 * S, "m", 0)
    found = profile_of(begun, msgspec.structs.replace(note, details={"backoff_s": said}), ended)
    assert found.wait_ns[RETRY] == waited * S
    assert found.work_ns[MODEL] == (10 - waited) * S
    other = msgspec.structs.replace(told.noted("PROGRESS", 5 * S, "m", 0), details={"backoff_s": 2})
    assert profile_of(begun, other, ended).wait_ns[RETRY] == 0


def test_what_runs_and_what_sticks_out() -> None:
    """What runs does so until now; a step that ends behind the one that it ran in counts until then."""
    found = profile_of(told.start("root", 0), *step("t", 10, 300, kind="TOOL"), now_ns=100)
    assert rows(found) == {"root": (1, 100, 10, 10), "t": (1, 90, 90, 90)}
    assert profile_of(now_ns=5).rows == []


def test_sessions_are_added() -> None:
    """Of many sessions paths of the same names are one."""
    found = Profile()
    for _ in range(3):
        found.add(fold_steps([*step("root", 0, 10, under=None), *step("m", 1, 4, kind="MODEL")]), 0, {})
    assert rows(found) == {"root": (3, 30, 21, 21), "m": (3, 9, 9, 9)}
    assert (found.sessions, [path.depth for path in found.paths]) == (3, [0, 1])


def test_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, so many are told apart."""
    monkeypatch.setattr(profiles, "MAX_PATHS", 3)
    events = [event for number in range(9) for event in step(f"t{number}", number, number + 1, kind="TOOL")]
    found = profile_of(*step("root", 0, 10, under=None), *events)
    assert {name: row[0] for name, row in rows(found).items()} == {"root": 1, "t0": 1, "t1": 1, "(others)": 7}


def test_stretches() -> None:
    """What is in one and not in another, in both, and how long that is."""
    assert union([(5, 9), (1, 3), (3, 4), (6, 7), (8, 8)]) == [(1, 4), (5, 9)]
    assert without([(0, 10), (20, 30)], [(2, 3), (8, 22), (40, 50)]) == [(0, 2), (3, 8), (22, 30)]
    assert within([(0, 10), (20, 30)], [(2, 3), (8, 22)]) == [(2, 3), (8, 10), (20, 22)]
    assert length([(1, 4), (5, 9)]) == 7


@given(sessions())
def test_of_any_session_the_times_add_up(events: list[JournalEvent]) -> None:
    """Own times and waits are the time in which anything ran; a path's own time is in its total, the critical too."""
    tree = fold_steps(events)
    found = Profile()
    found.add(tree, 2000, {})
    spans = spans_of(tree, 2000)
    ran = length(union(spans[one.key] for one in runs_of(tree, spans)))
    assert found.total_ns == pytest.approx(ran)
    for row in found.rows:
        assert row.own_ns <= row.total_ns + 1e-6
    assert sum(row.critical_ns for row in found.rows) <= ran
    path = [stretch for _, stretch in critical_path(tree, spans)]
    assert path == sorted(path, reverse=True)


@given(heaps)
def test_of_any_heap_of_events_there_is_a_profile(events: list[JournalEvent]) -> None:
    """Whatever the events are, times are not negative and add up."""
    tree = fold_steps(events)
    found = Profile()
    found.add(tree, 50, {})
    spans = spans_of(tree, 50)
    assert all(start_ns <= end_ns for start_ns, end_ns in spans.values())
    assert found.total_ns == pytest.approx(length(union(spans[one.key] for one in runs_of(tree, spans))))
