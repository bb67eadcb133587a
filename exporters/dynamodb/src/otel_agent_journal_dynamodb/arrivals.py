"""What arrived at the journal: logged by session, announced to who follows everything, followed by session.

Each session has a log in its own partition (`logs`): what is new in a session costs what is new, and nothing else, and
writers of different sessions never meet. Behind what it logs an append puts an item of activity (`activity`), which
`following` reads (docs/adr/0031).

A record is announced where an item is there that was put in time, its own or that of a later record with a `From` below
it. Who puts a record looks up to which number that is so, and announces all behind it. Who finds an item of its own too
late, or a record that nobody has announced, puts another record, an empty one, which is announced in its place: it has
a number of its own, so of several that do so one does it first, and the others see that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.store.protocol import Arrived
from otel_agent_journal_dynamodb.activity import SURE_NS, Activity
from otel_agent_journal_dynamodb.batches import WRITE_ITEMS
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.keys import Key
from otel_agent_journal_dynamodb.logs import Known, Logged, Logs, Record

ATTEMPTS: Final = 8  # to announce something in time
_PAGE: Final = 100  # records of one Query, at most
_CURSOR: Final = re.compile(r"\d{1,16}(?:\+\d{1,9})?", re.ASCII)


class Place(msgspec.Struct, frozen=True):
    """A place in a log: all records up to `number` are had, and so many `keys` of the next one."""

    number: int = 0
    keys: int = 0


BEGINNING: Final = Place()


class Arrivals:
    """What arrived in one table. Thread-safe. `expiry` returns the attributes of what is written now."""

    def __init__(self, connection: Connection, forgotten: Callable[[], object], expiry: Callable[[], Item]) -> None:
        self._connection = connection
        self.logs = Logs(connection, forgotten, expiry)
        self.activity = Activity(connection)
        self._late: dict[str, list[Record]] = {}  # what was announced too late, until it is announced anew

    # --- writing ---

    def before(self, partitions: Iterable[str]) -> dict[str, int]:
        """Return of each session's log a number after which what is written from now on will be logged."""
        return {partition: self.logs.before(partition) for partition in partitions}

    def log(self, keys: Mapping[str, Sequence[str]], since: Mapping[str, int]) -> dict[str, Logged]:
        """Log events that are in the table, each once, and announce them.

        Args:
            keys: by session, the sort keys of its events.
            since: of a session's log, a number at or below which none of them is named.

        Returns:
            By session, the records that name them.
        """
        found: dict[str, Logged] = {}
        sessions = iter(keys.items())
        while batch := dict(islice(sessions, WRITE_ITEMS)):  # few enough that the first is announced in time
            for partition, ours in batch.items():
                found[partition] = self.logs.commit(partition, ours, since[partition], self.announced)
            self.announce([(partition, found[partition].own[-1]) for partition in batch if found[partition].own])
            for partition in batch:
                if found[partition].others and not found[partition].own:
                    self.settle(partition)
        return found

    def announce(self, records: Sequence[tuple[str, Record]]) -> None:
        """Announce records that were just put, the last ones of their sessions."""
        if records:
            self.activity.put(records)
        self.told(records)

    def told(self, records: Sequence[tuple[str, Record]]) -> None:
        """See to what was announced too late: it is announced anew."""
        late = [one for one in records if self.activity.is_late(one[1])]  # by the answer to that, before another call
        for partition, record in records:
            if (partition, record) in late:
                self._late.setdefault(partition, []).append(record)
            else:
                self._is_told(partition, record)
        for partition, _ in late:
            self._announce_anew(partition)

    def settle(self, partition: str) -> None:
        """Announce what a session's writers have left unannounced."""
        last = self.logs.last(partition)
        if self.announced(partition, self.logs.tail(partition)) >= last.number:
            return
        if self.activity.is_late(last):
            self._announce_anew(partition)
        else:
            self.announce([(partition, last)])  # as its writer does, or would have

    def announced(self, partition: str, known: Known) -> int:
        """Return the number up to which the records of a session are announced, up to one that is told."""
        record, late = known.record, self._late_of(partition, known.record)
        if late is not None:
            return self._announced_before(partition, late)
        if known.is_announced or record.is_deleted or not record.number:
            return record.number
        if self._connection.now_ns() - record.at_ns > SURE_NS:
            return record.number  # its item may have expired; in so long somebody has seen to it
        if self.activity.announced(partition, [record.at_ns]):
            self.logs.saw(partition, record, is_announced=True)
            return record.number
        return self._announced_before(partition, record)

    def _announced_before(self, partition: str, last: Record) -> int:
        """Return up to which number the records before one are announced, by others than that one."""
        if last.since >= last.number - 1:
            return last.since
        between = {
            record.at_ns: record.number
            for record in self.logs.records(partition, last.since)
            if record.number < last.number
        }
        return max((between[at_ns] for at_ns in self.activity.announced(partition, between)), default=last.since)

    def _late_of(self, partition: str, last: Record) -> Record | None:
        """Return the first record up to a last one that we have announced too late, if nobody has seen to it since."""
        late = self._late.get(partition)
        if not late or (first := min(late, key=lambda record: record.number)).number > last.number:
            return None
        ours = {record.number for record in late}
        behind = self.logs.records(partition, first.number)
        over = [record.at_ns for record in behind if record.since < first.number and record.number not in ours]
        if not self.activity.announced(partition, over):
            return first
        self._withdraw(partition)
        return None

    def _is_told(self, partition: str, record: Record) -> None:
        """Remember that a record is announced in time, and all that it announces."""
        self.logs.saw(partition, record, is_announced=True)
        if any(record.since < late.number for late in self._late.get(partition, ())):
            self._withdraw(partition)

    def _withdraw(self, partition: str) -> None:
        """Forget what we have announced too late: who reads that time from now on is given it by its new time alone."""
        self.activity.withdraw(partition, self._late[partition])
        self._late.pop(partition, None)

    def _announce_anew(self, partition: str) -> None:
        """Put an empty record, and announce it: for what nobody has announced, or what we have announced too late."""
        for _ in range(ATTEMPTS):
            last = self.logs.last(partition)
            at_ns = self.logs.time_after(last)  # before it is asked what is announced
            since = self.announced(partition, self.logs.tail(partition))
            if since >= last.number:
                return  # another has done it
            record = Record(last.number + 1, at_ns, since)
            if not self.logs.put(partition, record):
                continue
            self.activity.put([(partition, record)])
            if not self.activity.is_late(record):
                self._is_told(partition, record)
                return
            self._late.setdefault(partition, []).append(record)
        raise StoreUnreachable(
            f"store {self._connection.place.url}: what arrived in {partition} could not be announced in time in"
            f" {ATTEMPTS} attempts; it is there, the same append may succeed later"
        )

    # --- reading ---

    def follow(self, cursor: str | None, partition: str, limit: int) -> tuple[dict[Key, int], str]:
        """Return the keys of a session's next events, each with its record's number, and the cursor behind them.

        An event counts only where its `Arrival` is below that number: it was deleted and written again otherwise, and
        is logged anew further on.
        """
        place = self.place_of(cursor, partition)
        found: dict[Key, int] = {}
        return found, text_of(self.take(partition, place, found, limit))

    def take(self, partition: str, place: Place, found: dict[Key, int], limit: int, last: int | None = None) -> Place:
        """Add the keys behind a place in a session's log to those found, until there are `limit`.

        Args:
            partition: the session's.
            place: where to begin.
            found: by key, the number of the record that names it.
            limit: how many there are to be, at most.
            last: the number of the last record that is wanted.

        Returns:
            The place behind them.
        """
        if len(found) >= limit or (last is not None and place.number >= last):
            return place
        for record in self.logs.records(partition, place.number, min(limit, _PAGE)):
            if last is not None and record.number > last:
                break
            had = place.keys if record.number == place.number + 1 else 0
            keys = record.keys[had : had + limit - len(found)]
            found.update(((partition, key), record.number) for key in keys)
            had += len(keys)
            place = Place(record.number) if had >= len(record.keys) else Place(record.number - 1, had)
            if len(found) >= limit:
                return place
        return place if last is None else Place(max(place.number, last))  # what is not there has expired

    def place_of(self, cursor: str | None, partition: str) -> Place:
        """Return the place of a session's cursor.

        Raises:
            StoreError: this journal never gave it.
        """
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise StoreError(f"cursor '{cursor}' is not one of store {self._connection.place.url}; start at None")
        place = place_of(cursor)
        wanted = place.number + (place.keys > 0)
        if wanted > self.logs.known(partition) and wanted > (last := self.logs.last(partition).number):
            raise StoreError(
                f"cursor '{cursor}' is not one of store {self._connection.place.url}, where {partition} is at"
                f" {last}; start at None"
            )
        return place

    def tip(self, partition: str) -> str | None:
        """Return the cursor behind everything that is logged in a session now, None where nothing is."""
        last = self.logs.last(partition)
        return None if last.is_deleted or not last.number else str(last.number)

    def boundary(self, partition: str, at_ns: int) -> tuple[int, int]:
        """Return the number up to which a session's records were announced before a time, and when the last one was.

        That is in force for good: whoever begins behind it is given all that was announced since, once. Only the time
        must be so long ago that what was put then is announced.
        """
        since: int | None = None
        for record in self.logs.backwards(partition):
            if record.at_ns < at_ns:
                number = self.announced(partition, Known(record)) if since is None else since
                return number, record.at_ns
            since = record.since if since is None else min(since, record.since)  # a late one may go further back
        return since or 0, 0


def arrived(logged: Logged) -> Arrived | None:
    """Return where a session's events arrived, None where that is not in one piece."""
    if not logged.is_in_one_piece():
        return None
    before = logged.own[0].number - 1
    return Arrived(str(before) if before else None, str(logged.own[-1].number))


def place_of(cursor: str | None) -> Place:
    """Return the place of a session's cursor, the beginning where it is None or another's."""
    if cursor is None or not _CURSOR.fullmatch(cursor):
        return BEGINNING
    number, _, keys = cursor.partition("+")
    return Place(int(number), int(keys or 0))


def is_of_session(cursor: str) -> bool:
    """Tell whether a cursor has the form of one of a session."""
    return _CURSOR.fullmatch(cursor) is not None


def text_of(place: Place) -> str:
    """Return the cursor of a place in a session's log."""
    return f"{place.number}+{place.keys}" if place.keys else str(place.number)
