"""The door to SQL: `query`. Imports DuckDB and Arrow, which are an extra, when it is called."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from importlib import import_module
from typing import TYPE_CHECKING, Final

from otel_agent_journal.errors import MissingExtra
from otel_agent_journal.projections.cost import Price
from otel_agent_journal.store.protocol import JournalStore

if TYPE_CHECKING:
    from otel_agent_journal.query.engine import Query

DEFAULT_MEMORY_BYTES: Final = 512 * 1024 * 1024
DEFAULT_TIMEOUT_S: Final = 60.0


def query(
    store: JournalStore,
    sql: str,
    *,
    sessions: Collection[str] | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    now_ns: int | None = None,
    waiting_writers: Collection[str] = frozenset(),
    progress: Callable[[int, int], None] | None = None,
    stuck: Callable[[], None] | None = None,
    price: Price = lambda _: None,
    without: Callable[[str], bool] = lambda _: False,
) -> Query:
    """Return the result of one SELECT over a journal; rows are read from the store as they are asked for.

    Use it in a `with`, or close it; the store stays the caller's. Not thread-safe. Tables, columns and what is left to
    the store are in docs/query.md.

    Args:
        store: any store that can be read.
        sql: one statement that reads.
        sessions: ids of the only sessions to look at; None is all.
        memory_bytes: what DuckDB may hold of intermediate results; nothing is written to a disk instead.
        timeout_s: how long it may work; the time between two rows that the caller takes does not count.
        now_ns: when sessions are judged, UTC; the present by default.
        waiting_writers: writers whose silence proves nothing, as their spool holds events that are not delivered.
        progress: called now and then with the sessions and events read so far.
        stuck: called from another thread where a query goes on although its time is over.
        price: what calls are billed at; by default costs are those alone that a provider told.
        without: tells of a session, by its id, that it has no rows here.

    Raises:
        MissingExtra: DuckDB or pyarrow is not installed.
        QueryError: the SQL is malformed, names what is not there, or would do more than read.
    """
    require_packages("what `query` runs on (DuckDB and pyarrow)", "duckdb", "pyarrow")
    from otel_agent_journal.query.engine import Query
    from otel_agent_journal.query.sources import StoreSource

    judged_ns = time.time_ns() if now_ns is None else now_ns
    return Query(
        lambda moved: StoreSource(
            store, moved, now_ns=judged_ns, waiting_writers=waiting_writers, price=price, without=without
        ),
        sql,
        sessions=sessions,
        memory_bytes=memory_bytes,
        timeout_s=timeout_s,
        progress=progress,
        stuck=stuck,
    )


def require_packages(what: str, *packages: str) -> None:
    """See that packages of the extra `query` can be imported.

    Raises:
        MissingExtra: one cannot.
    """
    try:
        for package in packages:
            import_module(package)
    except ImportError as error:
        raise MissingExtra(what, "otel-agent-journal[query]") from error
