"""What is in a lake: which sessions, up to where, in which files. Kept beside the files, in `_journal/`.

`_journal/lake.json` says whose lake it is, and up to which cursor of the store everything is in it. Each part has a
file of its own, `_journal/parts/{part}.json`. Engines of others pass over what begins with `_`.

A part is replaced by what is on the disk before it is believed: new files are staged below `_journal/staged/`, the
part's manifest names them and what goes (`Move`), and then they are moved. Broken off before, nothing has happened;
broken off afterwards, whoever writes the lake next ends the move. So no session is in two files of one table and day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from otel_agent_journal.errors import LakeError, NewerSchema
from otel_agent_journal.lake.place import Place
from otel_agent_journal.lake.schema import TABLES, VERSION, path_of

ROOT: Final = "_journal/lake.json"
PARTS: Final = "_journal/parts"
STAGED: Final = "_journal/staged"

Key = tuple[str, int, str]


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A session that is in a part, and how it was then.

    `cursor` and `events` are its head's, `status`, `reason` and `ended_ns` as it was judged; `is_open`: a verdict that
    time alone may change. `first` is the key of its first event: where the store has it no more, the session was
    deleted there, and what begins anew under its id does not replace this. `parts`: its traces, and their cursors.
    """

    session_id: str
    cursor: str | None
    events: int
    status: str
    reason: str | None
    ended_ns: int | None
    is_open: bool
    first: Key | None
    parts: tuple[tuple[str, str | None], ...] = ()


class File(msgspec.Struct, frozen=True, array_like=True):
    """A file of a part: table, day, rows and bytes."""

    table: str
    day: str
    rows: int
    size_bytes: int

    def path(self, part: str) -> str:
        """Return where it is, below the lake's root."""
        return path_of(self.table, self.day, part)

    def staged(self, part: str) -> str:
        """Return where it waits to be moved there."""
        return f"{STAGED}/{part}.{self.table}.{self.day}.parquet"


class Move(msgspec.Struct, frozen=True):
    """What is left to be done: files to move into their places, files that go, parts that are in this one now."""

    files: tuple[File, ...]
    removed: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


class PartFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What readers need of a part."""

    name: str
    day: str
    files: tuple[File, ...]
    move: Move | None = None


class Part(PartFiles, frozen=True, kw_only=True):
    """Sessions that began on one day, and the files that they are in."""

    sessions: tuple[Entry, ...]

    @property
    def rows(self) -> int:
        """How many rows its files have."""
        return sum(file.rows for file in self.files)


class _Root(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    store: str
    tables: tuple[str, ...]
    cursor: str | None = None


class Known(NamedTuple):
    """Where a session is."""

    part: str
    entry: Entry


class Lake:
    """A lake that is there, or is about to be. Used by one thread; one process at a time may write it."""

    def __init__(self, place: Place, root: _Root) -> None:
        self.place = place
        self._root = root

    @property
    def store(self) -> str:
        """The identity of the store that it is a lake of."""
        return self._root.store

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it has."""
        return self._root.tables

    @property
    def cursor(self) -> str | None:
        """The store's cursor up to which everything is in the lake; None where that is not known."""
        return self._root.cursor

    def keep_cursor(self, cursor: str | None) -> None:
        """Keep that everything up to a cursor is in the lake; what is known already is not written again."""
        if cursor != self._root.cursor:
            self._root = msgspec.structs.replace(self._root, cursor=cursor)
            _write(self.place, ROOT, self._root)

    def create(self) -> None:
        """Write down whose lake it is, where that is not there yet. Durable when it returns."""
        if not self.place.is_there(ROOT):
            _write(self.place, ROOT, self._root)

    def names(self) -> list[str]:
        """Return the names of its parts, in order."""
        found = (one.path.rpartition("/")[2] for one in self.place.listed(PARTS))
        return [name.removesuffix(".json") for name in found if name.endswith(".json")]

    def part(self, name: str) -> Part:
        """Return a part. Raises `LakeError` where it is not there."""
        return _read(self.place, f"{PARTS}/{name}.json", Part)

    def parts(self) -> Iterator[Part]:
        """Yield its parts, one at a time."""
        return map(self.part, self.names())

    def files(self) -> Iterator[PartFiles]:
        """Yield the files of its parts, without the sessions."""
        for name in self.names():
            yield _read(self.place, f"{PARTS}/{name}.json", PartFiles)

    def known(self) -> dict[str, Known]:
        """Return where each session is; of one that was deleted and begun anew, its latest life."""
        return {entry.session_id: Known(part.name, entry) for part in self.parts() for entry in part.sessions}

    def commit(self, part: Part) -> None:
        """Put a part in the place of what was there of it: its `move` is done, then forgotten. Durable in between."""
        path = f"{PARTS}/{part.name}.json"
        _write(self.place, path, part)
        assert part.move is not None
        for file in part.move.files:
            if self.place.is_there(file.staged(part.name)):
                self.place.move(file.staged(part.name), file.path(part.name))
        for gone in part.move.removed:
            self.place.delete(gone)
        for name in part.move.parts:
            self.place.delete(f"{PARTS}/{name}.json")
        _write(self.place, path, msgspec.structs.replace(part, move=None))

    def recover(self) -> None:
        """End what was broken off as it was moved, and drop what was staged and never believed."""
        for found in list(self.files()):
            if found.move is not None:
                self.commit(self.part(found.name))
        for left in self.place.listed(STAGED):
            self.place.delete(left.path)

    def require_files(self) -> None:
        """See that every file that the manifests name is there, as long as it was written.

        Raises:
            LakeError: one is missing, or has another size: nothing may be believed of what it holds.
        """
        there = {one.path: one.size_bytes for table in self.tables for one in self.place.listed(table)}
        for part in self.files():
            for file in part.files:
                path = file.path(part.name)
                if there.get(path) != file.size_bytes:
                    what = "is missing" if path not in there else "is not the file that was written"
                    raise LakeError(
                        f"lake {self.place.url}: {path} {what}, though its manifest names it; bring it back, or remove"
                        f" {PARTS}/{part.name}.json with the part's files and export again"
                    )


def open_lake(place: Place) -> Lake:
    """Return the lake at a place.

    Raises:
        LakeError: there is none.
        NewerSchema: a newer version of this package wrote it.
    """
    data = place.read(ROOT)
    if data is None:
        raise LakeError(f"there is no lake at {place.url}; make one: agent-journal export --parquet {place.url}")
    return Lake(place, _checked(place, _decoded(place, ROOT, data, _Root)))


def lake_of(place: Place, store: str, tables: Sequence[str]) -> Lake:
    """Return the lake of a store at a place, which is made by its first part; `tables`: none is all, or those it has.

    Raises:
        LakeError: what is there is another store's, has other tables, or is no lake.
    """
    data = place.read(ROOT)
    if data is None:
        strange = next((one.path for name in TABLES for one in place.listed(name)), None)
        if strange is not None:
            raise LakeError(
                f"{place.url} has {strange}, and no {ROOT} that says whose it is; export to an empty place, or bring"
                " that back"
            )
        names = tuple(name for name in TABLES if name in tables or not tables)
        return Lake(place, _Root(version=VERSION, store=store, tables=names))
    lake = open_lake(place)
    if lake.store != store:
        raise LakeError(
            f"lake {place.url} is of the store {lake.store}, not of {store}; a lake is of one store: export to another"
            " place"
        )
    if tables and set(tables) != set(lake.tables):
        raise LakeError(
            f"lake {place.url} has the tables {', '.join(lake.tables)}; leave --tables out, or export to another place"
        )
    return lake


def _checked(place: Place, root: _Root) -> _Root:
    if root.version > VERSION:
        raise NewerSchema(f"lake {place.url}", root.version, VERSION)
    return root


def _read(place: Place, path: str, kind: type[Any]) -> Any:
    data = place.read(path)
    if data is None:
        raise LakeError(f"lake {place.url}: {path} was there a moment ago; another process writes the lake: try again")
    return _decoded(place, path, data, kind)


def _decoded(place: Place, path: str, data: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise LakeError(f"lake {place.url}: {path} is damaged or not ours: {error}; bring it back") from error


def _write(place: Place, path: str, value: Any) -> None:
    place.write(path, msgspec.json.encode(value))
