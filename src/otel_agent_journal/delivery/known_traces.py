"""Which session each trace belongs to, remembered beyond a restart: a table in the spool, a cache of it in memory.

Nothing depends on it but where a late span goes: a table that is damaged or locked is done without. It is written
before what it was learned from is acknowledged, so that a record read again finds at least what it had found. Used by
one thread at a time; several processes may share it.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from otel_agent_journal.mapping.trace_sessions import REMEMBERED_TRACES, Trace
from otel_agent_journal.places import make_file, make_folder

_log = logging.getLogger("otel_agent_journal.spool")

FILE: Final = "traces.db"
KEPT_S: Final = 7 * 24 * 3600  # after a trace was last heard of
_FORGET_EVERY_S: Final = 3600
_BUSY_S: Final = 1.0
_CREATE: Final = """
    CREATE TABLE IF NOT EXISTS traces (
        trace_id TEXT PRIMARY KEY, session_id TEXT, named_ns INTEGER NOT NULL, is_session INTEGER NOT NULL,
        seen_s INTEGER NOT NULL
    ) WITHOUT ROWID
"""


class KnownTraces:
    """Remembers traces in a spool's folder, made where missing.

    Args:
        folder: the spool.
        clock: UTC seconds.
        limit: how many are held in memory.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time, limit: int = REMEMBERED_TRACES) -> None:
        self._file = folder / FILE
        self._clock = clock
        self._limit = limit
        self._held: OrderedDict[str, Trace] = OrderedDict()
        self._changed: dict[str, Trace] = {}
        self._forget_at = 0.0
        self._database: sqlite3.Connection | None = None
        self._open()

    def get(self, trace_id: str) -> Trace:
        """Return what is known of a trace, to be changed in place."""
        trace = self._held.get(trace_id)
        if trace is None:
            trace = self._held[trace_id] = self._read(trace_id)
        else:
            self._held.move_to_end(trace_id)
        self._changed[trace_id] = trace
        return trace

    def keep(self) -> None:
        """Write down what was learned since the last call. Never raises."""
        now = self._clock()
        rows = [
            (trace_id, trace.session_id, trace.named_ns, trace.is_session, int(now))
            for trace_id, trace in self._changed.items()
            if trace.changed
        ]
        if rows and self._try(
            lambda database: database.executemany("REPLACE INTO traces VALUES (?, ?, ?, ?, ?)", rows)
        ):
            for trace in self._changed.values():
                trace.changed = False
        self._changed.clear()
        while len(self._held) > self._limit:
            self._held.popitem(last=False)
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_EVERY_S
            self._try(lambda database: database.execute("DELETE FROM traces WHERE seen_s < ?", (int(now - KEPT_S),)))

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _read(self, trace_id: str) -> Trace:
        if self._database is not None:
            try:
                row = self._database.execute(
                    "SELECT session_id, named_ns, is_session FROM traces WHERE trace_id = ?", (trace_id,)
                ).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
            else:
                if row is not None:
                    return Trace(row[0], row[1], bool(row[2]))
        return Trace()

    def _try(self, write: Callable[[sqlite3.Connection], object]) -> bool:
        if self._database is None:
            return False
        try:
            with self._database:
                write(self._database)
        except sqlite3.OperationalError as error:  # locked, or the disk is full: the next time
            _log.debug("file=<%s>, error=<%s> | traces are kept later", self._file, error)
            return False
        except sqlite3.Error as error:
            self._give_up(error)
            return False
        return True

    def _open(self) -> None:
        for _ in range(2):
            try:
                make_folder(self._file.parent)
                make_file(self._file)
                self._database = sqlite3.connect(self._file, timeout=_BUSY_S, check_same_thread=False)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = OFF")  # it is a memory, no journal
                self._database.execute(_CREATE)
                self._database.execute("SELECT trace_id, session_id, named_ns, is_session, seen_s FROM traces LIMIT 1")
            except sqlite3.OperationalError as error:
                self._give_up(error)
                return
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
                with suppress(OSError):
                    self._file.unlink()
            else:
                return

    def _give_up(self, error: Exception) -> None:
        _log.warning("file=<%s>, error=<%s> | which session a trace belongs to is not remembered", self._file, error)
        with suppress(sqlite3.Error):
            self.close()
        self._database = None
