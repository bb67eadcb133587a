"""The workflow of `examples/aws`, executed: it journals, starts the agent, waits for its ending and branches.

The agent here is a program of another language, as far as the journal knows: it puts plain items. That of the example
itself is `test_agent.py`'s.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.examples_aws import stack
from tests.examples_aws.conftest import World
from tests.examples_aws.gateway import Agent, Fault

pytestmark = pytest.mark.real

THROTTLED = Fault("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException")
BUSY = Fault("TooManyRequestsException", 429, "Rate Exceeded.")
DENIED = Fault("com.amazon.coral.service#AccessDeniedException", message="not authorized to perform: dynamodb:Query")


def says(world: World, *types: str, **attributes: str) -> Agent:
    """Return an agent that journals events of these types, the last with these attributes."""

    def agent(payload: dict[str, Any]) -> None:
        for event_type in types:
            timestamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
            item = {
                "PK": f"SESSION#{payload['session_id']}",
                "SK": f"EVENT#{timestamp}#{uuid.uuid4().hex}",
                "Status": event_type,
                "Timestamp": timestamp,
                **(attributes if event_type == types[-1] else {}),
            }
            world.dynamodb.put_item(TableName=world.table, Item={name: {"S": value} for name, value in item.items()})

    return agent


def types(world: World, execution: dict[str, Any]) -> list[str]:
    """Return the types of the events of an execution's session."""
    return [event["Status"] for event in world.events(execution["name"])]


def test_completed(world: World) -> None:
    """It records that the session began, starts the agent, finds its ending, and records that the session is done."""
    agent = says(world, "AGENT_BACKGROUND_TASK_STARTED", "AGENT_BACKGROUND_TASK_COMPLETED")
    done = world.run(agent)
    assert done["status"] == "SUCCEEDED", done
    assert types(world, done) == [
        "SESSION_INITIATED",
        "AGENT_BACKGROUND_TASK_STARTED",
        "AGENT_BACKGROUND_TASK_COMPLETED",
        "SESSION_COMPLETED",
    ]
    returned = json.loads(done["output"])
    ending = world.events(done["name"])[2]
    assert returned["session_id"] == done["name"]
    assert (returned["ending"], returned["ended_at"]) == ("AGENT_BACKGROUND_TASK_COMPLETED", ending["Timestamp"])


def test_item(world: World) -> None:
    """What it records has the form of the journal: keys, status, time, ids, and what the workflow was asked."""
    done = world.run(says(world, "AGENT_BACKGROUND_TASK_COMPLETED"), question="Is it open?")
    first, *_, last = world.events(done["name"])
    assert first["PK"] == f"SESSION#{done['name']}"
    assert first["SK"] == f"EVENT#{first['Timestamp']}#{first['EventId']}"
    assert re.fullmatch(r"[0-9a-f]{32}", first["EventId"])
    assert (first["SessionId"], first["Level"], first["SchemaVersion"]) == (done["name"], "INFO", "1")
    details = json.loads(first["Details"])
    assert details == {"execution": done["executionArn"], "input": {"question": "Is it open?"}}
    assert first["EventId"] != last["EventId"]


@pytest.mark.parametrize(
    ("entered", "stamped"),
    [
        ("2026-01-31T12:00:00.120Z", "2026-01-31T12:00:00.120000000Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000000Z"),
    ],
)
def test_nine_digits(world: World, entered: str, stamped: str) -> None:
    """A timestamp has nine digits: AWS's times have three, or none where they are zero."""
    states = json.loads(stack.WORKFLOW.read_text())["States"]
    parameters = json.dumps(states["StampInitiated"]["Parameters"]).replace("$$.State.EnteredTime", "$.entered")
    machine = {
        "StartAt": "Stamp",
        "States": {"Stamp": {"Type": "Pass", "Parameters": json.loads(parameters), "End": True}},
    }
    done = world.execute(json.dumps(machine), {"entered": entered})
    assert json.loads(done["output"])["timestamp"] == stamped


def test_payload(world: World) -> None:
    """The agent is told the session and what was asked; it is started once, and nobody waits for its response."""
    told: list[dict[str, Any]] = []
    done = world.run(told.append, question="Is it open?", max_looks=1)
    assert told == [{"session_id": done["name"], "input": {"question": "Is it open?"}}]
    invoke = json.loads(stack.WORKFLOW.read_text())["States"]["InvokeAgent"]
    assert invoke["Parameters"]["InvocationType"] == "Event"


def test_failed(world: World) -> None:
    """An agent that failed fails the execution and the session, with the agent's own words."""
    agent = says(world, "AGENT_BACKGROUND_TASK_FAILED", ErrorMessage="the price list does not answer")
    done = world.run(agent)
    assert (done["status"], done["error"], done["cause"]) == (
        "FAILED",
        "AgentFailed",
        "the price list does not answer",
    )
    failed = world.events(done["name"])[-1]
    assert (failed["Status"], failed["Level"], failed["ErrorType"], failed["ErrorMessage"]) == (
        "SESSION_FAILED",
        "ERROR",
        "AgentFailed",
        "the price list does not answer",
    )


def test_failed_without_a_word(world: World) -> None:
    """An agent that failed and does not say why fails the session as well."""
    done = world.run(says(world, "AGENT_BACKGROUND_TASK_FAILED"))
    assert (done["status"], done["error"]) == ("FAILED", "AgentFailed")
    assert world.events(done["name"])[-1]["ErrorMessage"] == "AGENT_BACKGROUND_TASK_FAILED, which does not say why"


def test_latest_ending(world: World) -> None:
    """Of two endings the later counts, as where Lambda has started an agent twice; megabytes before it hide it not."""

    def agent(payload: dict[str, Any]) -> None:
        for _ in range(4):
            says(world, "CHUNK", Details="x" * 350_000)(payload)
        says(world, "AGENT_BACKGROUND_TASK_FAILED", "AGENT_BACKGROUND_TASK_COMPLETED")(payload)

    done = world.run(agent, max_looks=1, waits=True)
    assert done["status"] == "SUCCEEDED", done


def test_name_of_an_earlier_execution(world: World) -> None:
    """An execution whose name was free again waits for its own agent's ending, not for that of the earlier one."""
    ends = says(world, "AGENT_BACKGROUND_TASK_COMPLETED")
    first = world.run(ends)
    still = world.run(says(world, "AGENT_BACKGROUND_TASK_STARTED"), max_looks=2, waits=True, name=first["name"])
    assert (still["status"], still["error"]) == ("FAILED", "AgentNeverEnded")
    again = world.run(ends, name=first["name"])
    assert again["status"] == "SUCCEEDED", again
    endings = [event for event in world.events(first["name"]) if event["Status"] == "AGENT_BACKGROUND_TASK_COMPLETED"]
    assert [json.loads(done["output"])["ended_at"] for done in (first, again)] == [
        event["Timestamp"] for event in endings
    ]


def test_never_ends(world: World) -> None:
    """An agent that never ends is given up after as many looks as were allowed; the session says so."""
    done = world.run(says(world, "AGENT_BACKGROUND_TASK_STARTED"), max_looks=3, waits=True)
    assert (done["status"], done["error"]) == ("FAILED", "AgentNeverEnded")
    assert world.gateway.calls["Query"] == 3
    assert types(world, done) == ["SESSION_INITIATED", "AGENT_BACKGROUND_TASK_STARTED", "SESSION_FAILED"]
    assert world.events(done["name"])[-1]["ErrorMessage"] == (
        "neither AGENT_BACKGROUND_TASK_COMPLETED nor AGENT_BACKGROUND_TASK_FAILED in 3 looks, 0 s apart"
    )


def test_waits(world: World) -> None:
    """Between two looks it waits for as long as it was told."""
    done = world.run(lambda payload: None, max_looks=2, poll_seconds=1)
    history = world.states.get_execution_history(executionArn=done["executionArn"], maxResults=1000)["events"]
    waits = [event for event in history if event["type"].startswith("WaitState")]
    lengths = [(left["timestamp"] - entered["timestamp"]).total_seconds() for entered, left in pairwise(waits)][::2]
    assert len(lengths) == 2
    assert min(lengths) >= 0.99


def test_throttled(world: World) -> None:
    """Throttled calls are made again, and an event that was put twice is one event."""
    done = world.run(
        says(world, "AGENT_BACKGROUND_TASK_COMPLETED"),
        faults={"PutItem": [THROTTLED, THROTTLED], "Query": [THROTTLED], "Invoke": [BUSY]},
    )
    assert done["status"] == "SUCCEEDED", done
    assert types(world, done) == ["SESSION_INITIATED", "AGENT_BACKGROUND_TASK_COMPLETED", "SESSION_COMPLETED"]
    puts = [asked["Item"]["SK"]["S"] for call, asked in world.gateway.requests if call == "PutItem"]
    assert len(puts) == 4
    assert len(set(puts)) == 2
    assert world.gateway.calls["Invoke"] == 2


def test_refused(world: World) -> None:
    """What does not pass by waiting fails the session at once: a look that is denied, an agent that is not there."""
    done = world.run(says(world, "AGENT_BACKGROUND_TASK_COMPLETED"), faults={"Query": [DENIED]})
    assert done["status"] == "FAILED"
    assert world.gateway.calls["Query"] == 1
    failed = world.events(done["name"])[-1]
    assert failed["Status"] == "SESSION_FAILED"
    assert "not authorized to perform: dynamodb:Query" in failed["ErrorMessage"]

    missing = Fault("ResourceNotFoundException", 404, "Function not found: journal-agent")
    done = world.run(lambda payload: None, faults={"Invoke": [missing]})
    failed = world.events(done["name"])[-1]
    assert (done["status"], done["error"]) == ("FAILED", "Lambda.ResourceNotFoundException")
    assert failed["ErrorType"] == "Lambda.ResourceNotFoundException"
    assert "Function not found" in failed["ErrorMessage"]


def test_nothing_recorded(world: World) -> None:
    """Where nothing can be journaled the agent is not started, and the execution itself says why."""
    done = world.run(lambda payload: None, faults={"PutItem": [DENIED] * 2})
    assert done["status"] == "FAILED"
    assert "not authorized" in done["cause"]
    assert world.gateway.calls["Invoke"] == 0
    assert world.events(done["name"]) == []


def test_done_all_the_same(world: World) -> None:
    """An agent's work is not undone by a journal that does not take the workflow's last event."""
    agent = says(world, "AGENT_BACKGROUND_TASK_COMPLETED")
    done = world.run(agent, faults={"PutItem": [None, DENIED]})
    assert done["status"] == "SUCCEEDED", done
    assert types(world, done) == ["SESSION_INITIATED", "AGENT_BACKGROUND_TASK_COMPLETED"]
