"""Alerts as data: what `agent-journal alerts` and the server say of them. The keys are a contract (docs/json.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_agent_journal.alerts.state import Alert
from otel_agent_journal.codec import format_timestamp

KEYS: Final = (
    "rule",
    "state",
    "severity",
    "labels",
    "summary",
    "values",
    "why",
    "began_at",
    "changed_at",
    "unsent",
)


def record(alert: Alert) -> Mapping[str, Any]:
    """Return an alert as data."""
    return {
        "rule": alert.rule,
        "state": alert.state,
        "severity": alert.severity,
        "labels": dict(alert.labels),
        "summary": alert.summary,
        "values": dict(alert.values),
        "why": alert.why,
        "began_at": format_timestamp(alert.began_ns),
        "changed_at": format_timestamp(alert.changed_ns),
        "unsent": [
            {
                "receiver": one.receiver,
                "state": one.state,
                "attempts": one.attempts,
                "next_at": format_timestamp(one.next_ns) if one.next_ns else None,
                "last_error": one.last_error,
            }
            for one in alert.owed
        ],
    }
