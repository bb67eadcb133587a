"""The event that gave a session its status: found in the store by when the head says that it ended."""

from __future__ import annotations

from typing import Final

from otel_agent_journal.event import (
    AGENT_INVOCATION_FAILED,
    AGENT_INVOCATION_SUCCEEDED,
    END_TYPES,
    SESSION_COMPLETED,
    SESSION_FAILED,
    SESSION_INTERRUPTED,
    JournalEvent,
)
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore

INVOCATION_ENDINGS: Final = frozenset((AGENT_INVOCATION_SUCCEEDED, AGENT_INVOCATION_FAILED))
_DECIDING: Final = END_TYPES | INVOCATION_ENDINGS | {SESSION_COMPLETED, SESSION_FAILED, SESSION_INTERRUPTED}
_AFTER_ANY_ID: Final = "~"  # sorts after every event id


def deciding_event(store: JournalStore, head: SessionHead) -> JournalEvent | None:
    """Return the event that decided a session's status, or None where it goes on, or silence alone decided.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    if head.ended_ns is None or not store.capabilities.read:
        return None
    found: JournalEvent | None = None
    for event in read_whole(store, head.session_id, (head.ended_ns - 1, _AFTER_ANY_ID), head=head):
        if event.timestamp_ns > head.ended_ns:
            break
        if event.type in _DECIDING and (found is None or event.parent_step_id is None):
            found = event
    return found
