"""What a query reads: a source of the journal's tables. A store is one; a lake of files is another (`lake.source`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

from otel_agent_journal.projections.cost import Price
from otel_agent_journal.query.arrow import TableDataset, batches_of_rows
from otel_agent_journal.query.reading import Reader, TableRead
from otel_agent_journal.query.tables import Column, Table
from otel_agent_journal.store.protocol import JournalStore

Watched = Callable[[Iterator[Any]], Iterator[Any]]  # what everything goes through that is read, to know why it failed


class Source(Protocol):
    """The journal's tables, for one query. Not thread-safe."""

    @property
    def tables(self) -> dict[str, TableRead]:
        """By table what may be read of it, which the query says, and what was."""
        ...

    def dataset(self, table: Table, watched: Watched) -> Any:
        """Return a table as what DuckDB takes for an Arrow dataset, its columns named `table.column`."""
        ...


class StoreSource:
    """The tables of a store. Arguments as of `query`; `moved`: as of `Reader`."""

    def __init__(
        self,
        store: JournalStore,
        moved: Callable[[], None],
        *,
        now_ns: int,
        waiting_writers: Collection[str],
        price: Price,
        without: Callable[[str], bool],
    ) -> None:
        self._reader = Reader(store, {}, now_ns=now_ns, waiting_writers=waiting_writers, moved=moved, without=without)
        self._price = price

    @property
    def tables(self) -> dict[str, TableRead]:
        """By table what may be read of it, and what was."""
        return self._reader.tables

    def dataset(self, table: Table, watched: Watched) -> Any:
        """Return a table as a dataset that reads the store when it is scanned."""

        def batches(columns: Sequence[Column]) -> Iterator[Any]:
            return batches_of_rows(table, columns, watched(self._reader.rows(table.name, columns)), self._price)

        return TableDataset(table, batches)
