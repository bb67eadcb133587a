"""Reads from a store what a table's bounds leave, one row's source after the other, and counts what was read.

Sessions come from their heads, judged as every listing judges them; named sessions are read by their id, without a
listing. Events stream; steps are folded a session at a time. What is in the parts of a session is the session's: a
part has no rows of its own. Knows nothing of SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from otel_agent_journal.event import (
    CONTEXT_TYPES,
    END_TYPES,
    IN_STEP_TYPES,
    START_TYPES,
    JournalEvent,
    kind_of,
)
from otel_agent_journal.projections.head import INTERRUPTED, PROCESSING, SessionHead
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.paid import paid
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.projections.verdict import judged, silent_writers
from otel_agent_journal.query.bounds import Bounds
from otel_agent_journal.query.latest import Latest
from otel_agent_journal.query.tables import JSON, SESSIONS, SESSIONS_BRIEF, AttemptRow, Column, StepRow
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.rules import current, current_sessions, whole_of

_AFTER_ANY_ID: Final = "~"
_FIRST_NS: Final = -(2**63)
_LAST_NS: Final = 2**63 - 1
_SPARE: Final = 32  # sessions beyond the limit of a query that are listed with it: updated at the same moment, filtered
_NONE: Final = frozenset[str]()
_OF_STEPS: Final = START_TYPES | END_TYPES
_KINDS: Final = {"tools": "TOOL", "models": "MODEL"}


class TableRead(msgspec.Struct, kw_only=True):
    """What was read for one table: how often it was scanned, and how much that took: of a store sessions and events.

    Of a lake `files` and `rows`; `of_files` is how many the table has. `brief`: what listings show is enough.
    """

    table: str
    bounds: Bounds
    latest: Latest | None = None
    brief: bool = False
    scans: int = 0
    sessions: int = 0
    events: int = 0
    files: int = 0
    of_files: int | None = None
    rows: int = 0

    def pushed(self) -> dict[str, Any]:
        """Return what the store was given of the query, as data."""
        return self.bounds.described() | ({} if self.latest is None else {"latest": self.latest.count})


class Reader:
    """Reads one store for one query. Not thread-safe.

    Args:
        store: what is read.
        bounds: of each table that the query scans.
        now_ns: when sessions are judged.
        waiting_writers: writers whose silence proves nothing, their spool holding events still.
        moved: called for every session and event that was read.
        without: tells of a session, by its id, that it has no rows.
    """

    def __init__(
        self,
        store: JournalStore,
        bounds: dict[str, Bounds],
        *,
        now_ns: int,
        waiting_writers: Collection[str] = frozenset(),
        moved: Callable[[], None] = lambda: None,
        without: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.tables = {name: TableRead(table=name, bounds=one) for name, one in bounds.items()}
        self._store = store
        self._now_ns = now_ns
        self._waiting = waiting_writers
        self._moved = moved
        self._without = without

    def rows(self, table: str, columns: Sequence[Column]) -> Iterator[Any]:
        """Yield the sources of a table's rows, of which these columns are looked at."""
        read = self.tables.setdefault(table, TableRead(table=table, bounds=Bounds()))
        read.scans += 1
        if table == SESSIONS.name:
            read.brief = read.bounds.until_ns is None and all(column.name in SESSIONS_BRIEF for column in columns)
            yield from self._sessions(read)
        elif table == "events":
            yield from self._events(read)
        else:
            in_detail, priced = (
                any(column.kind == JSON for column in columns),
                any(one.priced is not None for one in columns),
            )
            yield from self._steps(read, in_detail=in_detail, priced=priced)

    def _sessions(self, read: TableRead) -> Iterator[SessionHead]:
        latest, found, last_ns = read.latest, 0, None
        for stored in self._heads(read):
            if last_ns is not None and stored.updated_ns < last_ns:
                return
            read.sessions += 1
            self._moved()
            head = judged(stored, self._now_ns, waiting_writers=self._waiting)
            yield head
            if latest is not None and latest.has(head):
                found += 1
                last_ns = head.updated_ns if found == latest.count else last_ns

    def _heads(self, read: TableRead) -> Iterator[SessionHead]:
        bounds = read.bounds
        if bounds.session_ids is None:
            heads = self._listed(read)
        else:
            known = (self._head(session_id, read) for session_id in sorted(bounds.session_ids))
            heads = (head for head in known if head is not None)
        for head in heads:
            if (bounds.until_ns is None or head.started_ns <= bounds.until_ns) and not self._without(head.session_id):
                yield head

    def _listed(self, read: TableRead) -> Iterator[SessionHead]:
        """Yield the sessions of a listing that may be wanted, the latest updated first."""
        bounds, ended_ns = read.bounds, read.bounds.ended_since_ns
        if _NONE in (bounds.statuses, bounds.agents):
            return
        wanted = SessionFilter(
            statuses=_stored(bounds.statuses),
            agent=next(iter(bounds.agents)) if bounds.agents and len(bounds.agents) == 1 else None,
            since_ns=bounds.since_ns,
            until_ns=bounds.updated_until_ns,
            id_prefix=bounds.id_prefix,
            brief=read.brief,
        )
        if ended_ns is None or ended_ns <= (_FIRST_NS if bounds.since_ns is None else bounds.since_ns):
            yield from self._found(wanted, read.latest)
            return
        # What has ended since was updated since, or is lost: of these the last heartbeat is the end.
        before = msgspec.structs.replace(
            wanted,
            statuses=(PROCESSING,),
            until_ns=min(ended_ns - 1, _LAST_NS if wanted.until_ns is None else wanted.until_ns),
        )
        may_be_lost = PROCESSING in wanted.statuses or not wanted.statuses
        lost = list(current_sessions(self._store, before)) if may_be_lost else []
        seen: set[str] = set()
        for head in self._found(msgspec.structs.replace(wanted, since_ns=ended_ns), read.latest):
            seen.add(head.session_id)
            yield head
        yield from (head for head in lost if head.session_id not in seen)

    def _found(self, wanted: SessionFilter, latest: Latest | None) -> Iterator[SessionHead]:
        """Yield the sessions of a listing: where a few of the latest will do, few at first."""
        seen: set[str] = set()
        if latest is not None:
            limit = latest.count + _SPARE
            for head in current_sessions(self._store, msgspec.structs.replace(wanted, limit=limit)):
                seen.add(head.session_id)
                yield head
            if len(seen) < limit:
                return
        for head in current_sessions(self._store, wanted):
            if head.session_id not in seen:
                yield head

    def _head(self, session_id: str, read: TableRead) -> SessionHead | None:
        """Return the head of a session as its events have it now; None of a part."""
        head = current(self._store, session_id, through=lambda events: self._counted(events, read))
        return head if head is not None and whole_of(self._store, head) is head else None

    def _events(self, read: TableRead) -> Iterator[JournalEvent]:
        since_ns, until_ns = read.bounds.since_ns, read.bounds.until_ns
        # A store's times have 64 bits, and before the first of them there is none.
        after = None if since_ns is None or since_ns <= _FIRST_NS else (since_ns - 1, _AFTER_ANY_ID)
        for head in self._heads(read):
            read.sessions += 1
            for event in self._counted(read_whole(self._store, head.session_id, after, head=head), read):
                if until_ns is not None and event.timestamp_ns > until_ns:
                    break
                yield _in_session(event, head.session_id)

    def _steps(self, read: TableRead, *, in_detail: bool, priced: bool) -> Iterator[StepRow | AttemptRow]:
        kind = _KINDS.get(read.table)
        for head in self._heads(read):
            read.sessions += 1
            events = self._counted(read_whole(self._store, head.session_id, head=head), read)
            lost = silent_writers(head, self._now_ns, waiting_writers=self._waiting)
            tree = fold_steps(_needed(events, kind, in_detail=in_detail), lost_writers=lost)
            calls = paid(tree) if priced else {}
            for step in tree.steps:
                if kind is None:
                    yield StepRow(head.session_id, step, calls)
                elif step.kind == kind:
                    yield from (AttemptRow(head.session_id, attempt, calls) for attempt in step.attempts)

    def _counted(self, events: Iterator[JournalEvent], read: TableRead) -> Iterator[JournalEvent]:
        for event in events:
            read.events += 1
            self._moved()
            yield event


def _stored(statuses: frozenset[str] | None) -> tuple[str, ...]:
    """Return the statuses that heads may have stored which are judged to have these."""
    if statuses is None:
        return ()
    return tuple(sorted(statuses | ({PROCESSING} if INTERRUPTED in statuses else _NONE)))


def _in_session(event: JournalEvent, session_id: str) -> JournalEvent:
    """Return an event as one of the session that it is read with."""
    return event if event.session_id == session_id else msgspec.structs.replace(event, session_id=session_id)


def _needed(events: Iterator[JournalEvent], kind: str | None, *, in_detail: bool) -> Iterator[JournalEvent]:
    """Leave the details of steps out that nobody asks for: a fold holds the events of a session together."""
    for event in events:
        if event.type in _OF_STEPS:
            keeps = in_detail and kind in (None, kind_of(event.type))
        else:
            keeps = event.type not in IN_STEP_TYPES and event.type not in CONTEXT_TYPES
        yield event if keeps else outline(event)
