"""The workflow's world: moto's state machine, a real DynamoDB behind it, the template's table in that."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import boto3
import pytest

from tests.examples_aws import stack
from tests.examples_aws.gateway import Agent, Fault, Gateway
from tests.real.fixtures import server_program
from tests.real.servers import AWS, Moto, Server, running

EMPTY: Final[Mapping[str, Any]] = {}
EXECUTION_S: Final = 60  # no execution takes a third of it
_KEYS: Final = {"aws_access_key_id": AWS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": AWS["AWS_SECRET_ACCESS_KEY"]}


def client(service: str, endpoint: str) -> Any:
    """Return a client of a local server."""
    return boto3.client(service, region_name=stack.REGION, endpoint_url=endpoint, **_KEYS)


class _Interpreter(Moto):
    """moto, whose state machines call the services at the gateway."""

    gateway: Gateway

    def environ(self) -> dict[str, str]:
        """Return where that is; moto names it by its own port."""
        return {**super().environ(), "MOTO_PORT": str(self.gateway.port)}


class World:
    """The deployed example. `run` executes the workflow, `events` are what the journal's table then has."""

    def __init__(self, gateway: Gateway, states: Any, dynamodb: Any, endpoint: str) -> None:
        self.gateway = gateway
        self.states = states
        self.dynamodb = dynamodb
        self.endpoint = endpoint
        self.table = f"journal-{uuid.uuid4().hex}"
        asked = stack.properties("JournalTable", TableName=self.table)
        self.dynamodb.create_table(
            **{name: value for name, value in asked.items() if not name.endswith("Specification")}
        )

    @property
    def url(self) -> str:
        """The store's URL."""
        return f"dynamodb://{self.table}?region={stack.REGION}&endpoint_url={self.endpoint}"

    def run(
        self,
        agent: Agent,
        *,
        question: str = "Is it open?",
        max_looks: int = 60,
        poll_seconds: int = 0,
        faults: Mapping[str, Sequence[Fault | None]] = EMPTY,
        waits: bool = False,
        given: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Execute the workflow to its end and return the execution; its name is the session's id.

        With `waits` the agent is done before the workflow looks for the first time. `given` is its input, in place of
        the question.
        """
        self.gateway.reset(agent, waits=waits)
        for call, answers in faults.items():
            self.gateway.fail(call, *answers)
        definition = stack.definition(
            TableName=self.table,
            AgentFunctionArn=f"arn:aws:lambda:{stack.REGION}:{stack.ACCOUNT}:function:journal-agent",
            PollSeconds=poll_seconds,
            MaxLooks=max_looks,
        )
        return self.execute(definition, {"question": question} if given is None else given, name)

    def execute(self, definition: str, given: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
        """Execute a definition to its end and return the execution."""
        role = f"arn:aws:iam::{stack.ACCOUNT}:role/workflow"
        made = self.states.create_state_machine(name=f"w-{uuid.uuid4().hex}", definition=definition, roleArn=role)
        started = self.states.start_execution(
            stateMachineArn=made["stateMachineArn"],
            name=name or f"ticket-{uuid.uuid4().hex}",
            input=json.dumps(given),
        )
        until = time.monotonic() + EXECUTION_S
        while time.monotonic() < until:
            execution = self.states.describe_execution(executionArn=started["executionArn"])
            if execution["status"] != "RUNNING":
                self.gateway.join_agents()
                return execution
            time.sleep(0.05)
        pytest.fail(f"the execution goes on after {EXECUTION_S} s")

    def events(self, session_id: str) -> list[dict[str, Any]]:
        """Return the items of a session's events as they are in the table, in their order."""
        found = self.dynamodb.query(
            TableName=self.table,
            KeyConditionExpression="PK = :session AND begins_with(SK, :events)",
            ExpressionAttributeValues={":session": {"S": f"SESSION#{session_id}"}, ":events": {"S": "EVENT#"}},
            ConsistentRead=True,
        )
        return [{name: next(iter(value.values())) for name, value in item.items()} for item in found["Items"]]


@pytest.fixture(scope="session")
def world(dynamodb_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The example, deployed."""
    with Gateway(dynamodb_server.endpoint) as gateway:
        interpreter = _Interpreter(server_program("moto"), tmp_path_factory.mktemp("interpreter"))
        interpreter.gateway = gateway
        with running(interpreter):
            interpreter.configure({"stepfunctions": {"execute_state_machine": True}})
            states = client("stepfunctions", interpreter.endpoint)
            dynamodb = client("dynamodb", dynamodb_server.endpoint)
            yield World(gateway, states, dynamodb, dynamodb_server.endpoint)
