"""A run followed in the journal, from where it was asked for: what it streams, and how it ends.

Each part has its run's own number; what arrives out of turn waits for its turn. Used by one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal import event as ev
from otel_agent_journal.mapping.media import BLOB
from otel_agent_journal.pipeline.graph_calls import ATTEMPT, END, VALUES, Changes
from otel_agent_journal.projections.head import AWAITING_INPUT, CANCELLED, COMPLETED, INTERRUPTED
from otel_agent_journal.projections.lifecycle import is_submission
from otel_agent_journal.reading.endings import INVOCATION_ENDINGS
from otel_agent_journal.server.langgraph.notes import RunNote, run_note
from otel_agent_journal.sessions.queue import Lines
from otel_agent_journal.sessions.runs import STARTED
from otel_agent_journal.sessions.watched import ENDINGS, Watched

if TYPE_CHECKING:
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.journals import Journals

PENDING: Final = "pending"
RUNNING: Final = "running"
SUCCESS: Final = "success"
ERROR: Final = "error"
TIMEOUT: Final = "timeout"
STOPPED: Final = "interrupted"
OVER: Final = frozenset((SUCCESS, ERROR, TIMEOUT, STOPPED))
ASKS: Final = "__interrupt__"
_LATE_S: Final = 5.0  # for the last parts of a run that is said to have ended
_PAGE: Final = 500
_OF_CHUNKS: Final = frozenset((ev.AGENT_INVOCATION_STARTED, ev.CHUNK))


class Part(msgspec.Struct, frozen=True):
    """A part of what a run streams. `data` of `values` is the whole state."""

    number: int
    mode: str
    ns: tuple[str, ...]
    data: Any


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended; `error` is its type and message."""

    status: str
    at_ns: int = 0
    output: Any = None
    error: tuple[str, str] | None = None
    reason: str | None = None


class RunFollowed:
    """One run of a session.

    Args:
        journals: where its events are.
        session_id: its session.
        run_id: the run.
        chunks: whether text that its steps stream is a part, too, where it is no graph: of mode CHUNK, by its step.
    """

    def __init__(self, journals: Journals, session_id: str, run_id: str, *, chunks: bool = False) -> None:
        self._journals = journals
        self.session_id = session_id
        self.run_id = run_id
        self.note = RunNote()
        self.agent: str | None = None
        self.at_ns = 0
        self.ended: Ended | None = None
        self._cursor: str | None = None
        self._noted = False
        self._next = 1
        self._early: dict[int, Mapping[str, Any]] = {}
        self._states: dict[tuple[str, ...], Changes] = {}
        self._torn: set[tuple[str, ...]] = set()
        self._chunks = chunks
        self._runs = False  # whether what its steps stream is of this run
        self._said_all = False
        self._later = False  # whether another run was asked for behind it
        self._ended_s = 0.0

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come of it."""
        if self.ended is None:
            return False
        whole = self._said_all or self.ended.status not in (SUCCESS, STOPPED) or not self._next % ATTEMPT > 1
        return whole or time.monotonic() - self._ended_s > _LATE_S

    def look(self) -> tuple[list[Part], bool]:
        """Return the parts that have come, and whether there may be more right now."""
        with self._journals.one() as journal:
            if not self._noted:
                self.note = run_note(journal.store, self.session_id, self.run_id)
                self._cursor, self._noted = self.note.cursor, True
            page = journal.store.follow(self._cursor, session_id=self.session_id, limit=_PAGE)
            self._cursor = page.cursor
            parts: list[Part] = []
            for event in page.events:
                parts += self._take(journal, event)
            if not page.events and self.ended is None:
                self.ended = self._lost(journal)
            if self.ended is not None and not self._ended_s:
                self._ended_s = time.monotonic()
            return parts, bool(page.events)

    def read(self) -> list[Part]:
        """Return all that has come."""
        parts, more = self.look()
        while more:
            found, more = self.look()
            parts += found
        return parts

    @property
    def is_known(self) -> bool:
        """Whether its session knows of it."""
        return self.agent is not None

    def status(self, journal: Journal) -> str:
        """Return where it stands."""
        if self.ended is not None:
            return self.ended.status
        line = Lines(journal.store).get(self.session_id)
        run = None if line is None else line.find(self.run_id)
        return RUNNING if run is None or run.state == STARTED else PENDING

    def _take(self, journal: Journal, event: JournalEvent) -> list[Part]:
        details = event.details
        if event.type in _OF_CHUNKS and self._chunks:
            return self._said(journal, event)
        if is_submission(event):
            if details["run"] == self.run_id:
                self.agent, self.at_ns = str(details.get("agent") or ""), event.timestamp_ns
            elif self.is_known:
                self._later = True
        elif details.get("run") != self.run_id:
            if event.type in INVOCATION_ENDINGS and self._runs and "run" in details:
                self._runs = False
                return [Part(0, ev.CHUNK, (), None)]
        elif event.type == ev.STREAM_PART:
            self._early[int(details["n"])] = details
            return self._in_turn(journal)
        elif event.type in INVOCATION_ENDINGS:
            self.ended = self._end_of(journal, event)
        return []

    def _said(self, journal: Journal, event: JournalEvent) -> list[Part]:
        """Return a text that a step streams. Which run begins is not said by its first event: the line knows.

        Where that is looked at late it may be another; then that one's end takes back what was told.
        """
        if event.type == ev.AGENT_INVOCATION_STARTED:
            line = Lines(journal.store).get(self.session_id) if self.is_known else None
            run = None if line is None else line.find(self.run_id)
            self._runs = self.is_known and (run is None or run.state == STARTED)
        elif self._runs and self._next % ATTEMPT == 1 and not self._early:  # a graph's words are among its own parts
            return [Part(0, ev.CHUNK, (event.step_id or "",), str(event.details.get("text") or ""))]
        return []

    def _in_turn(self, journal: Journal) -> list[Part]:
        again = min((number for number in self._early if number % ATTEMPT == 1), default=0)
        if again > self._next:  # it was tried anew
            self._next = again
            self._early = {number: one for number, one in self._early.items() if number >= again}
        found: list[Part] = []
        while (details := self._early.pop(self._next, None)) is not None:
            number, self._next = self._next, self._next + 1
            mode, ns = str(details.get("mode")), tuple(map(str, details.get("ns", ())))
            data = journal.resolved(self.session_id, details.get("data"))
            if mode == END:
                self._said_all = True
            elif ev_cut(details) or _is_lost(data):
                self._torn |= {ns} if mode == VALUES else set()  # what is told by changes is not known from here on
                found.append(_too_large(number, mode, ns))
            elif mode == VALUES:
                state = self._states.setdefault(ns, Changes())
                if ns in self._torn:
                    found += [] if data.get("more") else [_too_large(number, mode, ns)]
                elif state.take(data):
                    found.append(Part(number, mode, ns, state.state))
            else:
                found.append(Part(number, mode, ns, data))
        return found

    def _end_of(self, journal: Journal, event: JournalEvent) -> Ended:
        details, error = event.details, event.error
        if event.type == ev.AGENT_INVOCATION_SUCCEEDED:
            output = journal.resolved(self.session_id, details.get("output"))
            asks = isinstance(output, dict) and ASKS in output
            return Ended(status=STOPPED if asks else SUCCESS, at_ns=event.timestamp_ns, output=output)
        reason = details.get("reason")
        told = ("Error", "") if error is None else (error.type, error.message)
        if reason == CANCELLED:
            return Ended(status=STOPPED, at_ns=event.timestamp_ns, error=told, reason=CANCELLED)
        status = TIMEOUT if error is not None and error.code == "timeout" else ERROR
        return Ended(status=status, at_ns=event.timestamp_ns, error=told, reason=reason)

    def _lost(self, journal: Journal) -> Ended | None:
        """Return how a run ended that has not said so itself: its process is gone."""
        line = Lines(journal.store).get(self.session_id)
        if line is not None and line.find(self.run_id) is not None:
            return None
        if self._later:
            return Ended(status=ERROR, error=("Lost", "its process has ended without a word"))
        head = Watched(journal).head(self.session_id)
        if head.status not in ENDINGS or (head.ended_ns or 0) < self.at_ns:
            return None
        if head.status == COMPLETED:
            return Ended(status=SUCCESS, at_ns=head.ended_ns or 0)
        stopped = head.status == INTERRUPTED and head.reason in (AWAITING_INPUT, CANCELLED)
        why = (str(head.reason or ERROR).capitalize(), f"its process was {head.reason}")
        return Ended(status=STOPPED if stopped else ERROR, at_ns=head.ended_ns or 0, error=why, reason=head.reason)


_TOO_LARGE: Final = (
    "a part of the stream, of mode {}, is over 64 MB, and was not kept whole; ask for the thread's state"
)


def _too_large(number: int, mode: str, ns: tuple[str, ...]) -> Part:
    return Part(number, ERROR, ns, {"error": "TooLarge", "message": _TOO_LARGE.format(mode)})


def _is_lost(data: Any) -> bool:
    """Tell whether a part was kept apart and is not there, as one over what is kept."""
    return isinstance(data, dict) and BLOB in data


def ev_cut(details: Mapping[str, Any]) -> bool:
    """Tell whether a part is not all there."""
    cut: Any = details.get("$cut")
    return bool(cut) and "data" in cut


def runs_of(journal: Journal, session_id: str) -> list[tuple[str, str, int]]:
    """Return the runs of a session, the latest first: their ids, agents and times. Costs the session."""
    found = [
        (str(event.details["run"]), str(event.details.get("agent") or ""), event.timestamp_ns)
        for event in journal.store.read(session_id)
        if is_submission(event)
    ]
    return found[::-1]
