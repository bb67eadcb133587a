"""Waiting for what an agent does: `wait_for` polls the journal until a session has an ending.

Works in a process that records and in one that only reads. The session is folded as its events arrive, each read once;
what the spool of this machine still holds of a dead agent is taken in meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from otel_agent_journal.bootstrap.openers import NO_LIVE_WRITER, open_drain, open_store
from otel_agent_journal.config import Settings
from otel_agent_journal.errors import StoreError, StoreUnreachable, UnsupportedByStore, WaitTimeout
from otel_agent_journal.event import SESSION_COMPLETED, SESSION_FAILED, ErrorInfo, JournalEvent
from otel_agent_journal.pipeline.session import checked_session, checked_type
from otel_agent_journal.projections.head import COMPLETED, ERROR, INTERRUPTED, PROCESSING, SessionHead
from otel_agent_journal.projections.status import StatusState, apply
from otel_agent_journal.projections.verdict import head_of, judged
from otel_agent_journal.reading.endings import INVOCATION_ENDINGS, deciding_event
from otel_agent_journal.reading.following import Followed
from otel_agent_journal.spool.survey import survey
from otel_agent_journal.store.protocol import JournalStore, Wakes

ENDINGS: Final = INVOCATION_ENDINGS | {SESSION_COMPLETED, SESSION_FAILED, COMPLETED, ERROR, INTERRUPTED}
DEFAULT_TIMEOUT_S: Final = 60.0
DEFAULT_POLL_S: Final = 0.2
LONGEST_POLL_S: Final = 2.0  # between two looks, where nothing comes
_SLOWER: Final = 1.5
_ADOPT_EVERY_S: Final = 1.0
_ADOPT_S: Final = 1.0  # patience with a store that does not take what dead writers left


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What `wait_for` has waited for.

    `status` and `reason` are the session's as it was seen; `event` is what was waited for, or what decided the status:
    None where nothing but silence did.
    """

    session_id: str
    status: str
    reason: str | None = None
    event: JournalEvent | None = None

    @property
    def type(self) -> str | None:
        """The event's type."""
        return None if self.event is None else self.event.type

    @property
    def error(self) -> ErrorInfo | None:
        """Why it failed, where it did."""
        return None if self.event is None else self.event.error

    @property
    def output(self) -> Any:
        """What was answered, where the event says it."""
        return None if self.event is None else self.event.details.get("output")


def wait_for(
    session_id: str,
    until: str | Iterable[str] | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    poll_s: float = DEFAULT_POLL_S,
    since_ns: int = 0,
) -> Ending:
    """Wait until a session has an ending, and return it; at once where it has one already.

    The store is the one that this process records to, else the environment's. While nothing comes it is looked at ever
    more rarely, at most every 2 s.

    Args:
        session_id: the session; it need not be known yet.
        until: one or several event types, or statuses; by default every ending: AGENT_INVOCATION_SUCCEEDED, _FAILED,
            SESSION_COMPLETED, _FAILED, and the statuses COMPLETED, ERROR, INTERRUPTED.
        timeout_s: for how long to wait.
        poll_s: how long to wait between two looks at first.
        since_ns: what was before that time, UTC nanoseconds, is no ending: for sessions that are invoked again.

    Raises:
        WaitTimeout: it did not come in time; also a TimeoutError.
        ValueError: the session id is empty, or a type is not upper snake case.
        ConfigError: the settings are malformed.
        StoreError: the store cannot be read, and will not be; one that is not there yet is waited for.
    """
    from otel_agent_journal.bootstrap.settings import settings_of_process

    settings, drained_here = settings_of_process()
    return wait_in(settings, session_id, until, timeout_s=timeout_s, poll_s=poll_s, since_ns=since_ns, own=drained_here)


def wait_in(
    settings: Settings,
    session_id: str,
    until: str | Iterable[str] | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    poll_s: float = DEFAULT_POLL_S,
    since_ns: int = 0,
    own: bool = False,
    store: JournalStore | None = None,
) -> Ending:
    """Wait as `wait_for`, in the store of these settings, or in an open one, which stays the caller's.

    `own`: this process drains their spool itself.
    """
    checked_session(session_id)
    wanted = ENDINGS if until is None else frozenset(map(checked_type, [until] if isinstance(until, str) else until))
    if not wanted:
        raise ValueError("until is empty; event types or statuses are expected, as AGENT_INVOCATION_SUCCEEDED")
    watch = _Watch(settings, session_id, wanted, since_ns, own=own, store=store)
    try:
        return _poll(watch, timeout_s, poll_s)
    finally:
        watch.close()


def _poll(watch: _Watch, timeout_s: float, poll_s: float) -> Ending:
    deadline, pause = time.monotonic() + timeout_s, poll_s
    while True:
        before = len(watch.state.seen)
        found = watch.look()
        if found is not None:
            return found
        left = deadline - time.monotonic()
        if left <= 0:
            raise watch.gave_up(timeout_s)
        pause = poll_s if len(watch.state.seen) > before else min(pause * _SLOWER, max(poll_s, LONGEST_POLL_S))
        watch.pause(min(pause, left))


class _Watch:
    """One session as far as it is read. Opens the store when it is there."""

    def __init__(
        self,
        settings: Settings,
        session_id: str,
        wanted: frozenset[str],
        since_ns: int,
        *,
        own: bool,
        store: JournalStore | None,
    ) -> None:
        self.session_id = session_id
        self.state = StatusState()
        self.last: JournalEvent | None = None
        self._wanted = wanted
        self._since_ns = since_ns
        self._settings = settings
        self._drained_here = own
        self._store = store
        self._is_ours = store is None
        self._followed: Followed | None = None
        self._adopt_at = 0.0
        self._problem: StoreError | None = None

    def look(self) -> Ending | None:
        """Read what is new; return the ending if it is there."""
        try:
            if self._store is None:
                self._store = _opened(self._settings)
            if not self._drained_here:
                self._adopt(self._store)
            found = self._read(self._store)
            self._problem = None
        except StoreUnreachable as problem:  # it is not made yet, or away: there is time
            self._problem = problem
            return None
        return found

    def pause(self, longest_s: float) -> None:
        """Wait until it is time to look again: at once when the store says that something came, where it does."""
        if isinstance(self._store, Wakes):
            self._store.wait(longest_s)
        else:
            time.sleep(longest_s)

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None and self._is_ours:
            with contextlib.suppress(StoreError):
                self._store.close()

    def gave_up(self, timeout_s: float) -> WaitTimeout:
        """Return the error that says what was seen last."""
        status = None if self.last is None else head_of(self.state, self.session_id).status
        return WaitTimeout(
            self.session_id,
            timeout_s,
            tuple(sorted(self._wanted)),
            status=status,
            last_type=None if self.last is None else self.last.type,
            why=str(self._problem) if self._problem is not None else "",
        )

    def _read(self, store: JournalStore) -> Ending | None:
        found: JournalEvent | None = None
        followed = self._followed = self._followed or Followed(store, self.session_id)
        read_on = True
        while read_on:
            events, more = followed.look()
            for event in events:
                apply(self.state, event)
                if self.last is None or event.key >= self.last.key:
                    self.last = event
                if event.type in self._wanted and event.timestamp_ns >= self._since_ns:
                    found = found or event
            read_on = more or not followed.at_end
        if self.last is None:
            return None
        head = self._judged(store)
        if found is not None:
            return Ending(session_id=self.session_id, status=head.status, reason=head.reason, event=found)
        if head.status in self._wanted and (head.ended_ns or head.updated_ns) >= self._since_ns:
            event = deciding_event(store, head)
            return Ending(session_id=self.session_id, status=head.status, reason=head.reason, event=event)
        return None

    def _judged(self, store: JournalStore) -> SessionHead:
        """Return the head as it is now: with the heartbeats that the stored one knows of, where that matters."""
        head, now_ns = head_of(self.state, self.session_id), time.time_ns()
        if judged(head, now_ns) is head or head.status != PROCESSING:
            return head
        stored = store.head(self.session_id) if store.capabilities.heads else None
        if stored is not None:
            writers = {writer: max(at, stored.writers.get(writer, 0)) for writer, at in head.writers.items()}
            head = msgspec.structs.replace(head, writers=writers)
        return judged(head, now_ns, waiting_writers=survey(self._settings.spool).waiting_writers)

    def _adopt(self, store: JournalStore) -> None:
        """Deliver what dead writers left in the spool here, now and then: nobody else may be there to do it."""
        if time.monotonic() < self._adopt_at:
            return
        self._adopt_at = time.monotonic() + _ADOPT_EVERY_S
        folders = survey(self._settings.spool).folders
        if any(folder.is_left for folder in folders):
            with contextlib.suppress(OSError, StoreError):  # it is read all the same
                drain = open_drain(self._settings, store, only_writer=NO_LIVE_WRITER)
                drain.drain_once(patience_s=_ADOPT_S)


def _opened(settings: Settings) -> JournalStore:
    store = open_store(settings)
    if not store.capabilities.read:
        store.close()
        raise UnsupportedByStore(store.url, "read")
    return store
