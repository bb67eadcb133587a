"""Numbers from outside: what a person would read there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.mapping.numbers import count_of, number_of, whole_of


@pytest.mark.parametrize(
    ("value", "number", "whole", "count"),
    [
        (12, 12, 12, 12),
        ("12", 12, 12, 12),
        (" +12\n", 12, 12, 12),
        (12.0, 12.0, 12, 12),
        ("12.0", 12.0, 12, 12),
        ("1.2e1", 12.0, 12, 12),
        (12.7, 12.7, None, 12),
        (".5", 0.5, None, 0),
        (0, 0, 0, 0),
        (-1, -1, -1, None),
        ("-1", -1, -1, None),
        (-0.5, -0.5, None, None),
        (2**53, 2**53, 2**53, None),
        (10**400, 10**400, 10**400, None),
        ("1" * 401, None, None, None),
        ("1e999", None, None, None),
        *(
            (nothing, None, None, None)
            for nothing in (None, True, False, "", " ", "many", "1_000", "1,000", "٣", "0x10", "nan", "inf", "1e", b"1")
        ),
        *((value, None, None, None) for value in (float("nan"), float("inf"), -float("inf"), (1,), {"a": 1})),
    ],
)
def test_numbers(value: Any, number: Any, whole: int | None, count: int | None) -> None:
    """As a number or as a text is the same; -1, NaN, a bool and words count nothing."""
    assert number_of(value) == number
    assert whole_of(value) == whole
    assert count_of(value) == count


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.binary(), st.none(), st.lists(st.integers())))
def test_total(value: Any) -> None:
    """Whatever a value is, nothing is raised, and a count is a count."""
    count, whole = count_of(value), whole_of(value)
    assert count is None or 0 <= count < 2**53
    assert whole is None or whole == number_of(value)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_text_says_the_same(value: float) -> None:
    """A number as Python writes it is that number."""
    assert number_of(repr(value)) == number_of(value) or len(repr(value)) > 400
