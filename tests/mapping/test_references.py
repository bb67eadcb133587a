"""Which messages are in a value that is kept apart, so that nobody need fetch it to know."""

from __future__ import annotations

from typing import Any

from otel_agent_journal.mapping.references import keys_of_messages, messages_of, with_messages


def message(number: int) -> dict[str, Any]:
    return {"role": "tool", "content": f"page {number}", "tool_call_id": f"c{number}", "digest": f"tool:{number}"}


def test_which_messages_are_in_a_value_is_told_where_that_is_quick() -> None:
    """Keys are those of messages with one; of a long value, or one with foreign objects in it, nothing is told."""
    known = {
        "messages": [message(1), {"role": "user", "content": [1, 2], "digest": "m1"}, {"role": "user", "content": ""}]
    }
    assert sorted(keys_of_messages(known) or ()) == ["m1", "tool:1"]
    assert keys_of_messages("text") == []
    assert keys_of_messages([1] * 10_000) is None
    assert keys_of_messages({"x": object()}) is None
    assert with_messages({"$blob": "0"}, [1] * 10_000) == {"$blob": "0"}


def test_what_a_reference_says() -> None:
    """A reference names the messages that are in its value, or says nothing of them."""
    assert messages_of(with_messages({"$blob": "0"}, [message(1), "text"])) == ["tool:1"]
    assert messages_of({"$blob": "0"}) is None
    assert keys_of_messages({**message(1), "digest": 3}) == []
