"""Messages in the shape of Converse: each thing said is a message, each result of a tool one, and back again."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.mapping.converse import message_of, plain_messages, reasoning_of, system_message

CALL = {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": "map"}}}
PLAIN_CALL = {"id": "t1", "name": "look", "args": {"at": "map"}}
PICTURE = {"image": {"format": "png"}}


def result(content: Any, **more: Any) -> dict[str, Any]:
    """A tool's result."""
    return {"toolResult": {"toolUseId": "t1", "content": content, **more}}


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        ({"role": "user", "content": [{"text": "hi"}]}, [{"role": "user", "content": "hi"}]),
        ({"content": "hi"}, [{"role": "user", "content": "hi"}]),
        ({"role": "user", "content": []}, [{"role": "user", "content": ""}]),
        ({"role": "user", "content": [PICTURE]}, [{"role": "user", "content": [PICTURE]}]),
        (
            {"role": "assistant", "content": [{"text": "I look."}, CALL]},
            [{"role": "assistant", "content": "I look.", "tool_calls": [PLAIN_CALL]}],
        ),
        (
            {
                "role": "user",
                "content": [{"text": "a"}, result([{"text": "Rome"}]), {"text": "b"}],
                "tracking_id": "m1",
            },
            [
                {"role": "user", "content": "a", "id": "m1"},
                {"role": "tool", "content": "Rome", "tool_call_id": "t1"},
                {"role": "user", "content": "b", "id": "m1"},
            ],
        ),
        (
            {"role": "user", "content": [result("Rome", status="error"), CALL]},
            [
                {"role": "tool", "content": "Rome", "tool_call_id": "t1", "status": "error"},
                {"role": "user", "content": "", "tool_calls": [PLAIN_CALL]},
            ],
        ),
        (
            {"role": "user", "content": [result([{"text": "a", "more": 1}])]},
            [{"role": "tool", "content": [{"text": "a", "more": 1}], "tool_call_id": "t1"}],
        ),
        (
            {"role": "user", "content": [{"text": "a"}, {"text": "b"}]},
            [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}],
        ),
    ],
)
def test_a_message_is_what_it_says_in_order(message: dict[str, Any], plain: list[dict[str, Any]]) -> None:
    """Texts alone are texts, blocks stay as they are, calls are beside them, results by themselves."""
    assert plain_messages(message) == plain


def test_an_answer_and_back() -> None:
    """What a model answered is made again of its plain form."""
    for content in ([{"text": "hi"}], [{"text": "I look."}, CALL], [PICTURE, {"text": "a"}], [CALL]):
        message = {"role": "assistant", "content": content}
        plain = plain_messages(message)
        assert message_of(plain) == message
        assert message_of(plain[0]) == message
    assert message_of([]) == {"role": "assistant", "content": []}


def test_what_a_model_thought() -> None:
    """Each thought is a line; what is kept secret is none."""
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm."}}}
    secret = {"reasoningContent": {"redactedContent": b"x"}}
    assert reasoning_of({"content": [thought, secret, {"text": "a"}, "b", thought]}) == "Hm.\nHm."
    assert reasoning_of({}) == ""


def test_a_system_prompt_is_a_message() -> None:
    """A text, or blocks."""
    assert system_message("Be brief.") == {"role": "system", "content": [{"text": "Be brief."}]}
    assert system_message([{"text": "a"}]) == {"role": "system", "content": [{"text": "a"}]}
