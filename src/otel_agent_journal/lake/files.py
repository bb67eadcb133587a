"""The Parquet files of a part: written by table and day, and read again to be rewritten. Flat in memory.

What one part has of a table and a day is one file, sorted by session and, within it, as the store has it. The same rows
give the same bytes, whenever and wherever they are written by one version of pyarrow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from otel_agent_journal.lake.manifest import File
from otel_agent_journal.lake.place import Place
from otel_agent_journal.lake.schema import NS_PER_DAY, day_column, day_text, schema_of
from otel_agent_journal.query.arrow import pa

pc: Final[Any] = import_module("pyarrow.compute")  # they carry no types
pq: Final[Any] = import_module("pyarrow.parquet")

GROUP_ROWS: Final = 128 * 1024  # of a row group; fewer where these have more than
GROUP_BYTES: Final = 32 * 1024**2
HELD_BYTES: Final = 64 * 1024**2  # of all files that are open together: what has most is written then
BATCH_ROWS: Final = 8_192  # of a file that is read again
_LEVEL: Final = 3  # of zstd: what a higher one saves is not worth its time
_MOST_NDV: Final = 100_000  # sessions that a bloom filter counts on: 76 KB a row group at most
_FPP: Final = 0.05


class _Writer:
    """One file that is being written, and the rows that wait for their row group."""

    def __init__(self, place: Place, file: File, part: str, sessions: int) -> None:
        self._place = place
        self._path = file.staged(part)
        self.table = file.table
        self.day = file.day
        self.rows = 0
        self.held_bytes = 0
        self._held: list[Any] = []
        self._held_rows = 0
        self._schema = schema_of(file.table)
        self._stream = place.create(self._path)
        self._writer = pq.ParquetWriter(
            self._stream,
            self._schema,
            compression="zstd",
            compression_level=_LEVEL,
            store_schema=False,  # engines of others know Parquet's own types
            bloom_filter_options={"session_id": {"ndv": max(1, min(sessions, _MOST_NDV)), "fpp": _FPP}},
        )

    def add(self, batch: Any) -> int:
        """Take rows; return how many bytes it holds more."""
        before = self.held_bytes
        while batch.num_rows:
            taken = batch.slice(0, GROUP_ROWS - self._held_rows)
            batch = batch.slice(taken.num_rows)
            self._held.append(taken)
            self._held_rows += taken.num_rows
            self.held_bytes += taken.nbytes
            if self._held_rows >= GROUP_ROWS or self.held_bytes >= GROUP_BYTES:
                self.flush()
        return self.held_bytes - before

    def flush(self) -> None:
        """Write what waits as a row group."""
        if not self._held:
            return
        with self._place.explained(f"write {self._path}"):
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema), row_group_size=GROUP_ROWS)
        self.rows += self._held_rows
        self._held, self._held_rows, self.held_bytes = [], 0, 0

    def close(self) -> File:
        """End the file; it is durable when this returns."""
        self.flush()
        with self._place.explained(f"write {self._path}"):
            self._writer.close()
            size_bytes = self._stream.tell()
            self._stream.close()
        self._place.settle(self._path)
        return File(self.table, self.day, self.rows, size_bytes)


class PartWriter:
    """Writes the files of a part where they wait to be moved. `sessions`: how many it will have, about."""

    def __init__(self, place: Place, part: str, sessions: int) -> None:
        self._place = place
        self._part = part
        self._sessions = sessions
        self._writers: dict[tuple[str, int], _Writer] = {}
        self._held_bytes = 0

    def add(self, table: str, batch: Any) -> None:
        """Take rows of any days, in the order in which they shall be in their files."""
        days = batch.column(batch.schema.get_field_index(day_column(table)))
        bounds = pc.min_max(days)
        low, high = bounds["min"].as_py() or 0, bounds["max"].as_py() or 0
        first, last = low // NS_PER_DAY, high // NS_PER_DAY
        if first == last and not days.null_count:
            self._add(table, first, batch)
            return
        of_rows = [(one or 0) // NS_PER_DAY for one in days.to_pylist()]
        for day in sorted(set(of_rows)):
            self._add(table, day, batch.filter(pa.array([one == day for one in of_rows])))

    def _add(self, table: str, day: int, batch: Any) -> None:
        writer = self._writers.get((table, day))
        if writer is None:
            file = File(table, day_text(day), 0, 0)
            writer = self._writers[table, day] = _Writer(self._place, file, self._part, self._sessions)
        self._held_bytes += writer.add(batch)
        while self._held_bytes > HELD_BYTES:
            fullest = max(self._writers.values(), key=lambda one: one.held_bytes)
            self._held_bytes -= fullest.held_bytes
            fullest.flush()

    def close(self) -> tuple[File, ...]:
        """End all files, and return them in order."""
        return tuple(self._writers[key].close() for key in sorted(self._writers))


class OldFile:
    """A file that is there, read once more in its order, a batch at a time, without some of its sessions."""

    def __init__(self, place: Place, table: str, path: str, without: Collection[str] = ()) -> None:
        self.table = table
        self._without = pa.array(sorted(without), pa.string())
        self._batches = self._read(place, path)
        self._batch = next(self._batches, None)

    @property
    def next_session(self) -> str | None:
        """The session of the next row; None at the end."""
        return None if self._batch is None else self._sessions(self._batch)[0].as_py()

    def before(self, session_id: str | None) -> Iterator[Any]:
        """Yield the rows of the sessions before one, in order; of all that are left where it is None."""
        while self._batch is not None:
            batch = self._batch
            sessions = self._sessions(batch)
            if session_id is None or sessions[-1].as_py() < session_id:
                self._batch = next(self._batches, None)
                yield batch
                continue
            count = pc.sum(pc.less(sessions, session_id)).as_py()
            if count:
                self._batch = batch.slice(count)
                yield batch.slice(0, count)
            return

    def _read(self, place: Place, path: str) -> Iterator[Any]:
        schema = schema_of(self.table)
        for batch in batches_of(place, path, schema.names):
            whole = conformed(batch, schema)
            kept = whole
            if len(self._without):
                kept = whole.filter(pc.invert(pc.is_in(self._sessions(whole), value_set=self._without)))
            if kept.num_rows:
                yield kept

    @staticmethod
    def _sessions(batch: Any) -> Any:
        return batch.column(batch.schema.get_field_index("session_id"))


class Within(NamedTuple):
    """Times: one of a row's columns is `least` or later, and one, perhaps another, `greatest` or before."""

    columns: Sequence[str]
    least: int | None
    greatest: int | None


def batches_of(
    place: Place,
    path: str,
    columns: Collection[str],
    *,
    ids: Collection[str] | None = None,
    within: Within | None = None,
    rows: int = BATCH_ROWS,
) -> Iterator[Any]:
    """Yield some columns of a file, of those row groups that may have what is looked for.

    Args:
        place: of the lake.
        path: of the file.
        columns: those wanted; what an older file does not have is left out.
        ids: sessions of which one must be in a row group.
        within: which times are looked for.
        rows: of a batch, at most.
    """
    with place.explained(f"read {path}"), place.open(path) as source:
        file = pq.ParquetFile(source, pre_buffer=True)
        names = file.schema_arrow.names
        wanted = [name for name in columns if name in names]
        for group in range(file.metadata.num_row_groups):
            if _may_have(file.metadata.row_group(group), ids, within):
                yield from file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=False)


def conformed(batch: Any, schema: Any) -> Any:
    """Return a batch with all columns of a schema: what it does not have is NULL."""
    if batch.schema.equals(schema):
        return batch
    names = batch.schema.names
    columns = [
        batch.column(names.index(field.name)).cast(field.type)
        if field.name in names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _may_have(group: Any, ids: Collection[str] | None, within: Within | None) -> bool:
    """Tell whether a row group may have a row that is looked for, by its statistics."""
    places = {group.column(at).path_in_schema: at for at in range(group.num_columns)}

    def bounds_of(name: str) -> tuple[Any, Any] | None:
        said = group.column(places[name]).statistics if name in places else None
        return (said.min, said.max) if said is not None and said.has_min_max else None

    if ids is not None:
        bounds = bounds_of("session_id")
        if bounds is not None and not any(bounds[0] <= one <= bounds[1] for one in ids):
            return False
    known = [bounds_of(name) for name in within.columns] if within else []
    if within is None or None in known:
        return True  # of a column nothing is known
    bounded = [one for one in known if one is not None]
    return (within.least is None or any(one[1] >= within.least for one in bounded)) and (
        within.greatest is None or any(one[0] <= within.greatest for one in bounded)
    )
