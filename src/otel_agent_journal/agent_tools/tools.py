"""The tools themselves: what an agent may write, read, ask and wait for, answered as data that JSON can carry.

Nothing raises: what cannot be done is an answer too, whose `status` says so and whose `message` says what to do. Who
asks is a model. Its own session and lineage are within its reach, others where whoever set the tools up allows them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec

from otel_agent_journal.agent_tools.access import Access, NoJournal
from otel_agent_journal.agent_tools.answers import (
    MAX_BYTES,
    MAX_ENTRIES,
    NOT_FOUND,
    SUCCESS,
    Answer,
    Room,
    answer,
    cursor_of,
    entry,
    position_of,
)
from otel_agent_journal.agent_tools.pace import Pace
from otel_agent_journal.agent_tools.scope import Scope, lineage_of
from otel_agent_journal.codec import parse_timestamp
from otel_agent_journal.errors import CodecError, JournalError, WaitTimeout
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.pipeline.entries import RefusedEntry, entry_of, entry_type, write_entry
from otel_agent_journal.pipeline.step import current_step
from otel_agent_journal.plain import text_of
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore

REFUSED: Final = "refused"
RATE_LIMITED: Final = "rate_limited"
TIMED_OUT: Final = "timeout"
FAILED: Final = "error"

DEFAULT_ENTRIES: Final = 50
DEFAULT_WAIT_S: Final = 60.0
LONGEST_WAIT_S: Final = 300.0

_log = logging.getLogger(__name__)
_Given = ParamSpec("_Given")


def _answered(tool: Callable[_Given, Answer]) -> Callable[_Given, Answer]:
    """Return a tool whose errors are answers."""

    @wraps(tool)
    def answered(*args: _Given.args, **kwargs: _Given.kwargs) -> Answer:
        try:
            return tool(*args, **kwargs)
        except RefusedEntry as refused:
            return answer(refused.reason, None, message=str(refused))
        except NoJournal as error:
            return answer(NOT_FOUND, None, message=str(error))
        except JournalError as error:
            return answer(FAILED, None, message=str(error))
        except Exception as error:  # noqa: BLE001 - the one boundary: an agent must not fail by its journal
            _log.warning("a journal tool failed", exc_info=True)
            return answer(FAILED, None, message=f"{type(error).__name__}: the journal could not be used")

    return answered


class JournalTools:
    """The journal as an agent uses it. Thread-safe; every call returns an answer and none raises.

    Args:
        access: the journal and this process.
        scope: which sessions are within reach.
        pace: how many entries may be written.
        written_by: what entries say of where they came from.
    """

    def __init__(self, access: Access, scope: Scope, pace: Pace | None = None, written_by: str = "tool") -> None:
        self.access = access
        self.scope = scope
        self._pace = pace or Pace()
        self._written_by = written_by

    @_answered
    def write_journal_entry(
        self,
        session_id: str | None = None,
        event_type: str | None = None,
        tool_name: str | None = None,
        details: Any = None,
        level: str | None = None,
    ) -> Answer:
        """Write an entry into a session's journal, under the step that this code runs in; see `entry_of`."""
        session_id, problem = self._within_reach(session_id)
        if problem is not None:
            return problem
        said = entry_of(event_type, tool_name, details, level)
        wait_s = self._pace.take(session_id)
        if wait_s:
            message = f"too many entries; write the next one in {wait_s:.1f} s, or several facts in one entry"
            return answer(RATE_LIMITED, session_id, message=message, retry_after_s=round(wait_s, 1))
        step = current_step()
        writer = self.access.writer()
        event_id = write_entry(writer, session_id, said, written_by=self._written_by, step=step)
        if event_id is None:
            return answer(FAILED, session_id, message="the journal did not take the entry: it is not written")
        written = {"event_id": event_id, "event_type": said.type, "tool_name": said.tool_name, "level": said.level}
        return answer(SUCCESS, session_id, [{key: value for key, value in written.items() if value is not None}])

    @_answered
    def read_journal(
        self,
        session_id: str | None = None,
        filter_event_type: str | Iterable[str] | None = None,
        *,
        cursor: str | None = None,
        limit: int = DEFAULT_ENTRIES,
    ) -> Answer:
        """Read a session's journal from its beginning, or behind a cursor.

        Args:
            session_id: the session; the agent's own by default.
            filter_event_type: only events of this type, or of one of these.
            cursor: `cursor` of the answer before.
            limit: entries at most, up to 200.
        """
        session_id, problem = self._within_reach(session_id)
        if problem is not None:
            return problem
        after = None if not cursor else position_of(cursor)
        if cursor and after is None:
            return answer(REFUSED, session_id, message=f"cursor {cursor[:80]!r} is none that an answer gave you")
        journal, head, settled = self._found(session_id)
        if head is None:
            return self._not_found(session_id)
        wanted = _types(filter_event_type)
        numbers = _numbers(journal, head)
        room, shown, last = Room(limit), list[dict[str, Any]](), None
        more = False
        for event in read_whole(journal.store, session_id, after, head=head):
            if not wanted or event.type in wanted:
                one = entry(event, session_id, numbers)
                more = not room.takes(one)
                if more:
                    break
                shown.append(one)
            last = event
        return answer(
            SUCCESS,
            session_id,
            shown,
            session_status=journal.judged(head).status,
            cursor=cursor if last is None else cursor_of(last),
            more=more,
            pending=None if settled else "some of what was written here is on its way to the store",
        )

    @_answered
    def query_journal(self, session_id: str | None, sql: str) -> Answer:
        """Ask about a session and its lineage in SQL: one SELECT over sessions, steps, events, tools, models."""
        session_id, problem = self._within_reach(session_id)
        if problem is not None:
            return problem
        journal, head, settled = self._found(session_id)
        if head is None:
            return self._not_found(session_id)
        # Of those that are there: to the command line the id of one that was pruned is the beginning of another's.
        lineage = [
            one
            for one in lineage_of(journal.store, session_id)
            if self._permits(one) and journal.exact(one) is not None
        ]
        room = Room()
        found = self.access.query(sql, lineage, rows=MAX_ENTRIES, size=MAX_BYTES)
        rows = [row for row in found.rows if room.takes(row)]
        return answer(
            SUCCESS,
            session_id,
            rows,
            more=found.more or len(rows) < len(found.rows),
            pending=None if settled else "some of what was written here is on its way to the store",
        )

    @_answered
    def wait_for_journal(
        self,
        session_id: str | None = None,
        until: str | Iterable[str] | None = None,
        *,
        timeout_s: float = DEFAULT_WAIT_S,
        since: str | None = None,
    ) -> Answer:
        """Wait until a session has an event of a type, or an ending, and return that entry.

        Args:
            session_id: the session, which need not be there yet; the agent's own by default.
            until: one or several event types; by default whatever ends a session.
            timeout_s: how long at most, up to 300.
            since: events before this time, as of an entry's `timestamp`, do not count.
        """
        session_id, problem = self._within_reach(session_id)
        if problem is not None:
            return problem
        wanted = _types(until)
        if not wanted and session_id == self.scope.own:
            message = "your own session does not end while you wait for it: say for which event types, in until"
            return answer(REFUSED, session_id, message=message)
        try:
            since_ns = 0 if not since else parse_timestamp(since)
        except CodecError as error:
            return answer(REFUSED, session_id, message=str(error))
        bound_s = max(0.0, min(float(timeout_s), LONGEST_WAIT_S))
        self.access.settle()
        try:
            seen = self.access.wait(session_id, wanted or None, bound_s, since_ns)
        except WaitTimeout as late:
            return answer(
                TIMED_OUT,
                session_id,
                session_status=late.status,
                last_event_type=late.last_type,
                message=f"none of {', '.join(late.until)} in {bound_s:g} s; wait again, or read what there is",
            )
        entries = [] if seen.event is None else [self._entry(seen.event, session_id)]
        return answer(SUCCESS, session_id, entries, session_status=seen.status, reason=seen.reason)

    def close(self) -> None:
        """Let go of the journal."""
        self.access.close()

    # --- below ---

    def _within_reach(self, session_id: str | None) -> tuple[str, Answer | None]:
        """Return the session that is meant, and where it is out of reach the answer that says so."""
        named = self.scope.named(text_of(session_id) if session_id else None)
        if named is None:
            message = "no session is named, and this code runs in none"
            return "", answer(REFUSED, None, message=message)
        if not self._permits(named):
            return named, answer(REFUSED, named, message=self.scope.refusal(named))
        return named, None

    def _permits(self, session_id: str) -> bool:
        return self.scope.permits(self._settled_store, session_id)

    def _settled_store(self) -> JournalStore:
        self.access.settle()
        return self.access.journal().store

    def _found(self, session_id: str) -> tuple[Journal, SessionHead | None, bool]:
        settled = self.access.settle()
        journal = self.access.journal()
        return journal, journal.exact(session_id), settled

    def _not_found(self, session_id: str) -> Answer:
        message = "the journal has no such session; it begins with the first entry that is written to it"
        return answer(NOT_FOUND, session_id, message=message)

    def _entry(self, event: JournalEvent, session_id: str) -> Mapping[str, Any]:
        journal = self.access.journal()
        head = None if event.step_id is None else journal.exact(session_id)
        return entry(event, session_id, {} if head is None else _numbers(journal, head))


def _types(given: str | Iterable[str] | None) -> list[str]:
    """Return the types that are named: one, several, or several in one text, with commas between them."""
    named = given.split(",") if isinstance(given, str) else list(given or ())
    return [kind for one in named if (kind := entry_type(one))]


def _numbers(journal: Journal, head: SessionHead) -> dict[str, int]:
    """Return the numbers of a session's steps, as `show` has them."""
    return {step.step_id: step.number for step in journal.tree(head).steps}
