"""Alerts to SNS and EventBridge, on moto's real server."""

from __future__ import annotations

import json
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
import pytest

from otel_agent_journal.alerts.fields import Table
from otel_agent_journal.alerts.message import Message, payload
from otel_agent_journal.alerts.receivers import EXPORTERS, GROUP, Receiver
from otel_agent_journal.errors import ConfigError, JournalError
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal_aws.alerts import open_eventbridge, open_sns
from scripts.ports import reserved_port
from tests.real.servers import Moto

MESSAGE = Message(
    message_id="m1",
    alert_id="a1",
    rule="spend",
    state="firing",
    severity="critical",
    summary="京都: too much",
    labels={"agent": "a"},
    values={"usd": 20.5},
    began_ns=EPOCH_2026_NS,
    at_ns=EPOCH_2026_NS,
    store="memory:",
)


def table(**said: Any) -> Table:
    return Table(Path("alerts.toml"), "", "[receiver.t]", 0, "receiver 't'", said)


def queue_of(moto: Moto, name: str, **attributes: str) -> tuple[Any, str, str]:
    """Return a client of SQS, and URL and ARN of a new queue."""
    sqs: Any = boto3.client("sqs", endpoint_url=moto.endpoint, region_name="us-east-1")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return sqs, url, arn


def received(sqs: Any, url: str) -> list[Any]:
    return [
        json.loads(one["Body"]) for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    ]


@pytest.mark.real
@pytest.mark.parametrize("fifo", [False, True])
def test_a_topic(moto_server: Moto, aws: None, fifo: bool) -> None:
    """A message is published with its JSON and attributes; on a FIFO topic what is sent again comes once."""
    name = uuid.uuid4().hex + (".fifo" if fifo else "")
    more = {"FifoQueue": "true"} if fifo else {}
    sqs, url, arn = queue_of(moto_server, name, **more)
    sns: Any = boto3.client("sns", endpoint_url=moto_server.endpoint, region_name="us-east-1")
    topic = sns.create_topic(Name=name, Attributes={"FifoTopic": "true"} if fifo else {})["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    receiver = open_sns(table(topic_arn=topic, endpoint_url=moto_server.endpoint), {})
    receiver.send(MESSAGE)
    receiver.send(MESSAGE)
    found = received(sqs, url)
    assert len(found) == (1 if fifo else 2)
    assert json.loads(found[0]["Message"]) == payload(MESSAGE)
    assert found[0]["Subject"] == "FIRING critical: spend"
    assert found[0]["MessageAttributes"]["severity"]["Value"] == "critical"
    assert receiver.shown == topic


@pytest.mark.real
def test_a_topic_that_is_gone(moto_server: Moto, aws: None) -> None:
    """A message that the service refuses was not taken, and its error says why."""
    arn = "arn:aws:sns:us-east-1:123456789012:gone"
    with pytest.raises(JournalError, match=r"(?s)gone"):
        open_sns(table(topic_arn=arn, endpoint_url=moto_server.endpoint), {}).send(MESSAGE)


@pytest.mark.real
def test_a_bus(moto_server: Moto, aws: None) -> None:
    """An event is put with source and detail type, which rules of EventBridge go by."""
    name = uuid.uuid4().hex
    sqs, url, arn = queue_of(moto_server, name)
    events: Any = boto3.client("events", endpoint_url=moto_server.endpoint, region_name="us-east-1")
    events.create_event_bus(Name=name)
    pattern = json.dumps({"source": ["otel-agent-journal"], "detail": {"severity": ["critical"]}})
    events.put_rule(Name=name, EventBusName=name, EventPattern=pattern)
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])
    said = table(bus=name, region="us-east-1", endpoint_url=moto_server.endpoint)
    open_eventbridge(said, {}).send(MESSAGE)
    (found,) = received(sqs, url)
    assert found["detail-type"] == "Agent Journal Alert"
    assert found["detail"] == {**payload(MESSAGE)["data"], "message_id": "m1"}


@pytest.mark.parametrize("opener", [open_sns, open_eventbridge])
def test_nobody_is_there(aws: None, opener: Any) -> None:
    """A service that cannot be reached is an error within its time."""
    more = {"topic_arn": "arn:aws:sns:us-east-1:123456789012:t"} if opener is open_sns else {"region": "us-east-1"}
    said = table(endpoint_url=f"http://127.0.0.1:{reserved_port()}", timeout="2s", **more)
    receiver: Receiver = opener(said, {})
    with pytest.raises(JournalError, match=r"^p\w+ .*: nothing answers there"):
        receiver.send(MESSAGE)


def test_what_is_malformed_is_said() -> None:
    """An ARN or a bus that is none is an error of the file."""
    with pytest.raises(ConfigError, match="topic_arn is missing; an ARN is expected"):
        open_sns(table(), {})
    with pytest.raises(ConfigError, match="topic_arn is 'alerts'"):
        open_sns(table(topic_arn="alerts"), {})
    with pytest.raises(ConfigError, match="bus is 'a b'"):
        open_eventbridge(table(bus="a b"), {})


def test_entry_points() -> None:
    """The distribution's entry points are the kinds that the core knows of, and lead somewhere."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    points = project["entry-points"][GROUP]
    assert points.keys() == EXPORTERS.keys()
    for place in points.values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))
