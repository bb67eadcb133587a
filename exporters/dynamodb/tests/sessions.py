"""A session that ends, and what may become of who writes it."""

from __future__ import annotations

import time
from typing import NoReturn

import pytest

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import an_event
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal_dynamodb import DynamoDBStore, marks

LIMIT_NS = EPOCH_2026_NS + 10**12


def told(*, step: str = "root", at_ns: int = 0) -> list[JournalEvent]:
    """Return an agent's start and end."""
    fields = {"step_id": step, "attempt": 1, "writer": "w1", "name": "agent"}
    start_ns = EPOCH_2026_NS + at_ns
    return [
        an_event(event_id=f"{step}-start", type="AGENT_START", timestamp_ns=start_ns, **fields),
        an_event(event_id=f"{step}-end", type="AGENT_END", timestamp_ns=start_ns + 5, outcome="ok", **fields),
    ]


def settled(store: DynamoDBStore) -> SessionHead:
    """Write the head that the session's events amount to."""
    written = store.write_head(judged(store))
    assert written is not None
    return written


def judged(store: DynamoDBStore) -> SessionHead:
    head = current(store, "s1")
    assert head is not None
    return head


def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all marks that are there be of holders that have vanished."""
    now = time.time
    monkeypatch.setattr(marks.time, "time", lambda: now() + marks.VANISHED_S + 60)


def cut_off(*_: object) -> NoReturn:
    raise StoreUnreachable("cut off")
