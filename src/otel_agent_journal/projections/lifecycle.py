"""What a lifecycle event says of its session: the events of `session()`, of `invocation()` and of `record_event()`.

Of the invocation of an agent that was given up, by whoever made it, there is no type of its own: it failed, and the
reason in its details is `cancelled`; `killed` or `lost` where whoever made it saw its process go. Whether what is said
counts over the session's steps is for `verdict.py` to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_agent_journal import event as ev
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import CANCELLED, COMPLETED, ERROR, INTERRUPTED, KILLED, LOST, PENDING

_STATUS: Final[Mapping[str, str]] = {
    ev.SESSION_INITIATED: PENDING,
    ev.SESSION_COMPLETED: COMPLETED,
    ev.SESSION_FAILED: ERROR,
    ev.AGENT_INVOCATION_STARTED: PENDING,
    ev.AGENT_INVOCATION_SUCCEEDED: COMPLETED,
    ev.AGENT_INVOCATION_FAILED: ERROR,
}
_CUT_OFF: Final = frozenset((CANCELLED, KILLED, LOST))
INVOCATION_TYPES: Final = frozenset(
    (ev.AGENT_INVOCATION_STARTED, ev.AGENT_INVOCATION_SUCCEEDED, ev.AGENT_INVOCATION_FAILED)
)


class Said(NamedTuple):
    """What one lifecycle event says; the latest of them compares greatest."""

    timestamp_ns: int
    event_id: str
    type: str
    status: str
    reason: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it says that an invocation failed, and not that it was cut off."""
        return self.type == ev.AGENT_INVOCATION_FAILED and self.status == ERROR

    @property
    def cancelled(self) -> bool:
        """Whether it says that whoever made an invocation gave it up."""
        return self.reason == CANCELLED


def said_by(event: JournalEvent) -> Said | None:
    """Return what an event says of its session, or None where it is no lifecycle event."""
    status = _STATUS.get(event.type)
    if event.type == ev.AGENT_INVOCATION_FAILED:
        reason = event.details.get("reason")
        if isinstance(reason, str) and reason in _CUT_OFF:
            return Said(event.timestamp_ns, event.event_id, event.type, INTERRUPTED, reason)
    return None if status is None else Said(event.timestamp_ns, event.event_id, event.type, status)


def is_submission(event: JournalEvent) -> bool:
    """Tell whether an event says that a run of the session was asked for, which is still to begin."""
    return event.type == ev.SESSION_INITIATED and isinstance(event.details.get("run"), str)
