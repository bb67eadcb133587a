"""Alerts to Amazon SNS and EventBridge: each a message of `otel_agent_journal.alerts`, sent once by a call.

Credentials are botocore's: variables, a profile, the machine's role. A FIFO topic is given the message's id, so that
what is sent again within five minutes comes once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.alerts.fields import Table
from otel_agent_journal.alerts.message import Message, payload
from otel_agent_journal.alerts.receivers import http_url, timeout_of
from otel_agent_journal.errors import JournalError
from otel_agent_journal.webhooks import NotSent
from otel_agent_journal_aws.failures import Refusal
from otel_agent_journal_aws.place import Place
from otel_agent_journal_aws.service import Service

ATTEMPTS: Final = 1  # of one message: one that was taken unheard must not be sent twice here
SOURCE: Final = "otel-agent-journal"
DETAIL_TYPE: Final = "Agent Journal Alert"
MAX_SUBJECT: Final = 99  # characters; SNS takes fewer than 100, of ASCII, on one line
_TOPIC: Final = re.compile(r"arn:aws[\w-]*:sns:([a-z0-9-]*):\d{0,12}:([\w-]+(?:\.fifo)?)")
_BUS: Final = re.compile(r"[\w.,/:-]{1,1600}", re.ASCII)


class Topic:
    """A topic of SNS."""

    def __init__(self, arn: str, service: Service[Place]) -> None:
        self._arn = arn
        self._service = service

    @property
    def shown(self) -> str:
        """Its ARN."""
        return self._arn

    def send(self, message: Message) -> None:
        """Publish a message, once. Raises JournalError."""
        subject = f"{message.title}".encode("ascii", "replace").decode("ascii")[:MAX_SUBJECT]
        said: dict[str, Any] = {
            "TopicArn": self._arn,
            "Subject": subject,
            "Message": msgspec.json.encode(payload(message)).decode("utf-8"),
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value}
                for name, value in (("state", message.state), ("severity", message.severity), ("rule", message.rule))
            },
        }
        if self._arn.endswith(".fifo"):
            said |= {"MessageGroupId": message.alert_id, "MessageDeduplicationId": message.message_id}
        _ask(self._service, f"publish to {self._arn}", lambda client: client.publish(**said))


class Bus:
    """An event bus of EventBridge."""

    def __init__(self, name: str, service: Service[Place]) -> None:
        self._name = name
        self._service = service

    @property
    def shown(self) -> str:
        """Its name."""
        return self._name

    def send(self, message: Message) -> None:
        """Put a message as an event, once. Raises JournalError."""
        detail = {**payload(message)["data"], "message_id": message.message_id}
        entry = {
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Detail": msgspec.json.encode(detail).decode("utf-8"),
            "EventBusName": self._name,
        }
        answer = _ask(self._service, f"put on {self._name}", lambda client: client.put_events(Entries=[entry]))
        if answer["FailedEntryCount"]:  # answered with 200 nevertheless
            failed = answer["Entries"][0]
            raise NotSent(f"{failed.get('ErrorCode')}: {failed.get('ErrorMessage')}")


def open_sns(table: Table, environ: Mapping[str, str]) -> Topic:
    """Return a topic from its table. Raises ConfigError."""
    arn = table.text("topic_arn")
    match = _TOPIC.fullmatch(arn)
    if match is None:
        what_next = 'an ARN is expected, as in topic_arn = "arn:aws:sns:eu-west-1:123456789012:alerts"'
        raise table.wrong("topic_arn", what_next)
    return Topic(arn, _service(table, "sns", arn, match[1] or None))


def open_eventbridge(table: Table, environ: Mapping[str, str]) -> Bus:
    """Return an event bus from its table. Raises ConfigError."""
    name = table.text("bus", "default")
    if not _BUS.fullmatch(name):
        raise table.wrong("bus", 'the name or the ARN of an event bus is expected, as in bus = "ops"')
    return Bus(name, _service(table, "events", name, None))


def _ask(service: Service[Place], what: str, work: Callable[[Any], Any]) -> Any:
    try:
        return service.ask(what, work, attempts=ATTEMPTS)
    except (Refusal, JournalError) as error:
        raise NotSent(str(error).removeprefix(f"store {service.place.url}: ")) from error


def _service(table: Table, name: str, shown: str, region: str | None) -> Service[Place]:
    endpoint = http_url(table, "endpoint_url", table.text("endpoint_url")) if table.has("endpoint_url") else None
    place = Place(
        url=shown,
        region=table.text("region") or region,
        endpoint_url=endpoint,
        profile=table.text("profile") or None,
        timeout_s=timeout_of(table),
    )
    return Service(place, name, endpoint)
