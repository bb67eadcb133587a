"""The journal as agents' tools reach it: the store and the recorder of this process, or a store that is named."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from otel_agent_journal import forks
from otel_agent_journal.agent_tools.access import NoJournal, Rows, Seen
from otel_agent_journal.agent_tools.asking import ask_apart, ask_here
from otel_agent_journal.agent_tools.direct import StoreAppender, writer_to
from otel_agent_journal.bootstrap.openers import late_redactor, open_journal, open_store, sqlite_file
from otel_agent_journal.bootstrap.settings import settings_of_process
from otel_agent_journal.bootstrap.waiting import wait_in
from otel_agent_journal.config import Settings, absolute_store, spool_of
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.current import get_flush, get_recorder
from otel_agent_journal.pipeline.session_writer import SessionWriter
from otel_agent_journal.pipeline.step import current_context
from otel_agent_journal.reading.journal import Journal, has_dead
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.threads import Lock

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
