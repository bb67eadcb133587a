"""A list of messages told by what changed is the list that it was."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.projections.request import (
    RequestFold,
    digest_and_name,
    kept_of,
    key_of,
    keys_of_parts,
    list_told,
    parts_of,
)
from otel_agent_journal.testing.builders import JournalBuilder

KEYS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@given(KEYS, KEYS)
def test_parts_are_the_list_again(keys: list[str], before: list[str]) -> None:
    """Whatever stands in two lists, the parts of one by the other give it back."""
    assert keys_of_parts(parts_of(keys, before), list(before)) == keys


def test_parts_of_a_list_that_grows_are_few() -> None:
    """What stood there is one range, however long; of a window its ends are."""
    before = [str(number) for number in range(1000)]
    assert parts_of([*before, "new"], before) == [[0, 1000], "new"]
    assert parts_of(["0", *before[900:]], before) == [[0, 1], [900, 1000]]


@given(st.lists(KEYS, min_size=1, max_size=12), st.data())
def test_requests_are_rebuilt(lists: list[list[str]], data: st.DataObject) -> None:
    """Each of several requests, told one after the other by any list before it, is rebuilt from the events."""
    builder = JournalBuilder()
    told: list[dict[str, Any]] = []
    for number, keys in enumerate(lists):
        after = data.draw(st.none() | st.integers(0, number - 1)) if number else None
        parts = parts_of(keys, [] if after is None else lists[after])
        one: dict[str, Any] = {"digest": str(keys), "count": len(keys), "parts": parts}
        if after is not None:
            one["after"] = str(lists[after])
        told.append(one)
        builder.start("MODEL", "m", details={"request": {"messages": one}})
    for keys, one in zip(lists, told, strict=True):
        fold = RequestFold({"request": {"messages": one}})
        for event in builder.events:
            fold.apply(event)
        assert fold.keys() == keys


def test_what_cannot_be_rebuilt() -> None:
    """A list by one that nobody told, ranges beyond it, and what is no list at all, are none."""
    assert keys_of_parts([[0, 3]], ["a"]) is None
    assert keys_of_parts([[1, 0]], ["a", "b"]) is None
    assert keys_of_parts([["a", "b"]], ["a"]) is None
    assert keys_of_parts([None], []) is None
    assert RequestFold({"request": {"messages": {"digest": "x", "after": "y", "parts": []}}}).keys() is None
    assert RequestFold({"request": "x"}).keys() is None
    assert [list_told(one) for one in (None, {}, {"digest": 1, "parts": []}, {"digest": "x", "parts": 3})] == [None] * 4
    turning = {"digest": "x", "after": "x", "parts": [[0, 1]]}
    fold = RequestFold({"request": {"messages": turning}})
    builder = JournalBuilder()
    builder.start("MODEL", "m", details={"request": {"messages": turning}})
    fold.apply(builder.events[0])
    assert fold.keys() is None


def trimmed(*lists: list[str]) -> dict[int, int]:
    """Return what is trimmed of the last of several lists, each told by the one before."""
    builder = JournalBuilder()
    told: dict[str, Any] = {}
    for before, keys in zip(([], *lists), lists, strict=False):
        told = {"digest": str(keys), "parts": parts_of(keys, before), **({"after": str(before)} if before else {})}
        builder.start("MODEL", "m", details={"request": {"messages": told}})
    fold = RequestFold({"request": {"messages": told}})
    for event in builder.events:
        fold.apply(event)
    return fold.trimmed()


def test_what_was_trimmed_of_a_conversation() -> None:
    """Messages of earlier requests that a model is not shown any more are counted where they stood."""
    assert trimmed([*"sabc"], [*"sabcd"]) == {}
    assert trimmed([*"sabc"], [*"scd"]) == {1: 2}
    assert trimmed([*"sabc"], [*"scd"], [*"scde"]) == {1: 2}
    assert trimmed([*"abcd"], [*"cde"]) == {0: 2}
    assert trimmed([*"sabcd"], [*"sbe"]) == {1: 1, 2: 2}
    assert trimmed([*"sabc"], [*"sScd"]) == {2: 2}  # what sums them up stands before them
    assert trimmed([*"sabcd"], [*"sb"]) == {1: 1, 2: 2}


def test_another_conversation_is_not_trimmed() -> None:
    """One that shares no more than its beginning, or nothing, with a list that it was told by is new."""
    assert trimmed([*"sabc"], [*"sx"]) == {}
    assert trimmed([*"sabc"], [*"xyz"]) == {}
    assert trimmed([*"sabc"], [*"sx"], [*"sxy"]) == {}
    assert RequestFold({"request": "x"}).trimmed() == {}


def test_keys() -> None:
    """A key is a digest, and a name where there is one."""
    assert digest_and_name(key_of("tool:a", "search")) == ("tool:a", "search")
    assert digest_and_name(key_of("a", None)) == ("a", None)


def test_what_later_events_can_refer_to() -> None:
    """Lists, definitions where they are in full, and answers by their digests."""
    builder = JournalBuilder("s")
    told = {"digest": "l", "count": 1, "parts": ["a"]}
    details = {"request": {"messages": told, "tools": "t", "params": "p"}, "tools": []}
    call = builder.start("MODEL", "m", details=details)
    builder.end(call, details={"output": {"digest": "b"}})
    builder.end(builder.start("MODEL", "m", details={"request": {}}), details={"output": "text"})
    builder.start("MODEL", "m", details={"request": {"tools": "t"}})
    assert {name: (one.held, one.lists) for name, one in kept_of(builder.events).items()} == {"s": (["t", "b"], [told])}


def test_what_is_defined_once() -> None:
    """Tools and parameters are those of the session's event that has them in full, under the digest of the call."""
    builder = JournalBuilder("s")
    builder.start("TOOL", "t", details={"request": {"tools": "t"}, "tools": ["not this"]})
    builder.start("MODEL", "m", details={"request": {"tools": "other"}, "tools": ["nor this"]})
    builder.start("MODEL", "m", details={"request": {"tools": "t"}, "tools": ["these"]})
    fold = RequestFold({"request": {"tools": "t", "messages": {"digest": "x", "parts": [[0, 1]]}}})
    for event in builder.events:
        fold.apply(event)
    assert fold.defined == {"tools": ("s", ["these"])}
    assert fold.keys() is None  # a range of a list that is nowhere
