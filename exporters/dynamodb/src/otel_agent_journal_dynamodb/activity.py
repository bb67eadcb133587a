"""Which sessions had events arrive lately: an item for each append, without any condition (docs/adr/0031).

It lies by the hour, `ACTIVE#2026-01-31T12#3 / {time}#{session}`, has the number of the record that was put in the
session's log, and is deleted by its time to live. It only says where to look: what arrived is in that log (`logs`).

Times are the server's. An item is put within `LATE_S` of the time that it has, or else another record is announced
(`arrivals`); so who reads a little into the past has seen all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from otel_agent_journal_dynamodb.batches import Request, delete, projection, put, query, read_all, write_all
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.keys import LISTS, Key, activity_key, activity_of, share_of
from otel_agent_journal_dynamodb.logs import Record

SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3_600 * SECOND_NS
LATE_NS: Final = 50 * SECOND_NS  # from the time that an item has to its being there, at most: two calls may take it
WINDOW_NS: Final = 120 * SECOND_NS  # how far readers go back: twice that, and what clocks of servers may differ by
KEPT_NS: Final = 7 * 24 * HOUR_NS  # then an item expires
SURE_NS: Final = 6 * 24 * HOUR_NS  # so long an item is there for sure, once it was put
FOREVER_NS: Final = 2**63  # behind every time
PAGE: Final = 1_000  # items of one share that are looked at beyond those that were seen, at least


class Sight(NamedTuple):
    """An item as it was found: at that time, records up to `number` were announced, from behind `since` on."""

    at_ns: int
    partition: str
    number: int
    since: int


class Sights(NamedTuple):
    """Items in order, the time up to which these are all, and whether that is as far as there are any."""

    found: list[Sight]
    end_ns: int
    is_all: bool


class Activity:
    """The activity in one table. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def now_ns(self) -> int:
        """Return the server's time; asks for it where there was no answer lately."""
        if not self._connection.is_clock_fresh():
            key = {"PK": {"S": activity_of(0, 0)}, "SK": {"S": activity_key(0)}}
            self._connection.call("GetItem", {"TableName": self._connection.place.table, "Key": key})
        return self._connection.now_ns()

    def is_late(self, record: Record) -> bool:
        """Tell whether what was put just now was put so long after its time that readers may have passed it."""
        return self._connection.answered_ns() - record.at_ns > LATE_NS

    def item(self, partition: str, record: Record) -> Item:
        """Return the item that announces a session's records up to this one."""
        place, key = _key(partition, record.at_ns)
        return {
            "PK": {"S": place},
            "SK": {"S": key},
            "Number": {"N": str(record.number)},
            "From": {"N": str(record.since)},
            "ExpiresAt": {"N": str((record.at_ns + KEPT_NS) // SECOND_NS)},
        }

    def put(self, records: Sequence[tuple[str, Record]]) -> None:
        """Announce records of distinct sessions."""
        items = [self.item(partition, record) for partition, record in records]
        if len(items) == 1:
            self._connection.call("PutItem", {"TableName": self._connection.place.table, "Item": items[0]})
        else:
            write_all(self._connection, [put(item) for item in items])

    def withdraw(self, partition: str, records: Iterable[Record]) -> None:
        """Delete the items of records that were announced too late, and are announced otherwise by now."""
        write_all(self._connection, [delete(_key(partition, record.at_ns)) for record in records])

    def announced(self, partition: str, times_ns: Iterable[int]) -> set[int]:
        """Return those times of a session's records at which an item is there."""
        keys = {_key(partition, at_ns): at_ns for at_ns in times_ns}
        return {keys[item["PK"]["S"], item["SK"]["S"]] for item in read_all(self._connection, keys, "PK", "SK")}

    def read(self, start_ns: int, seen_ns: int, now_ns: int) -> Sights:
        """Return what happened since a time, as much of it as is read at once.

        Args:
            start_ns: the first time that is wanted.
            seen_ns: a time up to which all is read in any case; behind it at least as much as before it, or a page.
            now_ns: the time it is; where clocks differ, there is something of a moment later.
        """
        found: list[Sight] = []
        ends_ns: list[int] = []
        for share in range(LISTS):
            behind = 0
            for count, sight in enumerate(self._of(share, start_ns, now_ns), 1):
                found.append(sight)
                behind += sight.at_ns > seen_ns
                if behind >= max(PAGE, count - behind):
                    ends_ns.append(sight.at_ns)
                    break
        if not ends_ns:
            return Sights(sorted(found), now_ns, is_all=True)
        end_ns = min(ends_ns)
        return Sights(sorted(sight for sight in found if sight.at_ns <= end_ns), end_ns, is_all=False)

    def lately(self) -> set[str]:
        """Return the partitions of the sessions in which something has arrived within `WINDOW_NS`."""
        now_ns = self.now_ns()
        start_ns, end_ns = now_ns - WINDOW_NS, now_ns + SECOND_NS  # answers give the time in whole seconds
        return {sight.partition for share in range(LISTS) for sight in self._of(share, start_ns, end_ns)}

    def _of(self, share: int, start_ns: int, now_ns: int) -> Iterator[Sight]:
        for hour in range(start_ns // HOUR_NS, now_ns // HOUR_NS + 1):
            first_ns = max(start_ns, hour * HOUR_NS)
            for item in query(self._connection, **_since(activity_of(first_ns, share), first_ns)):
                at, _, key = item["SK"]["S"].partition("#")
                yield Sight(int(at), f"SESSION#{key}", int(item["Number"]["N"]), int(item["From"]["N"]))


def _key(partition: str, at_ns: int) -> Key:
    return activity_of(at_ns, share_of(partition, LISTS)), activity_key(at_ns, partition)


def _since(place: str, first_ns: int) -> Request:
    values: dict[str, Any] = {":p": {"S": place}, ":first": {"S": activity_key(first_ns)}}
    return {
        "KeyConditionExpression": "PK = :p AND SK >= :first",
        "ExpressionAttributeValues": values,
        **projection("SK", "Number", "From"),
    }
