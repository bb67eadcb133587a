"""What arrived at the journal, in order: by session, and of all sessions together (docs/adr/0013).

Each session has a log in its own partition, whose records name its events: `SESSION#s1 / ARRIVED#0000000000000017`. So
what is new in a session costs what is new, and nothing else. The `LOGS` shared logs name those records, for who follows
everything; a session's records are always named in the same one, by the hash of its key, so that writers of many
sessions do not wait for one another.

The cursor of a session is a number, that of all sessions has `LOGS` of them. Each may have a place within the next
record: `17+3`.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

import msgspec

from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.protocol import Arrived
from otel_agent_journal_dynamodb.batches import read_all
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.keys import ARRIVED, Key, share_of
from otel_agent_journal_dynamodb.logs import Log, Logged, Logs, Record, record_of

LOGS: Final = 8  # a layout: every client of a table must have the same
_PAGE: Final = 100  # records of one Query, at most
_PLACE: Final = r"\d{1,16}(?:\+\d{1,9})?"
_CURSOR: Final = re.compile(rf"{_PLACE}(?:(?:\.{_PLACE}){{{LOGS - 1}}})?", re.ASCII)


class Place(msgspec.Struct, frozen=True):
    """A place in a log: all records up to `number` are had, and so many `keys` of the next one."""

    number: int = 0
    keys: int = 0


BEGINNING: Final = Place()


class _Slice(msgspec.Struct, frozen=True):
    """Events that a session's record names, from a first one to before a last one."""

    partition: str
    number: int
    first: int
    last: int


def session_log(partition: str) -> Log:
    """Return the log of a session."""
    return Log(partition, ARRIVED)


def shared_log(partition: str) -> Log:
    """Return the log, one of `LOGS`, in which a session's records are named."""
    return Log(f"LOG#{share_of(partition, LOGS)}")


_SHARED: Final = tuple(Log(f"LOG#{number}") for number in range(LOGS))


class Arrivals:
    """What arrived in one table. Thread-safe."""

    def __init__(self, connection: Connection, forgotten: Callable[[], object]) -> None:
        self._connection = connection
        self.logs = Logs(connection, forgotten)

    # --- writing ---

    def before(self, partitions: Iterable[str]) -> dict[Log, int]:
        """Return of each log of these sessions a number after which what is written from now on will be logged."""
        both = ((session_log(partition), shared_log(partition)) for partition in partitions)
        return {log: self.logs.before(log) for log in dict.fromkeys(log for pair in both for log in pair)}

    def log(self, keys: Mapping[str, Sequence[str]], since: Mapping[Log, int]) -> dict[str, Logged]:
        """Log events that are in the table, each once.

        Args:
            keys: by session, the sort keys of its events.
            since: of a session's log, a number at or below which none of them is named; of a shared log, its last.

        Returns:
            By session, the records that name them.
        """
        found: dict[str, Logged] = {}
        named: dict[Log, dict[tuple[str, int, int], None]] = {}
        beyond = dict(since)
        for partition, ours in keys.items():
            shared = shared_log(partition)
            logged = self.logs.commit(session_log(partition), ours, since[session_log(partition)], since[shared])
            found[partition] = logged
            for record in (*logged.own, *logged.others):
                named.setdefault(shared, {})[partition, record.number, len(record.entries)] = None
                beyond[shared] = min(beyond[shared], record.beyond)
        for shared, entries in named.items():
            self.logs.commit(shared, entries, beyond[shared])
        return found

    # --- reading ---

    def follow(self, cursor: str | None, partition: str | None, limit: int) -> tuple[dict[Key, int], str]:
        """Return the keys of the next events, each with its record's number, and the cursor behind them.

        Of all sessions, or of one, which is asked alone unless the cursor is one of all. An event counts only where
        its `Arrival` is below that number: it was deleted and written again otherwise, and is logged anew further on.
        """
        if partition is not None and (cursor is None or "." not in cursor):
            return self._follow_one(cursor, partition, limit)
        places = self._places(cursor)
        slices = self._slices(places, partition, limit)
        wanted = {session_log(one.partition).key(one.number): one.partition for one in slices}
        names = {
            key: record_of(session_log(wanted[key]), item).entries
            for item in read_all(self._connection, wanted)
            if (key := (item["PK"]["S"], item["SK"]["S"]))
        }
        found: dict[Key, int] = {}
        for one in slices:
            entries = names.get(session_log(one.partition).key(one.number), ())
            found.update(((one.partition, str(key)), one.number) for key in entries[one.first : one.last])
        return found, ".".join(map(_text, places))

    def _follow_one(self, cursor: str | None, partition: str, limit: int) -> tuple[dict[Key, int], str]:
        log, place = session_log(partition), _place(self._checked(cursor) or "0")
        self._require(log, place, cursor)
        found: dict[Key, int] = {}
        for record in self.logs.records(log, place.number, min(limit, _PAGE)) if limit else ():
            had = place.keys if record.number == place.number + 1 else 0
            keys = record.entries[had : had + limit - len(found)]
            found.update(((partition, str(key)), record.number) for key in keys)
            had += len(keys)
            place = Place(record.number) if had >= len(record.entries) else Place(record.number - 1, had)
            if len(found) == limit:
                break
        return found, _text(place)

    def _slices(self, places: list[Place], partition: str | None, limit: int) -> list[_Slice]:
        """Return what comes next in the shared logs, and move `places` behind it."""
        wanted = [at for at, log in enumerate(_SHARED) if partition is None or log == shared_log(partition)]
        streams = [self._stream(at, places[at].number, max(1, min(limit, _PAGE))) for at in wanted if limit]
        found: list[_Slice] = []
        left = limit
        for _, at, record in heapq.merge(*streams, key=lambda one: one[:2]):
            had = places[at].keys if record.number == places[at].number + 1 else 0
            places[at] = Place(record.number)
            passed = 0
            for owner, number, count in cast("tuple[tuple[str, int, int], ...]", record.entries):
                first = max(0, had - passed)
                if first < count and partition in (None, owner):
                    last = min(count, first + left)
                    found.append(_Slice(owner, number, first, last))
                    left -= last - first
                    if last < count:
                        places[at] = Place(record.number - 1, passed + last)
                        break
                passed += count
            if not left:
                break
        return found

    def _stream(self, at: int, after: int, page: int) -> Iterator[tuple[int, int, Record]]:
        for record in self.logs.records(_SHARED[at], after, page):
            yield record.at_ns, at, record

    def _places(self, cursor: str | None) -> list[Place]:
        """Return the places of a cursor of all sessions.

        Raises:
            StoreError: this journal never gave it.
        """
        if cursor is None:
            return [BEGINNING] * LOGS
        places = [_place(text) for text in str(self._checked(cursor)).split(".")]
        if len(places) != LOGS:
            raise StoreError(f"cursor '{cursor}' is one of a session; start at None")
        for log, place in zip(_SHARED, places, strict=True):
            self._require(log, place, cursor)
        return places

    def _checked(self, cursor: str | None) -> str | None:
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise StoreError(f"cursor '{cursor}' is not one of store {self._connection.place.url}; start at None")
        return cursor

    def _require(self, log: Log, place: Place, cursor: str | None) -> None:
        wanted = place.number + (place.keys > 0)
        if wanted > self.logs.known(log) and wanted > (last := self.logs.last(log)):
            raise StoreError(
                f"cursor '{cursor}' is not one of store {self._connection.place.url}, where {log.partition} is at"
                f" {last}; start at None"
            )

    def tip(self, partition: str | None = None) -> str | None:
        """Return the cursor behind everything that is logged now; of a session, None where nothing is."""
        if partition is None:
            return ".".join(str(self.logs.last(log)) for log in _SHARED)
        number, is_empty = self.logs.tip(session_log(partition))
        return None if is_empty else str(number)


def arrived(logged: Logged) -> Arrived | None:
    """Return where a session's events arrived, None where that is not in one piece."""
    if not logged.is_in_one_piece():
        return None
    before = logged.own[0].number - 1
    return Arrived(str(before) if before else None, str(logged.own[-1].number))


def place_of(cursor: str | None) -> Place:
    """Return the place of a session's cursor, the beginning where it is None or another's."""
    return BEGINNING if cursor is None or not _CURSOR.fullmatch(cursor) or "." in cursor else _place(cursor)


def _place(text: str) -> Place:
    number, _, keys = text.partition("+")
    return Place(int(number), int(keys or 0))


def _text(place: Place) -> str:
    return f"{place.number}+{place.keys}" if place.keys else str(place.number)
