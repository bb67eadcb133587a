"""A tool's `Command` is made again of its record as it was, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command, Send

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.frameworks.langgraph.commands import command_of, is_told, raw_of_result
from otel_agent_journal.frameworks.langgraph.messages import plain_update
from otel_agent_journal.pipeline.digests import Digests
from otel_agent_journal.pipeline.history import History


def recorded(command: Any) -> tuple[Any, Any]:
    """Return output and raw form of a result, as the journal has them."""
    details = {"output": plain_update(command, History(Digests())), "raw": raw_of_result(command)}
    kept = decode_value(encode_value(details))
    return kept["output"], json.loads(json.dumps(kept["raw"]))


def said(text: str, call: str = "c1", **more: Any) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call, **more)


@pytest.mark.parametrize(
    "command",
    [
        Command(goto="next"),
        Command(update={"done": True, "messages": [said("paid", artifact={"n": (1, 2)})]}, goto=["a", "b"]),
        Command(update={"messages": said("paid", status="error", name="pay")}, graph=Command.PARENT),
        Command(update={"when": (1, 2), "messages": [said("a"), HumanMessage("b", additional_kwargs={"x": 1})]}),
        Command(resume={"approved": True}),
        Command(update=[("done", True)]),
    ],
    ids=["goto", "artifact", "parent", "tuple", "resume", "pairs"],
)
def test_it_is_made_again(command: Any) -> None:
    """Update, goto, resume and graph, with the messages whole."""
    output, raw = recorded(command)
    assert is_told(raw)
    assert command_of(output, raw, None) == command
    assert command_of(output, raw, "c1") == command


def test_it_answers_the_call_that_is_made_now() -> None:
    """A model that asks anew gives its call another id."""
    output, raw = recorded(Command(update={"messages": [said("paid")]}))
    assert command_of(output, raw, "c2") == Command(update={"messages": [said("paid", "c2")]})


@pytest.mark.parametrize(
    "command",
    [
        Command(goto=Send("next", {"messages": [AIMessage("x")]})),
        Command(update={"messages": {"in": {"deep": said("paid")}}}),
        Command(update={"other": object()}),
    ],
    ids=["send", "deep", "object"],
)
def test_what_cannot_be_made_again_is_not_guessed(command: Any) -> None:
    """It is called again, as it would be without a record."""
    output, raw = recorded(command)
    with pytest.raises(LookupError):
        command_of(output, raw, "c1")


def test_one_that_answers_two_calls_is_not_given_to_one() -> None:
    """Which of them the new call is, nobody knows."""
    output, raw = recorded(Command(update={"messages": [said("a", "c1"), said("b", "c2")]}))
    with pytest.raises(LookupError):
        command_of(output, raw, "c3")
