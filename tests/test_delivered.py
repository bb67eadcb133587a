"""`Delivered`: what a flush knows."""

from __future__ import annotations

import pytest

from otel_agent_journal.delivered import ALL, UNKNOWN, Delivered


@pytest.mark.parametrize("field", ["pending", "set_aside", "spans_pending"])
@pytest.mark.parametrize("value", [1, None])
def test_true_only_where_all_is_known_to_be_there(field: str, value: int | None) -> None:
    """One thing that is missing, or not known, and it is false, prints as that, and says which."""
    found = Delivered(**{field: value})
    assert ALL
    assert not found
    assert (str(ALL), str(found)) == ("True", "False")
    assert f"{field}={value}" in repr(found)


def test_both_together() -> None:
    """What is missing adds up, and what is not known of one is not known of both."""
    both = Delivered(pending=2, spans_pending=1) & Delivered(pending=3, set_aside=None)
    assert both == Delivered(pending=5, set_aside=None, spans_pending=1)
    assert (ALL & ALL, ALL & UNKNOWN) == (ALL, UNKNOWN)
