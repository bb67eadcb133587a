"""The connections to one database: a pool, opened by the first call, and anew after whatever broke it.

Each call takes a connection of its own, so a store serves any number of threads. A connection never crosses a fork: the
child leaves those it inherited as they are and opens its own. Calls whose connection broke while it lay in the pool,
and those that lost a deadlock, are made again here, a few times; everything that a store does may be repeated.

Looks once whether the tables are there and of this version (`prepared`); makes none.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import RLock
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from otel_agent_journal import forks
from otel_agent_journal.errors import StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal.uninstrumented import uninstrumented
from otel_agent_journal_postgresql.address import Address
from otel_agent_journal_postgresql.failures import explained, is_transient

POOL_CONNECTIONS: Final = 8  # kept; as many threads again get one that is closed after use
POOL_WAIT_S: Final = 10.0
ATTEMPTS: Final = 5
_GRACE_S: Final = 1.0  # beyond the server's own statement_timeout, before it is taken for gone
# Where a server or a role does not wait for its disk, we do: what `append` returned from is safe.
_DURABLE: Final = (
    "CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END"
)
_UNBOUNDED: Final = "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', %s, true)"
_PAUSE_S: Final = 0.02  # before another attempt after a deadlock, doubled each time, with jitter
_INHERITED: Final[list[Any]] = []  # what a child must not close, or the parent's connection ends

Result = TypeVar("Result")


class PatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that does not wait for ever: what lies between us and a server may fall silent."""

    patience_s: float | None = None

    def wait(self, gen: PQGen[Result], *args: Any, **options: Any) -> Result:
        """Wait as psycopg does, `patience_s` at the longest; then the connection is closed.

        So is one that psycopg gives up in the middle of a call. It says "connection socket closed" where poll() shows a
        reset as an error alone, and leaves the connection open. The pool would then take it back as one in use.
        """
        if self.patience_s is not None:
            gen = self._bounded(gen, self.patience_s)
        try:
            return super().wait(gen, *args, **options)
        except psycopg.OperationalError as problem:
            if problem.sqlstate is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise

    def _bounded(self, gen: PQGen[Result], patience_s: float) -> PQGen[Result]:
        deadline = time.monotonic() + patience_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {patience_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class Database:
    """Runs work on connections to one database. Thread-safe, and safe over a fork."""

    def __init__(self, address: Address, look: Callable[[Connection], None]) -> None:
        self.address = address
        self._look = look  # raises where the tables are not ours, or not there
        self._closed = False
        self._start_anew()
        forks.join(self, forks.Place.STORES)

    def after_fork(self) -> None:
        """Begin again in a child process; what was inherited is the parent's, and is never closed there."""
        _INHERITED.append(self._engine)
        self._start_anew()

    def _start_anew(self) -> None:
        self._lock = RLock()
        self._engine: Engine | None = None
        self._prepared = False

    @uninstrumented()
    def run(self, work: Callable[[Connection], Result], *, prepared: bool = True) -> Result:
        """Run `work` on a connection that commits each statement; it may be run again from the start.

        `prepared=False` is for what is done to a database without tables.
        """
        for attempt in range(ATTEMPTS):
            engine = self._engine_here()
            try:
                with engine.connect() as connection:
                    if prepared and not self._prepared:
                        self._look(connection)
                        connection.rollback()  # SQLAlchemy began a transaction to look, and would refuse another
                        self._prepared = True
                    return work(connection)
            except DBAPIError as error:
                problem = cast("psycopg.Error", error.orig)
                self._forget_tables(problem)
                if attempt == ATTEMPTS - 1 or not self._again(error, problem, attempt):
                    raise explained(problem, self.address) from problem
            except psycopg.Error as problem:  # of the driver itself, as `creator` raises it
                raise explained(problem, self.address) from problem
            except PoolTimeout as error:
                raise StoreUnreachable(
                    f"store {self.address.url}: all {2 * POOL_CONNECTIONS} connections of this process are in use,"
                    f" none came free in {POOL_WAIT_S:g} s; use fewer threads, or retry"
                ) from error
            finally:
                if self._closed:  # meanwhile: the pool keeps what comes back to it
                    engine.pool.dispose()
        raise AssertionError("the last attempt returns or raises")

    def transaction(
        self,
        work: Callable[[Connection], Result],
        *,
        prepared: bool = True,
        bounded: bool = True,
        lock_wait_s: float | None = None,
    ) -> Result:
        """Run `work` in one transaction, which is committed when it returns.

        `bounded=False` is for what an operator waits for: its statements may take any time, of which they wait for a
        lock no longer than `lock_wait_s`; by default as long as any other statement may take.
        """
        lock_wait_ms = int(1000 * (self.address.timeout_s if lock_wait_s is None else lock_wait_s))

        def in_transaction(connection: Connection) -> Result:
            connection = connection.execution_options(isolation_level="READ COMMITTED")  # not each statement by itself
            driver = cast("PatientConnection", connection.connection.driver_connection)
            patience_s = driver.patience_s
            with connection.begin():
                if not bounded:
                    driver.patience_s = None
                    connection.exec_driver_sql(_UNBOUNDED, (f"{lock_wait_ms}ms",))
                try:
                    return work(connection)
                finally:
                    driver.patience_s = patience_s

        return self.run(in_transaction, prepared=prepared)

    @uninstrumented()
    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection of the driver's, beside the pool, that commits each statement."""
        try:
            return self._connected()
        except psycopg.Error as problem:
            raise explained(problem, self.address) from problem

    def explained(self, problem: psycopg.Error) -> StoreError:
        """Return our error for one of the driver's."""
        return explained(problem, self.address)

    def close(self) -> None:
        """Close all connections, those in use when their call ends; whatever is called afterwards is refused."""
        forks.leave(self)
        with self._lock:
            self._closed = True
            if self._engine is not None:
                self._engine.pool.dispose()
            self._engine = None

    def _engine_here(self) -> Engine:
        if self._closed:
            raise StoreUnusable(f"store {self.address.url} is closed")
        with self._lock:
            if self._engine is None:
                self._engine = create_engine(
                    "postgresql+psycopg://",
                    creator=self._connected,
                    isolation_level="AUTOCOMMIT",
                    pool_size=POOL_CONNECTIONS,
                    max_overflow=POOL_CONNECTIONS,
                    pool_timeout=POOL_WAIT_S,
                    pool_use_lifo=True,
                    hide_parameters=True,  # what agents say is not for logs
                    use_native_hstore=False,
                )
            return self._engine

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection = PatientConnection.connect(**self.address.connection, autocommit=True)
        connection.patience_s = self.address.timeout_s + _GRACE_S
        try:
            wait_ms = int(self.address.timeout_s * 1000)
            settings = {
                "client_encoding": "UTF8",
                # What waited for a row goes on with that row as it is now: the numbers of a session rest on it.
                "default_transaction_isolation": "read committed",
                "statement_timeout": f"{wait_ms}ms",
                # Of a process that stands still in the middle of a transaction, so that no other waits for its locks.
                "idle_in_transaction_session_timeout": f"{wait_ms}ms",
            }
            if self.address.schema is not None:
                settings["search_path"] = '"' + self.address.schema.replace('"', '""') + '"'
            calls = ", ".join("set_config(%s, %s, false)" for _ in settings)
            connection.execute(f"SELECT {calls}, {_DURABLE}", [part for pair in settings.items() for part in pair])
        except BaseException:
            connection.close()
            raise
        return connection

    def _forget_tables(self, problem: psycopg.Error) -> None:
        if problem.sqlstate in ("42P01", "42703", "3F000"):
            self._prepared = False

    def _again(self, error: DBAPIError, problem: psycopg.Error, attempt: int) -> bool:
        """Tell whether to make the call again; waits before it where others are in the way."""
        if is_transient(problem):
            time.sleep(_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            return True
        return error.connection_invalidated and attempt == 0
