"""One SQLite file, opened when it is first needed: who may use it, in which transaction, and what went wrong.

Opening writes nothing to a file that is not a journal of this version. What SQLite reports becomes our errors: what
may pass (locked, full, read-only, away) `StoreUnreachable`, what will not (damaged, foreign) `StoreUnusable`. Knows
nothing of events.

A connection must not cross a fork, nor may a child open a second one beside it: SQLite counts the locks on a file once
a process, and would take the parent's for the child's own. So a fork waits for the statement that runs, and the child
closes what it inherited before it opens the file again; a child that was not waited for has no store.

A file that was removed or replaced while open is opened anew, else all that is written would vanish with it. So is one
whose write-ahead log was: what is committed lies there first. `openings` tells who wrote before that it may be gone.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import local
from typing import Final, Literal
from urllib.parse import quote

from otel_agent_journal import forks
from otel_agent_journal.descriptors import Borrowed, keep_for_ever, open_here
from otel_agent_journal.errors import NewerSchema, StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal.pasting import pasted
from otel_agent_journal.places import make_file, make_folder
from otel_agent_journal.store.sqlite_tables import APPLICATION_ID, CREATE, MIGRATIONS, OLDEST_VERSION, TABLES_VERSION
from otel_agent_journal.threads import RLock
from otel_agent_journal.uninstrumented import uninstrumented

Synchronous = Literal["full", "normal"]

CACHE_KIB: Final = 8 * 1024  # the hot pages of the key's index at a few dozen sessions written at once
CHECKPOINT_PAGES: Final = 4_000  # 16 MB: an fsync of the main file every 30,000 events or so
JOURNAL_SIZE_LIMIT: Final = 64 * 1024 * 1024  # what a long reader made the WAL grow to is given back

_TRIES_TO_PUT_BACK: Final = 10
FORK_WAIT_S: Final = 0.2  # what a fork may cost an agent whose store is locked

# By primary result code. Every text says what is the matter and what to do next.
_PASSING: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another process; end its transaction, or retry",
    sqlite3.SQLITE_LOCKED: "is locked by another statement; retry",
    sqlite3.SQLITE_PROTOCOL: "is locked by other processes in turn; retry",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full; free space, or move the journal to another disk",
    sqlite3.SQLITE_READONLY: "is read-only; make the file and its folder writable, or name another store",
    sqlite3.SQLITE_PERM: "is not accessible; check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder is there and may be read and written",
    sqlite3.SQLITE_IOERR: "cannot be read or written; check the disk it lies on, and how much is free there",
    sqlite3.SQLITE_NOMEM: "needs more memory than there is; retry",
}
# After these the connection is of no more use.
_REOPEN_AFTER: Final = frozenset((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY))
_DAMAGED: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


class _Opening:
    lock = RLock()  # one connection at a time: what is open then, and was not before, is its own


class SqliteFile:
    """A journal's file and the one connection to it.

    Thread-safe by one lock. `create=False` is for readers: a file that is not there is not made.
    """

    def __init__(self, path: Path, *, create: bool, timeout_s: float, synchronous: Synchronous) -> None:
        self.path = path.absolute()
        self._create = create
        self._timeout_s = timeout_s
        self._synchronous = synchronous
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None
        self._named: dict[Path, tuple[int, int] | None] = {}  # the files in use by name, and which they are
        self.openings = 0
        self._sealed = False
        self._closed = False
        self._lost = ""
        self._numbers = Borrowed(())
        self._forking = local()
        forks.join(self, forks.Place.STORES)

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Yield the connection, for statements that write nothing."""
        with self._lock, uninstrumented():
            try:
                yield self._ready()
            except sqlite3.Error as error:
                raise self._explained(error) from error

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Yield the connection in a write transaction, committed and on the disk when the block ends."""
        with self.reading() as connection:
            if connection.in_transaction:  # called by a signal handler or a finalizer of this very thread
                raise StoreUnreachable(f"journal {self.path} is in the middle of a write of this thread; retry")
            with _transaction(connection):
                yield connection

    def missing(self) -> tuple[str, ...]:
        """Return what opening the file would make, a line each; makes nothing."""
        with self._lock:
            if self._closed:
                raise StoreUnusable(f"journal {self.path} is closed")
            try:
                version = self._version_there() if _size(self.path) else 0
            except sqlite3.Error as error:
                raise self._explained(error) from error
        if version:
            return tuple(f"bring its tables to version {number}" for number in range(version + 1, TABLES_VERSION + 1))
        tables = "create its tables: events, agent_instances, sessions, blobs, documents"
        return (tables,) if self.path.exists() else (f"create the file {self.path}", tables)

    def size_bytes(self) -> int:
        """Return what the file and its write-ahead log take."""
        return _size(self.path) + _size(self._log)

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            self._closed = True
            self._drop()
        forks.leave(self)

    @property
    def _log(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    @property
    def _files(self) -> tuple[Path, Path, Path]:
        return self.path, self._log, self.path.with_name(self.path.name + "-shm")

    def _ready(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnusable(f"journal {self.path} is closed")
        if self._connection is not None and (self._numbers.lost or not self._numbers.are_there):
            self._take_back()
        if self._lost:
            raise StoreUnreachable(
                f"journal {self.path} was being written to when this process {self._lost}, which can therefore not use"
                " it; another process will deliver what is in the spool"
            )
        if self._connection is not None and (self._sealed or not self._is_named()):
            self._drop()
        return self._open() if self._connection is None else self._connection

    def _open(self) -> sqlite3.Connection:
        with _Opening.lock:
            before = Borrowed(self._files).numbers
            self._connection = connection = self._opened()
            self.openings += not self._sealed
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # all its files are open now
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            files = (self.path, self._log) if mode == "wal" and not self._sealed else (self.path,)
            self._named = {path: _inode_of(path) for path in files}
            self._numbers = Borrowed(self._files, before)
            held = open_here()
        named = self._named.values()
        if None in named or (held and not held.issuperset(named)):  # what SQLite has open has no name any more
            self._drop()
            raise StoreUnreachable(f"journal {self.path} was removed or replaced as it was opened; retry")
        return connection

    def _is_named(self) -> bool:
        """Tell whether the files in use are still those of their names: nobody has removed or replaced one."""
        return all(inode is not None and _inode_of(path) == inode for path, inode in self._named.items())

    def _take_back(self) -> None:
        """Let go of a connection whose descriptors the program has closed, as a daemon does.

        SQLite would write to whatever file has such a number by now, and close it.
        """
        for _ in range(_TRIES_TO_PUT_BACK):
            with suppress(OSError):
                if self._numbers.put_back():
                    self._drop()
                    return
            time.sleep(0.005)  # a number may be another's for a moment alone
        keep_for_ever(self._connection)
        self._connection, self._lost = None, "closed its files"

    def _opened(self) -> sqlite3.Connection:
        self._sealed = False
        if self.path.is_dir():
            raise StoreUnreachable(f"journal {self.path} is a folder, and a file is expected; name another file")
        if _size(self.path) and (version := self._version_there()):
            if version < TABLES_VERSION:
                self._migrate(version)
            return self._connected("ro&immutable=1" if self._sealed else "rw")
        if not self._create:
            raise StoreUnreachable(
                f"there is no journal at {self.path} yet; run an agent with this store first, or check the path"
            )
        return self._created()

    def _version_there(self) -> int:
        """Look at the file without being able to change it; a folder we may not write to makes it sealed."""
        try:
            return self._identified("ro")
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
        self._sealed = True
        return self._identified("ro&immutable=1")

    def _identified(self, mode: str) -> int:
        with closing(self._connected(mode)) as connection:
            connection.execute("BEGIN")  # one snapshot: another process may be making the tables right now
            return self._version_of(connection)

    def _version_of(self, connection: sqlite3.Connection) -> int:
        """Return the version of a journal of ours, 0 of a blank database; raise for what we can do nothing with."""
        (program,) = connection.execute("PRAGMA application_id").fetchone()
        version = _version(connection)
        if program == APPLICATION_ID and version:
            if version > TABLES_VERSION:
                raise NewerSchema(f"journal {self.path}", version, TABLES_VERSION)
            if version < OLDEST_VERSION:
                raise StoreUnusable(
                    f"journal {self.path} is of version {version}, from before the first release, and this package"
                    f" reads {TABLES_VERSION}; it was left untouched: move it away, or name another file"
                )
            return version
        tables = ", ".join(name for (name,) in connection.execute("SELECT name FROM sqlite_master LIMIT 4"))
        if program or version or tables:
            raise StoreUnusable(
                f"{self.path} is a SQLite file of another program (application_id {program},"
                f" tables: {tables or 'none'}); it was left untouched: name another file"
            )
        return 0

    def _migrate(self, version: int) -> None:
        """Bring the tables up to date, who writes to the file; who reads it is told how to."""
        if not self._create or self._sealed:
            raise StoreUnreachable(
                f"journal {self.path} is of version {version}, this package reads {TABLES_VERSION}; bring it up to"
                f" date with agent-journal store init 'sqlite:///{quote(str(self.path))}'"
            )
        with closing(self._connected("rw")) as connection, _transaction(connection):
            for number in range(self._version_of(connection) + 1, TABLES_VERSION + 1):
                for statement in MIGRATIONS[number]:
                    connection.execute(statement)

    def _created(self) -> sqlite3.Connection:
        try:
            make_folder(self.path.parent)
        except OSError as error:
            raise StoreUnreachable(f"journal {self.path}: its folder cannot be made: {error.strerror}") from error
        with suppress(OSError):  # SQLite says what is the matter; its other files have the mode of this one
            make_file(self.path)
        connection = self._connected("rwc")
        try:
            self._write_ahead(connection)
            with _transaction(connection):
                if not self._version_of(connection):  # else another process was first
                    for statement in CREATE:
                        connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """Switch to WAL, which fails at once and not after the timeout while another process does the same."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def _connected(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=self._timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA secure_delete = ON")  # as most builds have it: what is redacted is overwritten
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}")
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def before_fork(self) -> None:
        """Wait for the statement that runs, for a moment."""
        self._forking.waited = self._lock.acquire(timeout=FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._forking.waited:
            self._lock.release()

    def after_fork(self) -> None:
        """Close what was inherited; a connection that was in use is given up."""
        self._lock, _Opening.lock = RLock(), RLock()
        if self._forking.waited:
            self._drop()
        else:
            keep_for_ever(self._connection)
            self._connection, self._lost = None, "was forked"

    def _explained(self, error: sqlite3.Error) -> StoreError:
        code = _code(error)
        if code in _PASSING:
            if code in _REOPEN_AFTER:
                self._drop()
            waited = f" (waited {self._timeout_s:g} s)" if code == sqlite3.SQLITE_BUSY else ""
            return StoreUnreachable(f"journal {self.path} {_PASSING[code]}{waited}: {error}")
        if code in _DAMAGED:
            self._drop()
            return StoreUnusable(
                f"{self.path} is not a journal, or a damaged one ({error}); it was left as it is: save what can be"
                f" read with `sqlite3 {pasted(str(self.path))} .recover`, move the file away, or name another"
            )
        return StoreError(f"journal {self.path}: {error}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors roll back by themselves
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version


def _code(error: sqlite3.Error) -> int | None:
    extended = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
