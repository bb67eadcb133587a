"""Values of classes that JSON has no form for come back as they were, by what is noted of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.mapping.classes import classes_in, placed_at, with_classes

VALUES: dict[str, Any] = {
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
    "date": date(2026, 1, 2),
    "time": time(3, 4, 5),
    "uuid": UUID(int=7),
    "decimal": Decimal("1.50"),
    "fraction": Fraction(1, 3),
    "infinite": [float("inf"), float("-inf"), 0.5],
    "tuples": (1, ("a", [(2,)])),
    "sets": [{1}, frozenset(("a",))],
    "numbers for keys": {1: {2: (3,)}},
    "odd keys": {"a/b": {"~1": b"x"}, "": (1,)},
}


class Colour(Enum):
    """A value of a program's own."""

    RED = "red"


def nothing(name: str, plain: Any) -> Any:
    """Know no class."""
    raise LookupError(name)


def back(value: dict[str, Any], made: Any = nothing) -> Any:
    """Return what a reader has of a value that was journaled, with what is noted of it."""
    return with_classes(decode_value(encode_value(value)), classes_in(value), made)


@pytest.mark.parametrize("kind", VALUES)
def test_there_and_back(kind: str) -> None:
    """Each comes back as it was, and of its class, however deep it is."""
    value = {"a": VALUES[kind], "b": [{"c": VALUES[kind]}]}
    found, lost = back(value)
    assert (repr(found), lost) == (repr(value), [])


@given(st.dictionaries(st.text(), st.lists(st.text() | st.binary() | st.floats(allow_nan=False))))
def test_whatever_is_in_it(value: dict[str, Any]) -> None:
    """The same of arbitrary values under arbitrary keys."""
    assert back(value) == (value, [])


def test_not_a_number() -> None:
    """A number that is none is one that is none."""
    (found,), _ = with_classes([None], {"/0": "builtins.float nan"}, nothing)
    assert found != found  # noqa: PLR0124 - what it is known by


def test_what_json_has() -> None:
    """Of JSON's own values nothing is noted."""
    assert classes_in({"a": [1, "x", None, True, 0.5, {"b": []}]}) == {}
    assert classes_in({"a": [1, "x", None, True, 0.5, {"b": []}], "c": b""}) == {"/c": "builtins.bytes"}


def test_classes_of_others() -> None:
    """A class that is not known here is made by who reads; what nobody can make stays plain, and is named."""
    value = {"a": Colour.RED, "b": object(), "c": {(1, 2): "x"}}
    name = f"{__name__}.Colour"
    assert classes_in(value) == {"/a": name, "/b": "builtins.object", "/c": "builtins.dict"}
    found, lost = back(value, lambda given, plain: Colour(plain) if given == name else nothing(given, plain))
    assert found == {"a": Colour.RED, "b": "<builtins.object>", "c": {"(1, 2)": "x"}}
    assert lost == ["/b", "/c"]


def test_what_does_not_fit() -> None:
    """Notes of what is not there, or cannot be made so, cost nothing but themselves; the plain form is not changed."""
    plain = {"a": [1], "b": "x"}
    classes = {"/a/7": "builtins.bytes", "/a/x": "builtins.bytes", "/b": "uuid.UUID", "/b/c": "uuid.UUID"}
    assert with_classes(plain, classes, nothing) == (plain, sorted(classes))
    assert with_classes(plain, {"/a": "builtins.tuple"}, nothing)[0] == {"a": (1,), "b": "x"}
    assert plain == {"a": [1], "b": "x"}


def test_where_a_value_stands() -> None:
    """A pointer leads to what holds a value, and to its key there; one that leads nowhere is told."""
    inner: list[Any] = [1, 2]
    assert placed_at({"a/b": inner}, "/a~1b/1") == (inner, 1)
    with pytest.raises(LookupError):
        placed_at({"a": inner}, "/a/7")


def test_more_than_is_looked_at() -> None:
    """Not every value of very many is looked at, and it is said that some were not."""
    assert "..." in classes_in({"a": [b""] * 20_000}).values()
