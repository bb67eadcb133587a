"""The example's own agent in its workflow: it writes through to DynamoDB, and our readers see all of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_agent_journal.projections.head import COMPLETED, ERROR
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal_dynamodb import DynamoDBStore
from tests.examples_aws.conftest import World
from tests.examples_aws.function import Function

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("aws")]

BEGUN = [
    "SESSION_INITIATED",  # the workflow's
    "SESSION_INITIATED",  # the agent's caller, in the function
    "AGENT_INVOCATION_STARTED",
    "AGENT_BACKGROUND_TASK_STARTED",
    "AGENT_START",
    "TOOL_START",
]


def test_completed(world: World, tmp_path: Path) -> None:
    """The agent's events are in the table as they happen; the workflow finds the ending, and all is one session."""
    function = Function(world.table, world.endpoint, tmp_path)
    done = world.run(function, question="Is it open?", poll_seconds=1)
    assert done["status"] == "SUCCEEDED", function.results
    assert json.loads(done["output"])["ending"] == "AGENT_BACKGROUND_TASK_COMPLETED"
    assert [result.returncode for result in function.results] == [0]

    store = DynamoDBStore(world.url)
    events = list(store.read(done["name"]))
    assert [event.type for event in events] == [
        *BEGUN,
        "TOOL_END",
        "AGENT_END",
        "AGENT_INVOCATION_SUCCEEDED",
        "AGENT_BACKGROUND_TASK_COMPLETED",
        "SESSION_COMPLETED",
    ]
    first, last = events[0], events[-1]
    assert first.details == {"execution": done["executionArn"], "input": {"question": "Is it open?"}}
    assert len(first.event_id) == 32
    assert events[-2].details["output"] == "Is it open? Yes, says 1 page."
    assert last.key > events[-2].key
    head = head_of(fold(events), done["name"])
    assert (head.status, head.agent, head.steps) == (COMPLETED, "helper", 2)
    store.close()


def test_failed(world: World, tmp_path: Path) -> None:
    """What the agent raised is the execution's cause, the session's error, and what the tool failed with."""
    function = Function(world.table, world.endpoint, tmp_path)
    done = world.run(function, question="What is the price?", poll_seconds=1)
    assert (done["status"], done["error"], done["cause"]) == (
        "FAILED",
        "AgentFailed",
        "the price list does not answer",
    )
    assert [result.returncode for result in function.results] == [1]  # Lambda counts an error
    assert "ConnectionError: the price list does not answer" in function.results[0].stderr

    store = DynamoDBStore(world.url)
    events = list(store.read(done["name"]))
    assert [event.type for event in events] == [
        *BEGUN,
        "TOOL_ERROR",
        "AGENT_ERROR",
        "AGENT_INVOCATION_FAILED",
        "AGENT_BACKGROUND_TASK_FAILED",
        "SESSION_FAILED",
    ]
    last = events[-1].error
    assert last is not None
    assert (last.type, last.message) == ("AgentFailed", "the price list does not answer")
    assert head_of(fold(events), done["name"]).status == ERROR
    store.close()


def test_bad_input(world: World, tmp_path: Path) -> None:
    """An input that the agent cannot read is journaled and fails the session, as whatever else goes wrong in it."""
    function = Function(world.table, world.endpoint, tmp_path)
    done = world.run(function, given={}, poll_seconds=1)
    assert (done["status"], done["error"], done["cause"]) == ("FAILED", "AgentFailed", "'question'"), function.results
    assert [event["Status"] for event in world.events(done["name"])] == [
        *BEGUN[:4],
        "AGENT_INVOCATION_FAILED",
        "AGENT_BACKGROUND_TASK_FAILED",
        "SESSION_FAILED",
    ]


def test_killed(world: World, tmp_path: Path) -> None:
    """Of an agent that is killed, by Lambda's time or memory limit, the table has all up to the step it died in."""
    function = Function(world.table, world.endpoint, tmp_path, "import os; agent.search = lambda query: os._exit(9)")
    done = world.run(function, max_looks=1, waits=True)
    assert (done["status"], done["error"]) == ("FAILED", "AgentNeverEnded")
    assert [event["Status"] for event in world.events(done["name"])] == [*BEGUN, "SESSION_FAILED"]
