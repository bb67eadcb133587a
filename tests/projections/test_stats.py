"""Calls, failures, times, tokens and cost by agent, tool, model, user and day: against figures made by hand."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections import quantiles, stats
from otel_agent_journal.projections.cost import NO_CALLS, Billed, Cost, Rates
from otel_agent_journal.projections.quantiles import ERROR, EXACT, Quantiles
from otel_agent_journal.projections.stats import Measured, Stats, cause_of, measured, ordered, within
from otel_agent_journal.projections.steps import fold_steps
from tests.projections import told

DAY_NS = 86_400 * 10**9
USED = {"usage": {"input_tokens": 10, "output_tokens": 100}}
CALL = Cost(Decimal("0.0016"), 1)  # 10 of 10 dollars and 100 of 15 a million


def price(_: Billed) -> Rates:
    return Rates(input=Decimal(10), output=Decimal(15))


def a_session() -> list[JournalEvent]:
    """An agent whose tool fails once and is tried again, and which hands over to another that fails by its model."""
    return [
        told.start("root", 0, name="chief"),
        told.start("m1", 10, under="root", kind="MODEL", name="gpt"),
        told.end("m1", 10, 30, under="root", kind="MODEL", name="gpt", **USED),
        told.start("t", 40, under="root", kind="TOOL", name="search"),
        told.end("t", 40, 50, "error", under="root", kind="TOOL", name="search"),
        told.start("t", 60, under="root", kind="TOOL", name="search", attempt=2),
        told.start("m2", 65, under="t", kind="MODEL", name="small"),
        told.end("m2", 65, 75, under="t", kind="MODEL", name="small", **USED),
        told.end("t", 60, 90, under="root", kind="TOOL", name="search", attempt=2),
        told.start("sub", 100, under="root", kind="AGENT", name="helper"),
        told.start("m3", 110, under="sub", kind="MODEL", name="gpt"),
        told.end("m3", 110, 150, "error", under="sub", kind="MODEL", name="gpt"),
        told.end("sub", 100, 160, "error", under="root", kind="AGENT", name="helper", details={"passed_through": True}),
        told.end("root", 0, 200, "error", details={"passed_through": True}),
    ]


def table(by: str, events: Iterable[JournalEvent], **more: Any) -> dict[str | None, tuple[Any, ...]]:
    """Calls, failures, their causes, the quantiles of what they took, tokens and cost, by group."""
    found = Stats()
    for one in measured(fold_steps(events), by, price, **more):
        found.add(one)
    return {
        name: (
            group.calls,
            group.failures,
            dict(group.causes),
            (group.took.at(0.5), group.took.at(0.95)),
            (group.input_tokens, group.output_tokens),
            group.cost,
        )
        for name, group in ordered(found, by)
    }


def test_by_tool() -> None:
    """Attempts are counted; a model call within a tool is the tool's, others are no tool's."""
    expected = (2, 1, {"ValueError": 1}, (10, 30), (10, 100), CALL)
    assert table("tool", a_session()) == {"search": expected}


def test_by_model() -> None:
    """Each model by its name; one that failed without a word of usage cost nothing."""
    assert table("model", a_session()) == {
        "gpt": (2, 1, {"ValueError": 1}, (20, 40), (10, 100), CALL),
        "small": (1, 0, {}, (10, 10), (10, 100), CALL),
    }


def test_by_agent() -> None:
    """The nearest agent pays; a failure that came from below counts for its cause there."""
    cause = {"model gpt: ValueError": 1}
    assert table("agent", a_session()) == {
        "chief": (1, 1, cause, (200, 200), (20, 200), CALL + CALL),
        "helper": (1, 1, cause, (60, 60), (0, 0), NO_CALLS),
    }


def test_by_user_and_day() -> None:
    """Invocations are counted, of whoever a session is, and on the day that they began."""
    expected = (1, 1, {"model gpt: ValueError": 1}, (200, 200), (20, 200), CALL + CALL)
    assert table("user", a_session(), user="anna") == {"anna": expected}
    assert table("user", a_session()) == {None: expected}
    later = [told.start("r2", DAY_NS), told.end("r2", DAY_NS, DAY_NS + 5)]
    by_day = table("day", [*a_session(), *later])
    assert by_day == {"1970-01-01": expected, "1970-01-02": (1, 0, {}, (5, 5), (0, 0), NO_CALLS)}
    assert list(by_day) == ["1970-01-01", "1970-01-02"]
    assert list(table("day", [*a_session(), *later], wanted=within(1, DAY_NS))) == ["1970-01-01", "1970-01-02"]
    assert table("day", later, wanted=within(DAY_NS + 1, None)) == table("day", later, wanted=within(None, 1)) == {}


def test_calls_without_a_step_of_a_model() -> None:
    """What an agent says that it used counts for the model that it names."""
    named = {"attributes": {"gen_ai.request.model": "gpt"}}
    events = [told.start("root", 0), told.end("root", 0, 9, details=named, **USED)]
    assert table("model", events) == {"gpt": (0, 0, {}, (None, None), (10, 100), CALL)}
    nameless = [told.start("root", 0), told.end("root", 0, 9, **USED)]
    assert list(table("model", nameless)) == [None]
    alone = [told.start("m", 0, kind="MODEL"), told.end("m", 0, 9, kind="MODEL", **USED)]
    assert list(table("agent", alone)) == [None]


def test_calls_that_did_not_end_take_no_time() -> None:
    """One that runs, and one that was cut off, are calls; nobody knows how long they take."""
    running = [told.start("t", 0, kind="TOOL")]
    assert table("tool", running) == {"t": (1, 0, {}, (None, None), (0, 0), NO_CALLS)}
    assert table("tool", [*running, told.interrupted("w1", 5)]) == table("tool", running)


def test_causes_where_they_began() -> None:
    """Of several that failed the last is the cause; what says that it came from below, and nothing did, is its own."""
    events = [
        told.start("root", 0),
        told.start("a", 1, under="root", kind="TOOL"),
        told.end("a", 1, 5, "error", under="root", kind="TOOL"),
        told.start("b", 2, under="root", kind="TOOL"),
        told.end("b", 2, 9, "error", under="root", kind="TOOL"),
        told.end("root", 0, 10, "error", details={"passed_through": True}),
        told.start("r2", 20),
        told.end("r2", 20, 30, "error", details={"passed_through": True}),
        told.foreign("AGENT_ERROR", 40, step_id="r3", name="r3", duration_ns=1),
    ]
    tree = fold_steps(events)
    by_step = {one.step_id: cause_of(tree, one, whose=True) for one in tree.attempts}
    assert by_step["root"] == by_step["b"] == "tool b: ValueError"
    assert (by_step["r2"], by_step["r3"]) == ("agent r2: ValueError", "agent r3: error")


def test_groups_and_causes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, so many are told apart."""
    monkeypatch.setattr(stats, "MAX_GROUPS", 2)
    monkeypatch.setattr(stats, "MAX_CAUSES", 2)
    found = Stats()
    for number in range(9):
        found.add(Measured(f"g{number}", 1))
        found.add(Measured("g0", 0, cause=f"c{number}"))
    assert {name: group.calls for name, group in found.groups.items()} == {"g0": 1, "g1": 1, stats.OTHERS: 7}
    assert found.groups["g0"].causes == {"c0": 1, "c1": 1, stats.OTHERS: 7}


@given(st.lists(st.integers(0, 10**18), min_size=1), st.sampled_from((0.01, 0.5, 0.95, 1.0)))
def test_quantiles_are_exact_for_a_few(values: list[int], share: float) -> None:
    """As `quantile_disc` of SQL: the least value that such a share is not above."""
    found = Quantiles()
    for value in values:
        found.add(value)
    assert found.at(share) == sorted(values)[ceil(share * len(values)) - 1]
    assert found.count == len(values)


@given(st.lists(st.sampled_from((0, 1, 7, 10**3, 999_999, 10**9, 10**15)), min_size=1), st.floats(0.01, 1))
def test_quantiles_of_many_are_near(values: list[int], share: float) -> None:
    """Beyond the first few thousand nothing is more than a hundredth off, and memory grows no more."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(quantiles, "EXACT", 3)
        found = Quantiles()
        for value in values:
            found.add(value)
        exact = sorted(values)[max(1, ceil(share * len(values))) - 1]
        near = found.at(share)
        assert near is not None
        assert abs(near - exact) <= ERROR * exact + 0.5


def test_quantiles_of_none() -> None:
    """Nothing has no quantiles."""
    assert Quantiles().at(0.5) is None
    assert EXACT > 1000
