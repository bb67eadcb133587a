"""The fold of rows is the tree that `fold_steps` makes, whatever comes in what order."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.event import JournalEvent, step_of_span
from otel_agent_journal.projections.cost import Rates, summed
from otel_agent_journal.projections.paid import own_costs
from otel_agent_journal.projections.steps import Step, fold_steps
from otel_agent_journal.reading.gists import with_gist
from otel_agent_journal.reading.step_rows import gist_of, warnings_of
from otel_agent_journal.server.fold import SessionFold
from otel_agent_journal.server.rows import row_of
from tests.projections import told
from tests.projections.told_at_random import heaps, retellings, sessions

EXAMPLES = 2000 if os.environ.get("AGENT_JOURNAL_SOAK") else 80
pytestmark = pytest.mark.long_form
RATES = Rates(input=1, output=2)  # type: ignore[arg-type]


def expected(events: Iterable[JournalEvent], lost: Iterable[str] = ()) -> dict[str, Any]:
    """What the rows should say, by the tree of all events at once."""
    tree = fold_steps(map(with_gist, events), lost_writers=set(lost))
    costs = own_costs(tree, lambda _: RATES)
    found: dict[str, Any] = {}
    above: list[str] = []
    for step in tree.walk():
        del above[step.depth :]
        whole = tree.step(step.step_id)
        assert whole is not None
        first = step.attempts[0]
        key = step.step_id if whole.attempts[0].key == first.key else f"{step.step_id}~{first.ordinal}"
        attempts = [(one.key, one.start_ns, one.end_ns, one.outcome, one.reason) for one in step.attempts]
        cost = summed(costs[one.key] for one in step.attempts if one.key in costs)
        found[key] = (
            above[-1] if above else None,
            step.number,
            step.status,
            step.orphan,
            attempts,
            (cost.usd, cost.unpriced),
            len(warnings_of(step)),
            gist_of(step),
        )
        above.append(key)
    return found


def rows_in(fold: SessionFold) -> dict[str, Any]:
    """What the rows say."""
    found: dict[str, Any] = {}
    for place in fold.places:
        step: Step = place.seen()
        row = row_of(fold, place)
        attempts = [(one.key, one.start_ns, one.end_ns, one.outcome, one.reason) for one in step.attempts]
        assert row.key not in found
        found[row.key] = (
            row.parent,
            row.number,
            row.status,
            row.orphan,
            attempts,
            (row.cost_usd, row.unpriced_calls),
            row.warnings,
            (row.given, row.gave),
        )
    return found


def folded(events: Iterable[JournalEvent], *, each: bool = True) -> SessionFold:
    fold = SessionFold(told.SESSION, lambda _: RATES)
    for event in events:
        fold.apply(event)
        if each:
            fold.settle()
    fold.settle()
    return fold


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.data())
def test_any_heap_of_events_gives_the_rows_of_its_tree(data: st.DataObject) -> None:
    """Folded one by one, in any order and with repeats, whatever the events say, the rows are those of the tree."""
    events = data.draw(heaps)
    again = data.draw(retellings(events))
    assert rows_in(folded(again, each=data.draw(st.booleans()))) == expected(events)


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.data())
def test_a_session_gives_the_rows_of_its_tree_at_every_point(data: st.DataObject) -> None:
    """After each event the rows are those of the tree of what has come, with the writers that are gone by then."""
    events = data.draw(data.draw(st.sampled_from([sessions().flatmap(retellings), sessions()])))
    fold = SessionFold(told.SESSION, lambda _: RATES)
    mirror: dict[str, Any] = {}
    at = 0
    for count, event in enumerate(events, start=1):
        fold.apply(event)
        known = {one.writer for one in events[:count] if one.writer}
        lost = data.draw(st.sampled_from([set[str](), known]))
        fold.lose(lost)
        fold.settle()
        assert rows_in(fold) == expected(events[:count], lost)
        since = fold.forest.since(at)
        assert since is not None
        for key in since[1]:
            mirror.pop(key, None)
        for place in since[0]:
            mirror[place.key] = row_of(fold, place)
        at = fold.revision
    assert mirror == {place.key: row_of(fold, place) for place in fold.places}


NOTES = st.sampled_from((("WARNING", "WARNING"), ("REQUEST", "INFO")))


@st.composite
def received(draw: st.DrawFn) -> list[JournalEvent]:
    """Draw spans of others as they are received: parents by their spans, there or not; warnings, and what was asked."""
    events: list[JournalEvent] = []
    count = draw(st.integers(1, 6))
    parents = [None, "elsewhere", *(f"step{one}" for one in range(count))]
    parents += [step_of_span("t", f"s{one}") for one in range(count + 1)]
    for number in range(count):
        at = draw(st.integers(0, 40))
        under = draw(st.sampled_from(parents))
        names: dict[str, Any] = {"under": under, "kind": draw(st.sampled_from(("NODE", "MODEL")))}
        names |= {"trace_id": "t", "span_id": f"s{number}"} if draw(st.booleans()) else {}
        for attempt in range(1, draw(st.integers(1, 2)) + 1):
            begun = at + 10 * attempt
            started = told.start(f"step{number}", begun, attempt=attempt, details={"input": f"in {attempt}"}, **names)
            events.append(started)
            if draw(st.booleans()):
                used = {"usage": {"input_tokens": 3}} if draw(st.booleans()) else {}
                events.append(told.end(f"step{number}", begun, begun + 3, attempt=attempt, **names, **used))
            for kind, level in draw(
                st.lists(st.sampled_from((("WARNING", "WARNING"), ("REQUEST", "INFO"))), max_size=2)
            ):
                noted_at = draw(st.integers(begun, begun + 9))
                noted = told.noted(kind, noted_at, f"step{number}", begun, attempt=attempt)
                details = {"messages": [{"role": "user", "content": f"asked at {noted_at}"}]}
                events.append(msgspec.structs.replace(noted, level=level, details=details))
    return list({event.key: event for event in events}.values())


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.data())
def test_spans_that_are_received_give_the_rows_of_their_tree(data: st.DataObject) -> None:
    """Children that come before their parents, and name them by their spans, end up below them, in any order."""
    events = data.draw(received())
    again = data.draw(retellings(events))
    assert rows_in(folded(again, each=data.draw(st.booleans()))) == expected(events)
