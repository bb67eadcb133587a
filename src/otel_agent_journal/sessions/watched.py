"""Sessions as callers of the API see them: judged by the journal, folded on from where they were read last."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.errors import SessionNotFound
from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.projections.head import COMPLETED, ERROR, INTERRUPTED, PENDING, PROCESSING, SessionHead
from otel_agent_journal.reading.following import Followed
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.sessions.failures import Failure, failure_of
from otel_agent_journal.sessions.progress import Artefact, Progress
from otel_agent_journal.threads import Lock

ENDINGS: Final = frozenset((COMPLETED, ERROR, INTERRUPTED))
_KEPT: Final = 256  # sessions whose folds are kept


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session stands. `progress`: percent, which never falls within a run; 100 once it is COMPLETED.

    `run`, `agent`, `metadata` and `stage` are of the latest run. `queued`: runs of it that wait for their turn.
    """

    session_id: str
    status: str
    reason: str | None = None
    run: str | None = None
    agent: str | None = None
    stage: str | None = None
    progress: float | None = None
    current_step: str | None = None
    error: Failure | None = None
    artefacts: tuple[Artefact, ...] = ()
    metadata: dict[str, Any] = {}
    events: int = 0
    steps: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    queued: int = 0
    created_at: str | None = None
    updated_at: str | None = None
    ended_at: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the latest run has ended."""
        return self.status in ENDINGS


class Watched:
    """Sessions of one journal, the latest asked for kept folded. Safe from any thread that the store is safe from."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = Lock()
        self._kept: OrderedDict[str, _Session] = OrderedDict()

    def head(self, session_id: str) -> SessionHead:
        """Return the head of the session of exactly this id, judged.

        Raises:
            SessionNotFound: there is none.
        """
        head = self._journal.exact(session_id)
        if head is None:
            raise SessionNotFound(session_id, "nothing was submitted under this id: POST /api/sessions begins one")
        judged = self._journal.judged(head)
        if judged.status == PROCESSING and judged is head:
            self._journal.take_in_dead()
        return judged

    def progress(self, session_id: str) -> Progress:
        """Return what is known of a session's latest run; costs the events that came since it was asked for last."""
        with self._lock:
            one = self._kept.get(session_id)
            if one is None:
                one = self._kept[session_id] = _Session(self._journal, session_id)
            self._kept.move_to_end(session_id)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return one.look()

    def state(self, session_id: str, *, waiting: int = 0, under_way: bool = False) -> State:
        """Return where a session stands.

        Args:
            session_id: the session.
            waiting: how many runs of it wait for their turn.
            under_way: a run of it was asked for and has not ended, whatever the journal has of those before it.

        Raises:
            SessionNotFound: there is none.
        """
        head, found = self.head(session_id), self.progress(session_id)
        status, reason = head.status, head.reason
        if under_way and status in ENDINGS and (head.ended_ns or head.updated_ns) < found.run_ns:
            status, reason = PENDING, None
        step = found.current_step if status == PROCESSING else None
        done = found.percent if found.run is not None else head.progress
        return State(
            session_id=session_id,
            status=status,
            reason=reason,
            run=found.run,
            agent=found.agent or head.agent,
            stage=(None if found.stage is None else found.stage[1]) if found.run is not None else head.stage,
            progress=100.0 if status == COMPLETED else done,
            current_step=None if step is None else f"{step.kind.lower()} {step.name}",
            error=self._failure(head) if status == ERROR else None,
            artefacts=tuple(artefact for _, artefact in found.artefacts.values()),
            metadata=dict(self._journal.resolved(session_id, dict(found.metadata))),
            events=head.events,
            steps=head.steps,
            errors=head.errors,
            input_tokens=head.input_tokens,
            output_tokens=head.output_tokens,
            queued=waiting,
            created_at=format_timestamp(head.started_ns) if head.started_ns else None,
            updated_at=format_timestamp(head.updated_ns) if head.updated_ns else None,
            ended_at=format_timestamp(head.ended_ns) if head.ended_ns and status in ENDINGS else None,
        )

    def result(self, session_id: str) -> Any:
        """Return what the latest run has answered, None where it has not."""
        result = self.progress(session_id).result
        return None if result is None else self._journal.resolved(session_id, result[2])

    def _failure(self, head: SessionHead) -> Failure | None:
        error: ErrorInfo | None = self._journal.error_of(head)
        return None if error is None else failure_of(error)


class _Session:
    """One session as far as it was read."""

    def __init__(self, journal: Journal, session_id: str) -> None:
        self._followed = Followed(journal.store, session_id)
        self._progress = Progress()
        self._lock = Lock()

    def look(self) -> Progress:
        with self._lock:
            read_on = True
            while read_on:
                events, more = self._followed.look()
                for event in events:
                    self._progress.take(event)
                read_on = more or not self._followed.at_end
        return self._progress
