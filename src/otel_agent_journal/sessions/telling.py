"""What the session API itself tells the journal: appended at once, durable when it returns, once however often said."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from otel_agent_journal.codec import sealed
from otel_agent_journal.event import (
    AGENT_INVOCATION_FAILED,
    CANCEL_REQUESTED,
    SESSION_INITIATED,
    WARNING,
    ErrorInfo,
    JournalEvent,
    derived_id,
)
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.who import said_of_run
from otel_agent_journal.sessions.runs import Asked, Run
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore


class Telling:
    """Appends events about runs to a store. `encoder`: what of their content is journaled, and how."""

    def __init__(self, store: JournalStore, encoder: ContentEncoder) -> None:
        self._store = store
        self._encoder = encoder

    def submitted(self, session_id: str, run: Run, asked: Asked) -> None:
        """Say that a run was asked for, with what."""
        details: dict[str, Any] = {"agent": run.agent, "run": run.run, "input": asked.input}
        details |= _who(asked.metadata)
        event_id = derived_id(f"run:{run.run}")
        self._say(session_id, SESSION_INITIATED, details, name=run.agent, at_ns=run.at_ns, event_id=event_id)

    def opened(self, session_id: str, metadata: Mapping[str, Any]) -> None:
        """Say that a session was made, of which no run is asked for yet."""
        details = _who(metadata)
        self._say(
            session_id, SESSION_INITIATED, details, at_ns=time.time_ns(), event_id=derived_id(f"open:{session_id}")
        )

    def cancelled(self, session_id: str, run_id: str) -> None:
        """Say that a run is to stop."""
        event_id = derived_id(f"cancel:{run_id}")
        self._say(session_id, CANCEL_REQUESTED, {"run": run_id}, at_ns=time.time_ns(), event_id=event_id)

    def unbegun(self, session_id: str, run: Run, reason: str, why: str) -> None:
        """Say that a run has ended that journaled nothing itself."""
        self._say(
            session_id,
            AGENT_INVOCATION_FAILED,
            {"agent": run.agent, "run": run.run, "reason": reason},
            at_ns=max(run.seen_ns, run.at_ns) + 1,
            event_id=derived_id(f"end:{run.run}"),
            error=ErrorInfo(type=reason.capitalize(), message=why),
            level="WARNING",
        )

    def warning(self, session_id: str, run: Run, message: str) -> None:
        """Say that something is off about a run."""
        details = {"run": run.run, "message": message}
        event_id = derived_id(f"warning:{run.run}:{message}")
        self._say(session_id, WARNING, details, at_ns=time.time_ns(), event_id=event_id, level="WARNING")

    def _say(
        self,
        session_id: str,
        event_type: str,
        details: Mapping[str, Any],
        *,
        at_ns: int,
        event_id: str,
        name: str | None = None,
        error: ErrorInfo | None = None,
        level: str = "INFO",
    ) -> None:
        event = JournalEvent(
            session_id=session_id,
            event_id=event_id,
            type=event_type,
            timestamp_ns=at_ns,
            level=level,
            name=name,
            error=error,
            details=details,
        )
        event, blobs = self._encoder.fitting(self._encoder.told(event))
        if blobs and isinstance(self._store, BlobStore):
            self._store.put_blobs(session_id, {one.digest: Blob(one.data, one.media_type) for one in blobs})
        self._store.append([sealed(event)])


def _who(metadata: Mapping[str, Any]) -> dict[str, Any]:
    if not metadata:
        return {}
    tags = metadata.get("tags", ())
    rest = {name: value for name, value in metadata.items() if name != "tags"}
    return said_of_run(rest, cast("list[Any]", tags) if isinstance(tags, list) else (tags,))
