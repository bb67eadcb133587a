"""The journal as a tool of agents, wired: to the store and the recorder of this process, or to a named store."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal import forks
from otel_agent_journal.agent_tools.access import NoJournal, Rows, Seen
from otel_agent_journal.agent_tools.answers import Answer
from otel_agent_journal.agent_tools.asking import ask_apart, ask_here
from otel_agent_journal.agent_tools.direct import StoreAppender, writer_to
from otel_agent_journal.agent_tools.scope import Scope
from otel_agent_journal.agent_tools.tools import DEFAULT_WAIT_S, JournalTools
from otel_agent_journal.bootstrap.openers import late_redactor, open_journal, open_store, sqlite_file
from otel_agent_journal.bootstrap.process import settings_of_process
from otel_agent_journal.bootstrap.waiting import wait_in
from otel_agent_journal.config import TOOLS_ALLOW, Settings, absolute_store, spool_of
from otel_agent_journal.errors import MissingExtra
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.current import get_flush, get_recorder
from otel_agent_journal.pipeline.session_writer import SessionWriter
from otel_agent_journal.pipeline.step import current_context
from otel_agent_journal.reading.journal import Journal, has_dead
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.threads import Lock

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

SETTLE_S: Final = 2.0  # how long a tool that reads waits for what was written before to be in the store


class ProcessAccess:
    """The journal of this process, or one that is named, as the tools reach it; see `Access`.

    Args:
        store: a URL, an open store, or None: the store that this process records to, else the environment's.
        session_id: the session that everything here is of, wherever it runs.
    """

    def __init__(self, store: str | JournalStore | None = None, session_id: str | None = None) -> None:
        self._store = store if isinstance(store, JournalStore) else None
        self._url = absolute_store(store) if isinstance(store, str) else None
        self._session_id = session_id
        self._journal: Journal | None = None
        self._writer: SessionWriter | None = None
        self._opened = ""  # the URL of the store that these two are of
        self.after_fork()
        forks.join(self, forks.Place.LOCKS)

    def after_fork(self) -> None:
        """Begin, here and in a forked child, where another thread may have held the lock."""
        self._lock = Lock()

    def own_session(self) -> str | None:
        """Return the session that was named, else that of this code, `--session`, or AGENT_JOURNAL_SESSION."""
        if self._session_id is not None:
            return self._session_id
        recorder = get_recorder()
        found = None if recorder is None else recorder.session_of(current_context())
        return found or self._settings()[0].session

    def writer(self) -> SessionWriter:
        """Return the recorder of this process where it records to this store, else what writes to the store itself."""
        recorder = get_recorder()
        if recorder is not None and self._is_process_own():
            return recorder
        settings, _ = self._settings()
        with self._lock:
            self._only(settings.store)
            if self._writer is None:
                encoder = ContentEncoder(
                    content=settings.content,
                    redactor=None if settings.redactor is None else late_redactor(settings.redactor),
                    field_limit_bytes=settings.field_limit_bytes,
                )
                self._writer = writer_to(StoreAppender(self._store or open_store(settings, create=True)), encoder)
            return self._writer

    def journal(self) -> Journal:
        """Return the journal for reading, what dead writers left taken in."""
        settings, _ = self._settings()
        with self._lock:
            self._only(settings.store)
            journal = self._journal
            if journal is None:
                if self._store is not None:
                    journal = Journal(self._store, settings.spool)
                else:
                    _require(settings)
                    journal = open_journal(settings, note=lambda line: None)
                self._journal = journal
                return journal
        journal.take_in_dead()
        return journal

    def settle(self) -> bool:
        """Have delivered what was recorded here."""
        flush = get_flush()
        return True if flush is None or not self._is_process_own() else bool(flush.deliver(SETTLE_S))

    def wait(self, session_id: str, until: Iterable[str] | None, timeout_s: float, since_ns: int) -> Seen:
        """Wait for an event or a status of a session."""
        settings, own = self._settings()
        ending = wait_in(
            settings, session_id, until, timeout_s=timeout_s, since_ns=since_ns, own=own, store=self._store
        )
        return Seen(ending.status, ending.reason, ending.event)

    def query(self, sql: str, sessions: Collection[str], *, rows: int, size: int) -> Rows:
        """Ask in a process of its own: SQL of a model may take what an agent needs. A store in memory is asked here."""
        settings, _ = self._settings()
        if self._store is not None or settings.store.startswith("memory:"):
            return ask_here(self.journal().store, sql, sessions, rows=rows, size=size)
        return ask_apart(settings.store, str(settings.spool), sql, sessions, rows=rows, size=size)

    def close(self) -> None:
        """Close what was opened here."""
        with self._lock:
            self._only("")

    def _only(self, url: str) -> None:
        """Let go of a store that is not the one of this URL: the process was configured anew."""
        if self._opened == url:
            return
        self._opened = url
        journal, self._journal, writer, self._writer = self._journal, None, self._writer, None
        if self._store is None:
            if journal is not None:
                journal.close()
            if writer is not None and isinstance(writer.appender, StoreAppender):
                writer.appender.close()

    def _settings(self) -> tuple[Settings, bool]:
        """Return the settings, with the named store in place of the process's, and whether this process drains it."""
        settings, own = settings_of_process()
        if self._url is None or self._url == settings.store:
            return settings, own
        spool = spool_of(self._url).absolute()
        return msgspec.structs.replace(settings, store=self._url, store_given=True, spool=spool), False

    def _is_process_own(self) -> bool:
        if self._store is not None:
            return False
        return self._url is None or self._url == settings_of_process()[0].store


def _require(settings: Settings) -> None:
    """Raise NoJournal where the store is a file that is not there yet, and nothing waits for it."""
    missing = settings.store.startswith("sqlite:///") and not sqlite_file(settings.store).exists()
    if missing and not has_dead(settings.spool):
        raise NoJournal(f"there is no journal at {sqlite_file(settings.store)} yet; it begins with the first entry")


def journal_tools(
    session_id: str | None = None,
    *,
    store: str | JournalStore | None = None,
    allow: Iterable[str] | None = None,
    written_by: str = "tool",
) -> JournalTools:
    """Return the tools of an agent, confined to its session and lineage.

    Args:
        session_id: the agent's session; by default that of the code that calls a tool, `--session`, or
            AGENT_JOURNAL_SESSION.
        store: a URL, an open store, or None: the store that this process records to, else the environment's.
        allow: more sessions that are within reach, by name or pattern, as `team-*`; by default what
            AGENT_JOURNAL_TOOLS_ALLOW says.
        written_by: what entries say of where they came from.
    """
    access = ProcessAccess(store, session_id)
    return JournalTools(access, Scope(access.own_session, _allowed(allow)), written_by=written_by)


def langchain_tools(
    session_id: str | None = None, *, store: str | JournalStore | None = None, allow: Iterable[str] | None = None
) -> list[BaseTool]:
    """Return the journal's tools for an agent of LangChain or LangGraph; arguments as of `journal_tools`.

    Raises:
        MissingExtra: langchain-core is not installed.
    """
    try:
        from otel_agent_journal.agent_tools.langchain import tools_of
    except ImportError as error:
        raise MissingExtra("tools for LangChain", "otel-agent-journal[langgraph]") from error
    return tools_of(journal_tools(session_id, store=store, allow=allow))


def strands_tools(
    session_id: str | None = None, *, store: str | JournalStore | None = None, allow: Iterable[str] | None = None
) -> list[Any]:
    """Return the journal's tools for a Strands agent; arguments as of `journal_tools`.

    Raises:
        MissingExtra: Strands is not installed.
    """
    try:
        from otel_agent_journal.agent_tools.strands import tools_of
    except ImportError as error:
        raise MissingExtra("tools for Strands", "otel-agent-journal[strands]") from error
    return tools_of(journal_tools(session_id, store=store, allow=allow))


def _allowed(allow: Iterable[str] | None) -> tuple[str, ...]:
    if allow is not None:
        return tuple(allow)
    return tuple(one for part in os.environ.get(TOOLS_ALLOW, "").split(",") if (one := part.strip()))


class _Own:
    """The tools of this process's own code: within a session these are that session's, outside of any anybody's."""

    def __init__(self) -> None:
        access = ProcessAccess()
        self._confined = JournalTools(access, Scope(access.own_session, _allowed(None)))
        self._free = JournalTools(access, Scope(lambda: None, ("*",)))

    def here(self) -> JournalTools:
        return self._free if self._confined.scope.own is None else self._confined


_own: list[_Own] = []


def _tools() -> JournalTools:
    if not _own:
        _own.append(_Own())
    return _own[0].here()


def write_journal_entry(
    session_id: str | None = None,
    event_type: str | None = None,
    tool_name: str | None = None,
    details: Any = None,
    level: str | None = None,
) -> Answer:
    """Write an entry into a session's journal, under the step that this code runs in.

    Raises nothing: `status` is `success`, or `refused`, `too_large`, `rate_limited`, `error`, with a `message`.

    Args:
        session_id: the session; by default the one that this code runs in.
        event_type: a type of your own in upper snake case, as DATA_CLEANED; NOTE by default.
        tool_name: what the entry is about.
        details: any data, up to 16 KB of JSON.
        level: DEBUG, INFO, WARNING or ERROR.
    """
    return _tools().write_journal_entry(session_id, event_type, tool_name, details, level)


def read_journal(
    session_id: str | None = None,
    filter_event_type: str | Iterable[str] | None = None,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Answer:
    """Read a session's journal: `entries` in their order, each with its point, and `more` where there are more.

    Raises nothing; `status` is `success` or `not_found`, or as of `write_journal_entry`.

    Args:
        session_id: the session; by default the one that this code runs in.
        filter_event_type: only events of this type, or of one of these.
        cursor: `cursor` of the answer before, to read on.
        limit: entries at most, up to 200.
    """
    return _tools().read_journal(session_id, filter_event_type, cursor=cursor, limit=limit)


def query_journal(session_id: str | None, sql: str) -> Answer:
    """Ask about a session and its lineage in SQL; `entries` are the rows. Raises nothing; see `read_journal`.

    Args:
        session_id: the session; None is the one that this code runs in.
        sql: one SELECT over the tables sessions, steps, events, tools and models.
    """
    return _tools().query_journal(session_id, sql)


def wait_for_journal(
    session_id: str | None = None,
    until: str | Iterable[str] | None = None,
    *,
    timeout_s: float = DEFAULT_WAIT_S,
    since: str | None = None,
) -> Answer:
    """Wait until a session has an event of a type, or an ending; `entries` has it. Raises nothing.

    `status` is `success`, or `timeout` where it did not come in time.

    Args:
        session_id: the session, which need not be there yet; by default the one that this code runs in.
        until: one or several event types; by default whatever ends a session.
        timeout_s: how long at most, up to 300.
        since: events before this time do not count.
    """
    return _tools().wait_for_journal(session_id, until, timeout_s=timeout_s, since=since)
