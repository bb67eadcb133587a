"""What is known of alerts, in the journal's own store: a document each while it matters, and events as history.

A document is replaced only over the version that was seen, so of two watchers one moves an alert on. History is a
session a day, `_alerts-2026-12-02`, so that a prune takes the old ones; readers leave it out of listings. An event's id
and time come from the alert alone: written twice it is there once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.alerts.rules import NS_PER_S
from otel_agent_journal.alerts.state import FIRING, PENDING, RESOLVED, Alert, Owed
from otel_agent_journal.codec import sealed
from otel_agent_journal.errors import NewerSchema, UnsupportedByStore
from otel_agent_journal.event import (
    ALERT_FIRING,
    ALERT_RESOLVED,
    ALERT_UNSENT,
    SESSION_COMPLETED,
    JournalEvent,
    derived_id,
)
from otel_agent_journal.reading.own_sessions import ALERTS
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore
from otel_agent_journal.store.rules import current

SCOPE: Final = "alerts"
AGENT: Final = "alerts"  # as whose the sessions of history are listed
FORMAT: Final = 1  # of a document
WRITER: Final = derived_id("otel-agent-journal:alerts")
_TYPES: Final = {FIRING: ALERT_FIRING, RESOLVED: ALERT_RESOLVED}
_ORDER: Final = {FIRING: 0, PENDING: 1, RESOLVED: 2}


class _Kept(msgspec.Struct, frozen=True):
    format: int
    alert: Alert


class _Format(msgspec.Struct, frozen=True):
    format: int


class Book:
    """The alerts of a store. As thread-safe as the store is.

    Raises:
        UnsupportedByStore: the store keeps no documents, or cannot be read.
    """

    def __init__(self, store: JournalStore) -> None:
        can = store.capabilities
        if not keeps_alerts(store) or not isinstance(store, DocumentStore):
            raise UnsupportedByStore(
                store.url, "documents" if can.read else "read", "watch the store that the events come to"
            )
        self._store = store
        self._documents = cast("DocumentStore", store)

    def alerts(self) -> dict[str, Alert]:
        """Return what is known, by the ids of alerts; costs what there is of them."""
        found = (_read(document) for document in self._documents.documents(SCOPE))
        return {alert.alert_id: alert for alert in found}

    def get(self, alert_id: str) -> Alert | None:
        """Return one alert, None where nothing is known of it."""
        document = self._documents.get_document(SCOPE, alert_id)
        return None if document is None else _read(document)

    def put(self, alert: Alert) -> Alert | None:
        """Write an alert over the version that it has; None where another was first."""
        data = msgspec.json.encode(_Kept(FORMAT, msgspec.structs.replace(alert, version=0)))
        document = Document(scope=SCOPE, name=alert.alert_id, data=data, version=alert.version)
        written = self._documents.put_document(document)
        return None if written is None else msgspec.structs.replace(alert, version=written.version)

    def forget(self, alert: Alert) -> bool:
        """Delete what is known of an alert, if nobody has changed it since."""
        return self._documents.delete_document(SCOPE, alert.alert_id, alert.version)

    def record(self, alert: Alert) -> None:
        """Write the state of an alert into history, if it has a place there. Durable when it returns; idempotent."""
        kind = _TYPES.get(alert.state)
        if kind is not None:
            self._append(_event(kind, alert, alert.changed_ns, alert.state, _said(alert)))

    def record_unsent(self, alert: Alert, owed: Owed, why: str, at_ns: int) -> None:
        """Write into history that a message was given up, and why."""
        said = {**_said(alert), "receiver": owed.receiver, "state": owed.state, "why": why, "attempts": owed.attempts}
        key = f"unsent:{owed.receiver}:{owed.state}:{owed.at_ns}"
        self._append(_event(ALERT_UNSENT, alert, at_ns, key, said))

    def _append(self, event: JournalEvent) -> None:
        self._store.append([_opening(event), event])
        if self._store.capabilities.heads:
            head = current(self._store, event.session_id)
            if head is not None:
                self._store.write_head(head)  # where another was first, it has folded what there was


def listed(alerts: Iterable[Alert]) -> Iterator[Alert]:
    """Yield alerts in the order to show them: what fires first, the longest first."""
    yield from sorted(alerts, key=lambda one: (_ORDER.get(one.state, 3), one.began_ns, one.rule, one.alert_id))


def keeps_alerts(store: JournalStore) -> bool:
    """Tell whether a store can have alerts."""
    can = store.capabilities
    return can.documents and can.read and isinstance(store, DocumentStore)


def firing(store: JournalStore) -> list[Alert]:
    """Return what fires now, the longest first; costs what there is of alerts.

    Raises:
        UnsupportedByStore: the store keeps no documents.
        StoreUnreachable: and other errors of the store.
    """
    return [one for one in listed(Book(store).alerts().values()) if one.state == FIRING]


def session_of(at_ns: int) -> str:
    """Return the session of history that a time falls into."""
    return f"{ALERTS}{datetime.fromtimestamp(at_ns // NS_PER_S, tz=UTC):%Y-%m-%d}"


def _read(document: Document) -> Alert:
    found = msgspec.json.decode(document.data, type=_Format)
    if found.format > FORMAT:
        raise NewerSchema(f"alert {document.name}", found.format, FORMAT)
    return msgspec.structs.replace(msgspec.json.decode(document.data, type=_Kept).alert, version=document.version)


def _said(alert: Alert) -> dict[str, Any]:
    said: dict[str, Any] = {
        "alert": alert.alert_id,
        "severity": alert.severity,
        "summary": alert.summary,
        "labels": dict(alert.labels),
        "values": dict(alert.values),
        "began_ns": alert.began_ns,
    }
    return said if alert.why is None else {**said, "why": alert.why}


def _event(kind: str, alert: Alert, at_ns: int, key: str, details: dict[str, Any]) -> JournalEvent:
    """Return an event of history. Its level is INFO, so that no rule that looks for errors finds its own alert."""
    return sealed(
        JournalEvent(
            session_id=session_of(at_ns),
            event_id=derived_id(f"{alert.alert_id}:{alert.began_ns}:{key}:{at_ns}"),
            type=kind,
            timestamp_ns=at_ns,
            name=alert.rule,
            writer=WRITER,
            details=details,
        )
    )


def _opening(event: JournalEvent) -> JournalEvent:
    """Return the first event of a day's history: it names whose it is, and nothing in it is under way."""
    day = datetime.fromtimestamp(event.timestamp_ns // NS_PER_S, tz=UTC).replace(hour=0, minute=0, second=0)
    return sealed(
        JournalEvent(
            session_id=event.session_id,
            event_id=derived_id(f"{event.session_id}:opened"),
            type=SESSION_COMPLETED,
            timestamp_ns=int(day.timestamp()) * NS_PER_S,
            writer=WRITER,
            details={"agent": AGENT},
        )
    )
