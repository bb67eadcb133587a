"""A session's id in keys and paths."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.store.keys import MAX_KEY_BYTES, key_of, session_of


@pytest.mark.parametrize(
    ("session_id", "key"),
    [
        ("order-4711", "order-4711"),
        ("user@example.org:1", "user@example.org:1"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("../../etc", "..%2F..%2Fetc"),
        ("a#b/c\n~", "a%23b%2Fc%0A%7E"),
        ("ü🙂", "%C3%BC%F0%9F%99%82"),
        ("", "~"),
        ("~", "%7E"),
    ],
)
def test_forms(session_id: str, key: str) -> None:
    """Letters, digits and a few signs stand as they are, all else percent-encoded."""
    assert key_of(session_id) == key
    assert session_of(key) == session_id


def test_long() -> None:
    """An id whose key would be over 512 bytes is a hash, of the same length whatever its own."""
    assert key_of("x" * MAX_KEY_BYTES) == "x" * MAX_KEY_BYTES
    long = [key_of("x" * 513), key_of("x" * 514), key_of("ü" * 200)]
    assert len(set(long)) == 3
    assert all(re.fullmatch(r"~[0-9a-f]{48}", key) and session_of(key) is None for key in long)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_any_two(one: str, other: str) -> None:
    """A key is safe in any path, and no two ids share one."""
    assert re.fullmatch(r"~[0-9a-f]*|[A-Za-z0-9._:@%-]+", key_of(one))
    assert (key_of(one) == key_of(other)) == (one == other)
    assert session_of(key_of(one)) in (one, None)
