"""Messages and tools in the shapes of frameworks, conventions and providers are read into one."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.projections.prompt import asks_for_tools, messages_in, system_message, tools_in

CALL = {"id": "c1", "name": "look", "arguments": {"q": 1}}


def tool_message(content: Any, call_id: str | None = "c1") -> dict[str, Any]:
    """Return a tool's result as the contract has it."""
    return {"role": "tool", "content": content, **({"tool_call_id": call_id} if call_id else {})}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, []),
        ("go", [{"role": "user", "content": "go"}]),
        (["a", 3], [{"role": "user", "content": "a"}, {"role": "user", "content": [3]}]),
        ({"messages": ["a"]}, [{"role": "user", "content": "a"}]),
        ({"some": "input"}, [{"role": "user", "content": [{"some": "input"}]}]),
        ({"type": "human", "content": "a", "name": "ann"}, [{"role": "user", "content": "a", "name": "ann"}]),
        ({"role": "developer", "content": "a"}, [{"role": "system", "content": "a"}]),
        ({"role": "model", "content": None}, [{"role": "assistant", "content": ""}]),
        ({"role": "tool", "content": "r", "tool_call_id": "c1"}, [tool_message("r")]),
        ({"role": "tool", "id": "c1", "content": [{"text": "r"}]}, [tool_message([{"text": "r"}])]),
        ({"role": "tool", "id": "c1"}, [tool_message("")]),
        (
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": '{"q": 1}'}}]},
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c1", "name": "look", "arguments": '{"q": '}, "odd"]},
            [
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "c1", "name": "look", "arguments": '{"q": '},
                        {"id": None, "name": None, "arguments": None},
                    ],
                }
            ],
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {"q": 1}}]},
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        (
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "look", "input": {"q": 1}}}]},
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        (
            {
                "role": "user",
                "content": ["first", {"type": "tool_result", "tool_use_id": "c1", "content": "r"}, "z"],
            },
            [{"role": "user", "content": ["first"]}, tool_message("r"), {"role": "user", "content": ["z"]}],
        ),
        (
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "r"}]}}]},
            [tool_message("r")],
        ),
        (
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "r"}]},
            [tool_message("r")],
        ),
        (
            {"role": "user", "parts": [{"type": "text", "content": "a"}]},
            [{"role": "user", "content": "a"}],
        ),
        (
            {
                "role": "user",
                "parts": ["a", {"type": "image"}, {"type": "tool_call_response", "id": "c1", "result": ["x", "y"]}],
            },
            [{"role": "user", "content": ["a", {"type": "image"}]}, tool_message(["x", "y"])],
        ),
        ({"role": "user", "parts": [{"type": "image"}]}, [{"role": "user", "content": [{"type": "image"}]}]),
        (
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"q": 1}}]},
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        ({"role": "user", "parts": ["a"]}, [{"role": "user", "content": "a"}]),
        ({"role": "user", "content": []}, [{"role": "user", "content": ""}]),
        ({"role": "assistant", "content": "", "tool_calls": []}, [{"role": "assistant", "content": ""}]),
        (
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": '{"q": 1}'}},
            [{"role": "assistant", "content": "", "tool_calls": [{**CALL, "id": None}]}],
        ),
        (
            {"role": "assistant", "content": "", "invalid_tool_calls": [{**CALL, "args": "{"}]},
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        (
            {  # as LangChain has those of Anthropic
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c1", "name": "look"}],
                "tool_calls": [CALL],
            },
            [{"role": "assistant", "content": [{"type": "text", "text": "a"}], "tool_calls": [CALL]}],
        ),
        (
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"q": 1}, "id": "c1"}}]},
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        (
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"r": 1}, "id": "c1"}}]},
            [{"role": "tool", "content": [{"r": 1}], "name": "look", "tool_call_id": "c1"}],
        ),
        (
            [
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"q": 1}', "id": "fc_1"},
                {"type": "function_call_output", "call_id": "c1", "output": "r"},
            ],
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}, tool_message("r")],
        ),
        (
            {"role": "assistant", "content": None, "refusal": "no"},
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        ),
        (
            {"role": "assistant", "content": "a", "additional_kwargs": {"reasoning_content": "b"}},
            [{"role": "assistant", "content": "a", "reasoning": "b"}],
        ),
    ],
)
def test_messages(value: Any, said: list[dict[str, Any]]) -> None:
    """Each is what the contract of `show --prompt` promises."""
    assert messages_in(value) == said


def test_system_instructions() -> None:
    """A text, and the parts of the conventions, are a system message."""
    assert system_message("be brief") == {"role": "system", "content": "be brief"}
    assert system_message([{"type": "text", "content": "be brief"}])["content"] == "be brief"


SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("value", "tools"),
    [
        (None, []),
        ("search", [{"name": "search", "description": None, "parameters": None}]),
        ({"name": "a", "description": "d", "parameters": SCHEMA}, [("a", "d", SCHEMA)]),
        ({"name": "a", "input_schema": '{"type": "object"}'}, [("a", None, SCHEMA)]),
        ({"type": "function", "function": {"name": "a", "parameters": SCHEMA}}, [("a", None, SCHEMA)]),
        ({"toolSpec": {"name": "a", "inputSchema": {"json": SCHEMA}}}, [("a", None, SCHEMA)]),
        ({"function_declarations": [{"name": "a"}, {"name": "b"}]}, [("a", None, None), ("b", None, None)]),
        ({"type": "web_search"}, [("web_search", None, None)]),
    ],
)
def test_tools(value: Any, tools: list[Any]) -> None:
    """Definitions of every shape have name, description and parameters."""
    wanted = [
        one if isinstance(one, dict) else dict(zip(("name", "description", "parameters"), one, strict=True))
        for one in tools
    ]
    assert tools_in(value) == wanted


def test_whether_tools_are_asked_for() -> None:
    """By the calls of any message."""
    assert asks_for_tools([{"role": "assistant", "tool_calls": [CALL]}])
    assert not asks_for_tools([{"role": "assistant"}])
