"""The fold of a context: what is in view at each number, from the beginning or from any snapshot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.context.history import History, TooEarly, numbers_in, ranges_of, state_after
from otel_agent_journal.event import JournalEvent

KINDS = (
    "USER_MESSAGE",
    "TOOL_CALL",
    "STATE_CHANGED",
    "CONTEXT_REWOUND",
    "CONTEXT_REPLACED",
    "MESSAGE_REDACTED",
    "NOTE",
)


def event(kind: str, **details: object) -> JournalEvent:
    return JournalEvent(session_id="s1", event_id="0" * 32, type=kind, timestamp_ns=1, details=details)


def folded(*events: JournalEvent) -> History:
    history = History()
    for one in events:
        history.apply(one)
    return history


def test_what_is_appended_is_in_view_but_for_what_is_no_message() -> None:
    """Ranges are of messages alone."""
    history = folded(event("USER_MESSAGE"), event("NOTE"), event("USER_MESSAGE"), event("USER_MESSAGE", staged=True))
    assert [history.view(at) for at in range(5)] == [(), ((0, 1),), ((0, 1),), ((0, 1), (2, 3)), ((0, 1), (2, 3))]


def test_a_rewind_brings_an_earlier_view_and_state_back() -> None:
    """And what it left out can be brought back by another."""
    history = folded(
        event("USER_MESSAGE"),
        event("STATE_CHANGED", set={"a": 1}),
        event("USER_MESSAGE"),
        event("CONTEXT_REWOUND", to=1),
        event("USER_MESSAGE"),
        event("CONTEXT_REWOUND", to=3),
    )
    assert (history.view(4), history.changes(4)) == (((0, 1),), ())
    assert history.view(5) == ((0, 1), (4, 5))
    assert (history.view(), history.changes()) == (((0, 1), (2, 3)), (1,))


def test_numbers_that_are_not_in_view_cost_no_view() -> None:
    """However many there are between messages: each view is made when it is asked for, from the last that was cut."""
    history = folded(*(event("USER_MESSAGE" if number % 2 else "NOTE") for number in range(9)))
    assert history.view() == ((1, 2), (3, 4), (5, 6), (7, 8))
    assert history.view(4) == ((1, 2), (3, 4))
    history.apply(event("CONTEXT_REPLACED", view=[[3, 4]]))
    history.apply(event("NOTE"))
    history.apply(event("USER_MESSAGE"))
    assert history.view() == ((3, 4), (11, 12))
    assert sum(ranges is not None for _, ranges in history._cuts) == 2


def test_a_replacement_names_what_is_in_view() -> None:
    """In its order, with what it brought itself; what it may not name is passed over."""
    history = folded(
        event("USER_MESSAGE"),
        event("USER_MESSAGE"),
        event("USER_MESSAGE", staged=True),
        event("CONTEXT_REPLACED", view=[[2, 3], [0, 1], [3, 9], [1], "x", [True, 1], [1, 1]]),
        event("USER_MESSAGE"),
        event("CONTEXT_REPLACED", view=7),
    )
    assert history.view(5) == ((2, 3), (0, 1), (4, 5))
    assert list(numbers_in(history.view(5))) == [2, 0, 4]
    assert history.view() == ()


def test_a_state_that_replaces_makes_those_before_it_count_no_more() -> None:
    """Changes are folded in their order: set, removed, replaced."""
    changes = [
        {"set": {"a": 1, "b": 2}},
        {"set": {"b": 3}, "removed": ["a", "z"]},
        {"set": {"c": 4}, "replaces": True},
    ]
    assert state_after(changes[:2]) == {"b": 3}
    assert state_after(changes) == {"c": 4}
    history = folded(*(event("STATE_CHANGED", **one) for one in changes))
    assert (history.changes(2), history.changes()) == ((0, 1), (2,))


def test_what_follows_a_range_goes_on_with_it() -> None:
    """A range that ends where the view grows from is one with what comes, however it came to be there."""
    history = folded(event("USER_MESSAGE"), event("USER_MESSAGE"))
    assert History(history.snapshot()).view() == ((0, 2),)
    gone_on = History(history.snapshot())
    gone_on.apply(event("USER_MESSAGE"))
    assert gone_on.view() == ((0, 3),)
    assert ranges_of([3, 4, 7, 2]) == ((3, 5), (7, 8), (2, 3))


def test_redactions_hold_whatever_is_rewound() -> None:
    """What was redacted stays so."""
    history = folded(
        event("USER_MESSAGE"),
        event("MESSAGE_REDACTED", number=0),
        event("CONTEXT_REWOUND", to=1),
        event("MESSAGE_REDACTED"),
    )
    assert history.redactions == {0: 1}


@pytest.mark.parametrize("to", [-1, 5, None, "1", True, 1.0])
def test_a_rewind_to_nowhere_is_none(to: object) -> None:
    """It is passed over, as any event that says nothing."""
    assert folded(event("USER_MESSAGE"), event("CONTEXT_REWOUND", to=to)).view() == ((0, 1),)


def test_what_was_before_a_snapshot_is_not_known() -> None:
    """It is said, not guessed."""
    history = History(folded(event("USER_MESSAGE"), event("USER_MESSAGE")).snapshot())
    assert history.view() == ((0, 2),)
    with pytest.raises(TooEarly):
        history.view(1)
    with pytest.raises(TooEarly):
        history.changes(0)
    with pytest.raises(TooEarly):
        history.apply(event("CONTEXT_REWOUND", to=1))


@st.composite
def histories(draw: st.DrawFn) -> list[JournalEvent]:
    events: list[JournalEvent] = []
    for number in range(draw(st.integers(0, 25))):
        numbers = st.integers(-1, number + 1)
        details = {
            "to": draw(numbers),
            "number": draw(numbers),
            "view": draw(st.lists(st.tuples(numbers, numbers), max_size=3)),
            "staged": draw(st.booleans()),
            "replaces": draw(st.booleans()),
        }
        events.append(event(draw(st.sampled_from(KINDS)), **details))
    return events


@given(histories(), st.data())
def test_any_number_is_as_it_was_then_and_a_snapshot_changes_nothing(
    events: list[JournalEvent], data: st.DataObject
) -> None:
    """What is said of a number after all events is what the fold of those before it says, snapshots or none."""
    whole = folded(*events)
    at = data.draw(st.integers(0, len(events)))
    then = folded(*events[:at])
    assert (whole.view(at), whole.changes(at)) == (then.view(), then.changes())
    assert all(0 <= number < at for number in numbers_in(then.view()))
    assert ranges_of(numbers_in(then.view())) == ranges_of(numbers_in(whole.view(at)))
    gone_on = History(then.snapshot())
    try:
        for one in events[at:]:
            gone_on.apply(one)
    except TooEarly:
        assert any(one.type == "CONTEXT_REWOUND" and one.details["to"] < at for one in events[at:])  # type: ignore[operator]
    else:
        assert gone_on.snapshot() == whole.snapshot()
