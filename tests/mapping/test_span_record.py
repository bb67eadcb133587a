"""Attribute values are those that OpenTelemetry knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes

from otel_agent_journal.mapping.span_record import plain_attributes


class Odd:
    """A value that OpenTelemetry does not know."""

    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("\ud800", "\\ud800"),
        (True, True),
        (7, 7),
        (2**63, str(2**63)),
        (0.5, 0.5),
        (b"x", b"x"),
        (None, None),
        ([1, [2]], (1, (2,))),
        ({"a": [1]}, {"a": (1,)}),
        (Odd(), "odd"),
    ],
)
def test_values_are_made_plain(value: Any, expected: Any) -> None:
    """Sequences become tuples, integers beyond 64 bits and unknown objects text, broken text sound."""
    assert plain_attributes({"k": value}) == {"k": expected}


def test_no_attributes_are_no_attributes() -> None:
    """None and empty keys are left out; other keys become text."""
    assert plain_attributes(None) == {}
    assert plain_attributes({"": 1, 2: 3}) == {"2": 3}


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), _values, max_size=5))
def test_values_are_what_the_sdk_makes_of_them(attributes: dict[str, Any]) -> None:
    """A value that went through the journal is the value that a live span would have had."""
    assert plain_attributes(attributes) == dict(BoundedAttributes(attributes=attributes))
