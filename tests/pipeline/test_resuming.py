"""What a process asks of the session that it goes on with: which context, and what tools have returned."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.pipeline.resuming import (
    Agents,
    AlreadyHappened,
    Receipts,
    Resumption,
    begin_resumption,
    end_resumption,
    meant,
    resumption,
)
from otel_agent_journal.reading.tool_calls import ToolCall


def call(name: str = "pay", arguments: Any = None, *, output: Any = "paid", **more: Any) -> ToolCall:
    given: dict[str, Any] = {
        "session_id": "s",
        "step_id": "a" * 32,
        "number": 3,
        "start_ns": 1,
        "outcome": "ok",
        "whole": True,
    }
    return ToolCall(name=name, arguments={"n": 5} if arguments is None else arguments, output=output, **given | more)


def a_resumption(agents: dict[tuple[str, str], str], receipts: Receipts | None = None, **more: Any) -> Resumption:
    return Resumption("s", lambda: Agents(by_name=agents), lambda: receipts or Receipts([]), **more)


def test_the_same_call_is_served_by_its_id() -> None:
    """What its last attempt returned, as often as it is asked: one that failed or was cut off is made again."""
    receipts = Receipts([call(call_id="1", output="first"), call(call_id="1", output="last"), call(call_id="2")])
    for _ in range(2):
        found = receipts.find("pay", "1", {"n": 5})
        assert found is not None
        assert (found.output, found.step_id) == ("last", "a" * 32)
    assert receipts.find("pay", "3", {"n": 5}) is None
    assert receipts.find("pay", None, {"n": 5}) is None
    assert receipts.find("refund", "1", {"n": 5}) is None


@pytest.mark.parametrize(
    "spoiled", [{"outcome": "error"}, {"outcome": None}, {"outcome": "interrupted"}, {"whole": False}]
)
def test_what_did_not_succeed_is_made_again(spoiled: dict[str, Any]) -> None:
    """Also where an attempt before it did: the context asks for the last one."""
    receipts = Receipts([call(call_id="1"), call(call_id="1", **spoiled)], [call(**spoiled)])
    assert receipts.find("pay", "1", {"n": 5}) is None
    assert receipts.find("pay", None, {"n": 5}) is None


def test_once_serves_each_call_once() -> None:
    """By tool and arguments, whatever the order of their keys, in the order of the calls."""
    recorded = [call(arguments={"a": 1, "b": 2}, output=number) for number in range(2)]
    receipts = Receipts([], recorded)
    served = [receipts.find("pay", "new", {"b": 2, "a": 1}) for _ in range(3)]
    assert [None if one is None else one.output for one in served] == [0, 1, None]


def test_once_refuses_another_call_of_what_changed_the_world() -> None:
    """And says both; a tool that only reads is called."""
    receipts = Receipts([], [call(), call("look", effects="read")])
    with pytest.raises(AlreadyHappened, match=r'pay is about to be called with \{"n":6\}.*s@3 with \{"n":5\}') as told:
        receipts.find("pay", None, {"n": 6})
    assert told.value.tool == "pay"
    assert len(str(told.value)) < 1000
    assert receipts.find("look", None, {"n": 6}) is None
    with pytest.raises(AlreadyHappened) as told:
        receipts.find("pay", None, {"n": "x" * 10_000})
    assert len(str(told.value)) < 1000


def test_which_instance_a_name_means() -> None:
    """One that the session knows; else the only one of the framework that is left, always the same."""
    one = a_resumption({("langgraph", "t1"): "i1", ("langgraph", "t2"): "i2", ("strands", "a"): "i3"})
    assert one.instance_for("langgraph", "random") is None  # two are left
    assert one.instance_for("langgraph", "t1") == "i1"
    assert one.instance_for("langgraph", "random") == "i2"
    assert one.instance_for("langgraph", "random") == "i2"
    assert one.instance_for("langgraph", "another") is None
    assert one.instance_for("strands", "b", or_only=False) is None
    assert one.instance_for("strands", "b") == "i3"
    assert one.instance_for("", "x") is None


def test_names_that_are_unique_within_something() -> None:
    """An agent of one Strands session is never that of another; a session that is not known means the only agent."""
    two = {("strands", "left", "a"): "i1", ("strands", "right", "a"): "i2"}
    one = Resumption("s", lambda: Agents(by_name={}, within=two), lambda: Receipts([]))
    assert one.instance_for("strands", "a", within="right") == "i2"
    assert one.instance_for("strands", "a", within="left") == "i1"
    assert one.instance_for("strands", "a", within="new") is None
    single = Agents(by_name={("strands", "a"): "i1"}, within={("strands", "left", "a"): "i1"})
    assert Resumption("s", lambda: single, lambda: Receipts([])).instance_for("strands", "a", within="new") == "i1"
    known = Resumption("s", lambda: single, lambda: Receipts([]))
    assert known.instance_for("strands", "a", within="left") == "i1"
    assert known.instance_for("strands", "a", within="another") is None


def test_a_process_goes_on_with_one_session() -> None:
    """What it was forked from means the fork, as long as it is gone on with; what is loaded is loaded once."""
    asked: list[str] = []

    def agents() -> Agents:
        asked.append("agents")
        return Agents(by_name={("", "x"): "y"})

    def receipts() -> Receipts:
        asked.append("receipts")
        return Receipts([call(call_id="1")])

    one = Resumption("fork", agents, receipts, bases=("base",))
    assert meant("base") == "base"
    begin_resumption(one)
    try:
        assert resumption() is one
        assert (meant("base"), meant("other"), meant("fork")) == ("fork", "other", "fork")
        assert [one.instance_for("", "x") for _ in range(2)] == ["y", "y"]
        assert all(one.receipt(tool="pay", call_id="1", arguments={}) is not None for _ in range(2))
    finally:
        end_resumption(one)
    end_resumption(one)
    assert resumption() is None
    assert asked == ["agents", "receipts"]
