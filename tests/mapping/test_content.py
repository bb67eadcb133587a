"""Message content between details and the opt-in attributes of spans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_agent_journal.mapping.content import content_attributes, details_of_content

BLOB = {"$blob": "d", "bytes": 9, "preview": "[1, 2"}


def test_content_attributes_become_details() -> None:
    """JSON text is decoded; what only looks like it stays text."""
    assert details_of_content(
        {
            "gen_ai.input.messages": '[{"role":"user"}]',
            "gen_ai.tool.call.result": "{broken",
            "gen_ai.retrieval.documents": ("a",),
            "gen_ai.system_instructions": "be kind",
            "other": 1,
        }
    ) == {
        "messages": [{"role": "user"}],
        "output": "{broken",
        "sources": ("a",),
        "system_instructions": "be kind",
    }


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        (
            "TOOL",
            {"input": {"a": 1}, "output": "3"},
            {"gen_ai.tool.call.arguments": '{"a":1}', "gen_ai.tool.call.result": "3"},
        ),
        ("TOOL", {"input": BLOB}, {"gen_ai.tool.call.arguments": "[1, 2"}),
        ("TOOL", {"output": {1: object}}, {"gen_ai.tool.call.result": "{1: <class 'object'>}"}),
        ("TOOL", {}, {}),
        ("RETRIEVAL", {"input": "q"}, {"gen_ai.retrieval.query.text": "q"}),
        ("RETRIEVAL", {"output": ["d"]}, {"gen_ai.retrieval.documents": '["d"]'}),
        ("RETRIEVAL", {"sources": ["s"], "output": 1}, {"gen_ai.retrieval.documents": '["s"]'}),
        (
            "MODEL",
            {"messages": BLOB, "tool_definitions": []},
            {"gen_ai.input.messages": "[1, 2", "gen_ai.tool.definitions": "[]"},
        ),
        ("NODE", {"input": 1, "output": 2}, {}),
        ("STEP", {"input": 1}, {}),
    ],
)
def test_details_become_content_attributes(kind: str, details: dict[str, Any], expected: dict[str, str]) -> None:
    """Each kind has the attributes that the conventions name; a blob goes as its preview."""
    assert content_attributes(kind, details) == expected


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("hi", {"role": "user", "parts": [{"type": "text", "content": "hi"}]}),
        ({"role": "system", "parts": []}, {"role": "system", "parts": []}),
        ({"type": "human", "content": "hi"}, {"role": "human", "parts": [{"type": "text", "content": "hi"}]}),
        ({"other": 1}, {"role": "user", "parts": [{"type": "text", "content": {"other": 1}}]}),
        (
            {"role": "user", "content": ["a", {"type": "text", "text": "b"}, {"type": "image", "url": "u"}]},
            {
                "role": "user",
                "parts": [
                    {"type": "text", "content": "a"},
                    {"type": "text", "content": "b"},
                    {"type": "image", "url": "u"},
                ],
            },
        ),
        (
            {"role": "tool", "content": "3", "tool_call_id": "c"},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "3"}]},
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "add", "args": {"a": 1}}, "odd"]},
            {
                "role": "assistant",
                "parts": [
                    {"type": "tool_call", "id": "c", "name": "add", "arguments": {"a": 1}},
                    {"type": "tool_call", "id": None, "name": "odd", "arguments": None},
                ],
            },
        ),
    ],
)
def test_messages_take_the_shape_of_the_conventions(said: Any, message: dict[str, Any]) -> None:
    """Role and parts, whichever way the framework wrote them."""
    for details in ({"messages": [said]}, {"input": {"messages": [said]}}):
        assert json.loads(content_attributes("MODEL", details)["gen_ai.input.messages"]) == [message]


def test_a_single_output_is_what_the_assistant_says() -> None:
    """An agent's answer need not be a list."""
    (message,) = json.loads(content_attributes("AGENT", {"output": "done"})["gen_ai.output.messages"])
    assert message == {"role": "assistant", "parts": [{"type": "text", "content": "done"}]}


def test_a_message_journaled_before_is_not_repeated() -> None:
    """A reference to it stays in the journal."""
    assert content_attributes("MODEL", {"messages": [{"$message": "k"}]}) == {"gen_ai.input.messages": "[]"}
