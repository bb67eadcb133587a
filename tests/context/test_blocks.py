"""Conversations of blocks are made such that a model takes them: as Strands itself makes them."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strands.session.repository_session_manager import RepositorySessionManager

from otel_agent_journal.context.blocks import calls_of, is_repair, is_unfinished, results_of, well_formed
from tests.context.test_transcript import answer, calling, results, user

MESSAGES = st.sampled_from(
    [
        user("q"),
        answer("a"),
        calling("c1"),
        calling("c1", "c2"),
        calling("c3"),
        results("c1"),
        results("c2", "c1"),
        results("c3"),
        {"role": "user", "content": [*results("c1")["content"], {"text": "and"}]},
    ]
)


def as_strands_does(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    fix: Any = RepositorySessionManager._fix_broken_tool_use
    return without_new_ids(fix(None, [copy.deepcopy(one) for one in messages]))


def without_new_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in one.items() if key != "tracking_id"} for one in messages]


@settings(max_examples=300)
@given(st.lists(MESSAGES, max_size=7))
def test_a_broken_conversation_is_mended_as_strands_mends_it(messages: list[dict[str, Any]]) -> None:
    """But for results that are further down, which Strands throws away, and for those that are there twice."""
    logging.disable()
    before = copy.deepcopy(messages)
    mended = well_formed(messages, lambda: "new")
    expected = as_strands_does(messages)
    logging.disable(logging.NOTSET)
    assert messages == before
    if not any(results_stand_apart(messages, at) for at in range(len(messages))):
        assert without_new_ids(mended) == expected
    for at, message in enumerate(mended):
        if calls_of(message) and at + 1 < len(mended):
            assert sorted(results_of(mended[at + 1])) == sorted(calls_of(message))
        if results_of(message):
            assert at > 0
            assert sorted(results_of(message)) == sorted(calls_of(mended[at - 1]))


def results_stand_apart(messages: list[dict[str, Any]], at: int) -> bool:
    calls = set(calls_of(messages[at]))
    if not calls or (at + 1 < len(messages) and set(results_of(messages[at + 1])) == calls):
        return False
    return any(calls & set(results_of(one)) for one in messages[at + 2 :])


def test_a_result_goes_up_to_its_call() -> None:
    """Another process wrote between the two: nothing of either is lost."""
    messages = [user("q1"), calling("c1"), user("q2"), answer("a2"), results("c1"), answer("a1")]
    assert well_formed(messages, lambda: "new") == [*messages[:2], messages[4], *messages[2:4], messages[5]]


def test_what_is_right_stays_the_same_object() -> None:
    """So that nothing is written for it."""
    messages = [user("q"), calling("c1", "c2"), results("c2", "c1"), answer("a"), calling("c3")]
    assert all(one is other for one, other in zip(well_formed(messages, str), messages, strict=True))


@pytest.mark.parametrize(
    ("messages", "unfinished"),
    [
        ([], False),
        ([user("q")], True),
        ([user("q"), answer("a")], False),
        ([user("q"), calling("c1")], True),
        ([user("q"), calling("c1"), results("c1")], True),
    ],
)
def test_a_conversation_is_unfinished_where_its_agent_has_something_to_do(
    messages: list[dict[str, Any]], unfinished: bool
) -> None:
    """Tools to run, or an answer to give."""
    assert is_unfinished(messages) is unfinished


def test_a_repair_is_known_by_what_it_says() -> None:
    """Of nothing but calls that were interrupted."""
    made = well_formed([calling("c1"), user("q")], lambda: "new")[1]
    assert is_repair(made)
    assert not is_repair(results("c1"))
    assert not is_repair(user("q"))
