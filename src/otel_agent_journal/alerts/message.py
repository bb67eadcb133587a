"""What a receiver is sent: that an alert fires, or is over. Pure.

A receiver may be sent a message more than once; its id stays the same then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from otel_agent_journal.alerts.state import FIRING, Alert, Owed, message_id
from otel_agent_journal.codec import format_timestamp


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `state` is firing or resolved; times are UTC nanoseconds; `store` is masked."""

    message_id: str
    alert_id: str
    rule: str
    state: str
    severity: str
    summary: str
    labels: Mapping[str, str]
    values: Mapping[str, Any]
    began_ns: int
    at_ns: int
    store: str

    @property
    def title(self) -> str:
        """What it is about, in a few words."""
        return f"{self.state.upper()} {self.severity}: {self.rule}"


def message_of(alert: Alert, owed: Owed, store: str) -> Message:
    """Return what a receiver is to be sent of an alert."""
    return Message(
        message_id=message_id(alert, owed),
        alert_id=alert.alert_id,
        rule=alert.rule,
        state=owed.state,
        severity=alert.severity,
        summary=owed.summary,
        labels=alert.labels,
        values=owed.values,
        began_ns=owed.began_ns,
        at_ns=owed.at_ns,
        store=store,
    )


def payload(message: Message) -> dict[str, Any]:
    """Return a message as JSON, in the form of Standard Webhooks: `type`, `timestamp`, `data`."""
    return {
        "type": f"alert.{message.state}",
        "timestamp": format_timestamp(message.at_ns),
        "data": {
            "alert": message.alert_id,
            "rule": message.rule,
            "state": message.state,
            "severity": message.severity,
            "summary": message.summary,
            "labels": dict(message.labels),
            "values": dict(message.values),
            "began_at": format_timestamp(message.began_ns),
            "store": message.store,
        },
    }


def is_firing(message: Message) -> bool:
    """Tell whether a message says that something is wrong, and not that it is over."""
    return message.state == FIRING
