"""What wakes a follower: LISTEN and NOTIFY, over a connection beside the pool.

Whoever listens holds an advisory lock, shared. A writer that cannot get that lock for itself knows that somebody
listens, and only then notifies: NOTIFY makes commits of all sessions of a server wait for one another. It does so after
its events are committed, in a statement of its own, so that no fsync is done while they wait. Waking is a matter of
latency alone: a follower that is not woken looks again by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, local
from typing import Any, Final

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from otel_agent_journal import forks
from otel_agent_journal.uninstrumented import uninstrumented
from otel_agent_journal_postgresql.database import Database
from otel_agent_journal_postgresql.statements import CHANNEL, FOLLOWERS_LOCK

QUIET_S: Final = 0.2  # for how long a writer that found nobody listening does not look again
_CLOSING_S: Final = 0.5  # within which a thread that waits notices that the store was closed
_NOTIFY: Final = (
    f"SELECT CASE WHEN pg_try_advisory_xact_lock({FOLLOWERS_LOCK}) THEN 0"
    f" ELSE length(pg_notify('{CHANNEL}', '')::text) + 1 END"
)


class Bell:
    """The writer's side: rings where somebody listens."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until = 0.0

    def ring(self, connection: Connection) -> None:
        """Notify followers of what this connection has committed."""
        if self._clock() < self._quiet_until:
            return
        with suppress(DBAPIError):  # they are committed all the same
            if connection.exec_driver_sql(_NOTIFY).scalar_one() == 0:
                self._quiet_until = self._clock() + QUIET_S


class Ear:
    """The follower's side: waits until a writer rings. Thread-safe; one connection serves all threads that wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._closed = False
        self.after_fork()
        forks.join(self, forks.Place.STORES)

    def after_fork(self) -> None:
        """Begin, here and in a child process, with a connection of its own."""
        self._changed = Condition()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._since = 0.0
        self._rung = 0
        self._somebody_waits = False
        self._heard = local()

    def wait(self, timeout_s: float) -> None:
        """Return when something may have been appended since this thread's last call, after `timeout_s` at the latest.

        Raises:
            StoreUnreachable: the connection broke, or cannot be had; the next call makes another.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._has_news() and not self._closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                if self._somebody_waits:
                    self._changed.wait(left)
                else:
                    self._wait_for_all(left)
            self._heard.rung = self._rung

    def close(self) -> None:
        """Close the connection; those who wait return soon."""
        self._closed = True
        forks.leave(self)
        with self._changed:
            if not self._somebody_waits:
                self._hang_up()

    def _has_news(self) -> bool:
        return getattr(self._heard, "rung", None) != self._rung  # a thread's first call is told to look

    def _wait_for_all(self, left: float) -> None:
        """Wait at the connection in the name of all threads; the lock is let go of meanwhile."""
        self._somebody_waits = True
        self._changed.release()
        rung = False
        try:
            rung = self._ring_comes(left)
        finally:
            self._changed.acquire()
            self._somebody_waits = False
            self._rung += rung
            if self._closed:
                self._hang_up()
            self._changed.notify_all()

    def _ring_comes(self, left: float) -> bool:
        connection = self._connection
        if connection is None:
            self._connection = connection = self._listening()
            self._since = time.monotonic()
            return True  # what was appended before nobody was told of
        # Writers may not have noticed us yet.
        unnoticed = self._since + 2 * QUIET_S - time.monotonic()
        patience = min(left, QUIET_S if unnoticed > 0 else left, _CLOSING_S)
        try:
            return next(connection.notifies(timeout=patience, stop_after=1), None) is not None or unnoticed > 0
        except psycopg.Error as problem:
            self._hang_up()
            raise self._database.explained(problem) from problem

    @uninstrumented()
    def _listening(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection = self._database.connect()
        try:
            connection.execute(f"LISTEN {CHANNEL}")
            connection.execute("SELECT pg_advisory_lock_shared(%s)", (FOLLOWERS_LOCK,))
        except BaseException as problem:
            connection.close()
            if isinstance(problem, psycopg.Error):
                raise self._database.explained(problem) from problem
            raise
        return connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
