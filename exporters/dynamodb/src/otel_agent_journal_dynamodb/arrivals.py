"""What arrived at the journal, in order: logs of records without gaps (docs/adr/0013).

A record names the events that one append has written, and is put under the next number of its log if nobody else has
it: `LOG#3 / 0000000000000017`. So a record is there only when its events are, the numbers have no gaps, and whoever
has read up to a number has missed nothing below it. A session's events are always in the same log, by the hash of its
key; there are `LOGS` of them, so that writers of many sessions do not wait for one another.

Whoever finds its number taken reads what came between and leaves out events that are logged there: an event is in its
log once, however many writers bring it at the same time.
"""

from __future__ import annotations

import heapq
import random
import re
import time
from collections.abc import Iterable, Iterator
from itertools import chain as chained
from typing import Any, Final

import msgspec

from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal_dynamodb.batches import query
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.failures import COLLECTION_FULL, Refusal, error_of_log
from otel_agent_journal_dynamodb.keys import Key, share_of

LOGS: Final = 8  # a layout: every client of a table must have the same
RECORD_BYTES: Final = 200 * 1024  # of keys in one record, half of what an item holds
CONTENTION_S: Final = 20.0  # how long one append tries to get a number before the drain has to repeat it
RETRY_S: Final = 0.01  # the longest first pause of a writer whose number was taken
SURE_S: Final = 2.0  # a table is not deleted and made anew in so short a time, whoever saw a record needs not look
LAST: Final = "9" * 16
_CURSOR: Final = re.compile(rf"\d{{1,16}}(?:\+\d{{1,9}})?(?:\.\d{{1,16}}(?:\+\d{{1,9}})?){{{LOGS - 1}}}", re.ASCII)

_Keys = dict[Key, None]  # a set in order


class Record(msgspec.Struct, frozen=True):
    """One record: its log, its number, when its writer put it, and the keys of the events."""

    log: int
    number: int
    at_ns: int
    keys: tuple[Key, ...]


class Place(msgspec.Struct, frozen=True):
    """A place in one log: all records up to `number` are had, and so many `keys` of the next one."""

    number: int = 0
    keys: int = 0


class Arrivals:
    """The logs of one table. Thread-safe: what it remembers is only ever a lower bound."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, tuple[int, float]] = {}  # by log, the highest number that was seen, and when

    # --- writing ---

    def log_of(self, partition: str) -> int:
        """Return the log of a session's events."""
        return share_of(partition, LOGS)

    def before(self, log: int) -> int:
        """Return a number such that what is written from now on will be logged after it."""
        known = self._known.get(log)
        return self.last(log) if known is None else known[0]

    def doubtful(self, log: int) -> Key | None:
        """Return the key of the last known record, where it was not seen lately: its table may be another by now.

        Who writes has to see it first. After a record that is not there another would lie beyond a gap, for good.
        """
        number, at = self._known.get(log, (0, 0.0))
        return (_partition(log), f"{number:016d}") if number and not 0 <= time.time() - at < SURE_S else None

    def last(self, log: int) -> int:
        """Return the number of a log's last record, 0 where there is none; what was known before is forgotten."""
        found = self._connection.call(
            "Query",
            {
                **self._range(log, 1),
                "ScanIndexForward": False,
                "Limit": 1,
                "ProjectionExpression": "SK",
                "ConsistentRead": True,
            },
        )["Items"]
        number = int(found[0]["SK"]["S"]) if found else 0
        self._known[log] = number, time.time()
        return number

    def commit(self, log: int, keys: Iterable[Key], since: int) -> None:
        """Log events that are in the table, each once. `since`: none of them is logged at or below this number."""
        pending: _Keys = dict.fromkeys(keys)
        number, taken, until = since, since < self._number(log), time.monotonic() + CONTENTION_S
        attempt = 0
        while pending:
            if taken:
                number = self._leave_out_logged(log, number, pending)
                if not pending:
                    return
            portion = _portion(pending)
            taken = not self._put(self.record(log, number + 1, portion))
            if not taken:
                number = self.saw(log, number + 1)
                for key in portion:
                    del pending[key]
                continue
            attempt += 1
            if time.monotonic() > until:
                raise StoreUnreachable(
                    f"store {self._connection.place.url}: log {log} of arrivals is written by too many at once:"
                    f" {attempt} attempts in {CONTENTION_S:g} s; the same append may succeed later"
                )
            self._connection.sleep(random.uniform(0, RETRY_S * min(attempt, 10)))  # noqa: S311 - no secret

    def record(self, log: int, number: int, keys: Iterable[Key]) -> Item:
        """Return the item of a record."""
        runs: list[list[str]] = []
        for partition, key in keys:
            if not runs or runs[-1][0] != partition:
                runs.append([partition])
            runs[-1].append(key)
        return {
            "PK": {"S": _partition(log)},
            "SK": {"S": f"{number:016d}"},
            "At": {"N": str(time.time_ns())},
            "Keys": {"S": msgspec.json.encode(runs).decode()},
        }

    def forget(self) -> None:
        """Ask for the last numbers anew: the table is gone, and may come back as another."""
        self._known.clear()

    def _leave_out_logged(self, log: int, number: int, pending: _Keys) -> int:
        for record in self.records(log, number):
            number = record.number
            for key in record.keys:
                pending.pop(key, None)
            if not pending:
                break
        return number

    def _put(self, item: Item) -> bool:
        try:
            self._connection.call(
                "PutItem",
                {
                    "TableName": self._connection.place.table,
                    "Item": item,
                    "ConditionExpression": "attribute_not_exists(PK)",
                },
            )
        except Refusal as refusal:
            if refusal.code == "ConditionalCheckFailedException":
                return False
            if refusal.code in COLLECTION_FULL:
                raise error_of_log(self._connection.place, item["PK"]["S"]) from refusal
            raise
        return True

    # --- reading ---

    def records(self, log: int, after: int, limit: int | None = None) -> Iterator[Record]:
        """Yield the records after a number, in order. A page of `limit` is asked for at a time."""
        options = {} if limit is None else {"Limit": limit}
        expected = after + 1
        for item in query(self._connection, **self._range(log, expected), **options):
            number = int(item["SK"]["S"])
            if number != expected:  # a Query is no snapshot: one may show up before the one below it does
                return
            expected += 1
            runs: list[list[str]] = msgspec.json.decode(item["Keys"]["S"])
            keys = chained.from_iterable(((run[0], key) for key in run[1:]) for run in runs)
            self.saw(log, number)
            yield Record(log, number, int(item["At"]["N"]), tuple(keys))

    def follow(self, cursor: str | None, partition: str | None, limit: int) -> tuple[dict[Key, int], str]:
        """Return the keys of the next events, each with its record's number, and the cursor behind them.

        Of all sessions, or of one. An event counts only where its `Arrival` is below that number: it was deleted
        and written again otherwise, and is logged anew further on.
        """
        places = self.places(cursor)
        logs = range(LOGS) if partition is None else [self.log_of(partition)]
        page = max(1, min(limit, 100))
        found: dict[Key, int] = {}
        streams = [self.records(log, places[log].number, page) for log in logs] if limit > 0 else []
        for record in heapq.merge(*streams, key=lambda record: (record.at_ns, record.log)):
            for position in range(places[record.log].keys, len(record.keys)):
                if len(found) == limit:
                    places[record.log] = Place(record.number - 1, position)
                    break
                key = record.keys[position]
                if partition is None or key[0] == partition:
                    found[key] = record.number
            else:
                places[record.log] = Place(record.number)
            if len(found) == limit:
                break
        return found, cursor_of(places)

    def places(self, cursor: str | None) -> list[Place]:
        """Return the places of a cursor.

        Raises:
            StoreError: this journal never gave it.
        """
        if cursor is None:
            return [Place()] * LOGS
        if not _CURSOR.fullmatch(cursor):
            raise StoreError(f"cursor '{cursor}' is not one of store {self._connection.place.url}; start at None")
        places: list[Place] = []
        for log, text in enumerate(cursor.split(".")):
            number, _, keys = text.partition("+")
            places.append(Place(int(number), int(keys or 0)))
            self._require(log, places[-1], cursor)
        return places

    def _require(self, log: int, place: Place, cursor: str) -> None:
        wanted = place.number + (place.keys > 0)
        if wanted > self._number(log) and wanted > (last := self.last(log)):
            raise StoreError(
                f"cursor '{cursor}' is not one of store {self._connection.place.url}, whose log {log} is at"
                f" {last}; start at None"
            )

    def tip(self) -> str:
        """Return the cursor behind everything that is logged now."""
        return cursor_of([Place(self.last(log)) for log in range(LOGS)])

    def _range(self, log: int, first: int) -> dict[str, Any]:
        return {
            "TableName": self._connection.place.table,
            "KeyConditionExpression": "PK = :log AND SK BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":log": {"S": _partition(log)},
                ":first": {"S": f"{first:016d}"},
                ":last": {"S": LAST},
            },
        }

    def saw(self, log: int, number: int) -> int:
        """Remember that a record of this number is there; return the number."""
        if number >= self._number(log):
            self._known[log] = number, time.time()
        return number

    def _number(self, log: int) -> int:
        return self._known.get(log, (0, 0.0))[0]


def cursor_of(places: Iterable[Place]) -> str:
    """Return places as a cursor."""
    return ".".join(f"{place.number}+{place.keys}" if place.keys else str(place.number) for place in places)


def _partition(log: int) -> str:
    return f"LOG#{log}"


def _portion(pending: _Keys) -> list[Key]:
    portion: list[Key] = []
    size = 0
    for key in pending:
        size += len(key[0]) + 4 * len(key[1])  # ids may be of any letters
        if portion and size > RECORD_BYTES:
            break
        portion.append(key)
    return portion
