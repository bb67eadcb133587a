"""Logs of records without gaps, in one table (docs/adr/0013).

A record names what was written right before it, and is put under the next number of its log if nobody else has it:
`LOG#3 / 0000000000000017`. So a record is there only when what it names is, the numbers have no gaps, and whoever has
read up to a number has missed nothing below it. Whoever finds its number taken reads what came between and leaves out
what is named there: an entry is in its log once, however many writers bring it at the same time.

Of a log whose records were deleted the last one stays, empty: a number is never given twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb.batches import query
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.failures import COLLECTION_FULL, error_of_log
from otel_agent_journal_dynamodb.keys import Key

RECORD_BYTES: Final = 200 * 1024  # of entries in one record, half of what an item holds
CONTENTION_S: Final = 20.0  # how long one append tries to get a number before the drain has to repeat it
RETRY_S: Final = 0.01  # the longest first pause of a writer whose number was taken
SURE_S: Final = 2.0  # a table is not deleted and made anew in so short a time, whoever saw a record needs not look
MAX_KNOWN: Final = 10_000  # logs of which the last number is remembered
_LAST: Final = "9" * 16

Entry = str | tuple[Any, ...]  # the sort key of a session's event; or a session's record, and how many events it names
_Entries = dict[Entry, None]  # a set in order


class Log(NamedTuple):
    """Where a log lies: its partition, and how its sort keys begin."""

    partition: str
    prefix: str = ""

    def key(self, number: int) -> Key:
        """Return the key of a record."""
        return self.partition, f"{self.prefix}{number:016d}"


class Record(msgspec.Struct, frozen=True):
    """One record: when its writer put it, what it names, and what was the `beyond` last number of another log then."""

    number: int
    at_ns: int
    beyond: int
    entries: tuple[Entry, ...]


class Logged(NamedTuple):
    """The records that name what was to be logged: those that were put for it, and those that others had put."""

    own: list[Record]
    others: list[Record]

    def last(self) -> int:
        """Return the highest number of them, 0 where there are none."""
        return max((record.number for record in (*self.own, *self.others)), default=0)

    def is_in_one_piece(self) -> bool:
        """Tell whether all was new, and nothing by anybody else came between."""
        return bool(self.own) and not self.others and self.own[-1].number - self.own[0].number == len(self.own) - 1


class Logs:
    """The logs of one table. Thread-safe: what it remembers is only ever a lower bound.

    `forgotten` is called where the table turns out to be another than it was.
    """

    def __init__(self, connection: Connection, forgotten: Callable[[], object]) -> None:
        self._connection = connection
        self._forgotten = forgotten
        self._known: dict[Log, tuple[int, float]] = {}  # the highest number that was seen, and when

    def before(self, log: Log) -> int:
        """Return a number such that what is written from now on will be logged after it."""
        known = self._known.get(log)
        return self.last(log) if known is None else known[0]

    def doubtful(self, log: Log) -> Key | None:
        """Return the key of the last known record, where it was not seen lately: its table may be another by now.

        Who writes has to see it first. After a record that is not there another would lie beyond a gap, for good.
        """
        number, at = self._known.get(log, (0, 0.0))
        return log.key(number) if number and not 0 <= time.time() - at < SURE_S else None

    def last(self, log: Log) -> int:
        """Return the number of a log's last record, 0 where there is none."""
        return self.tip(log)[0]

    def tip(self, log: Log) -> tuple[int, bool]:
        """Return the number of a log's last record, 0 where there is none, and whether it is an empty one."""
        known = self.known(log)
        found = self._connection.call(
            "Query",
            {
                **self._range(log, 1),
                "ScanIndexForward": False,
                "Limit": 1,
                "ProjectionExpression": "SK, Deleted",
                "ConsistentRead": True,
            },
        )["Items"]
        number = _number(log, found[0]) if found else 0
        if number < known:
            self.forget()
        self.saw(log, number)
        return number, not found or "Deleted" in found[0]

    def known(self, log: Log) -> int:
        """Return the highest number that was seen, 0 where none was."""
        return self._known.get(log, (0, 0.0))[0]

    def saw(self, log: Log, number: int) -> None:
        """Remember that a record of this number is there."""
        if number >= self.known(log):
            self._known[log] = number, time.time()
        if len(self._known) > MAX_KNOWN:
            self._known.pop(next(iter(self._known)), None)

    def forget(self) -> None:
        """Ask for the last numbers anew: the table is gone, and may come back as another."""
        self._known.clear()
        self._forgotten()

    def records(self, log: Log, after: int, limit: int | None = None) -> Iterator[Record]:
        """Yield the records after a number, in order. A page of `limit` is asked for at a time."""
        options = {} if limit is None else {"Limit": limit}
        expected = after + 1
        for item in query(self._connection, **self._range(log, expected), **options):
            number = _number(log, item)
            if number != expected and "Deleted" not in item:
                return  # a Query is no snapshot: one may show up before the one below it does
            expected = number + 1
            self.saw(log, number)
            yield record_of(log, item)

    def item(self, log: Log, number: int, entries: Iterable[Entry], beyond: int = 0, *, deleted: bool = False) -> Item:
        """Return the item of a record, or of the empty one that stays where those up to it were `deleted`."""
        partition, key = log.key(number)
        return {
            "PK": {"S": partition},
            "SK": {"S": key},
            "At": {"N": str(time.time_ns())},
            "Keys": {"S": msgspec.json.encode(tuple(entries)).decode()},
            **({"Beyond": {"N": str(beyond)}} if beyond else {}),
            **({"Deleted": {"BOOL": True}} if deleted else {}),
        }

    def commit(self, log: Log, entries: Iterable[Entry], since: int, beyond: int = 0) -> Logged:
        """Log entries for what is in the table, each once; return the records that name them.

        Args:
            log: the log.
            entries: what is to be named.
            since: none of them is named at or below this number.
            beyond: kept with each record that is put.
        """
        pending: _Entries = dict.fromkeys(entries)
        logged = Logged([], [])
        number, taken, until = since, since < self.known(log), time.monotonic() + CONTENTION_S
        attempt = 0
        while pending:
            if taken:
                number = self._leave_out_logged(log, number, pending, logged.others)
                if not pending:
                    break
            item = self.item(log, number + 1, _portion(pending), beyond)
            taken = not self.put(item)
            if not taken:
                record = record_of(log, item)
                number = record.number
                self.saw(log, number)
                logged.own.append(record)
                for entry in record.entries:
                    del pending[entry]
                continue
            attempt += 1
            if time.monotonic() > until:
                raise StoreUnreachable(
                    f"store {self._connection.place.url}: log {log.partition} of arrivals is written by too many at"
                    f" once: {attempt} attempts in {CONTENTION_S:g} s; the same append may succeed later"
                )
            self._connection.sleep(random.uniform(0, RETRY_S * min(attempt, 10)))  # noqa: S311 - no secret
        return logged

    def put(self, item: Item) -> bool:
        """Put a record if nobody has its number; return whether it was put."""
        request = {"TableName": self._connection.place.table, "Item": item}
        try:
            self._connection.call("PutItem", {**request, "ConditionExpression": "attribute_not_exists(PK)"})
        except Refusal as refusal:
            if refusal.code == "ConditionalCheckFailedException":
                return False
            if refusal.code in COLLECTION_FULL and item["PK"]["S"].startswith("LOG#"):
                raise error_of_log(self._connection.place, item["PK"]["S"]) from refusal
            raise
        return True

    def _leave_out_logged(self, log: Log, number: int, pending: _Entries, others: list[Record]) -> int:
        for record in self.records(log, number):
            number = record.number
            there = len(pending)
            for entry in record.entries:
                pending.pop(entry, None)
            if len(pending) < there:
                others.append(record)
            if not pending:
                break
        return number

    def _range(self, log: Log, first: int) -> dict[str, Any]:
        return {
            "TableName": self._connection.place.table,
            "KeyConditionExpression": "PK = :log AND SK BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":log": {"S": log.partition},
                ":first": {"S": log.key(first)[1]},
                ":last": {"S": log.prefix + _LAST},
            },
        }


def record_of(log: Log, item: Item) -> Record:
    """Return the record of an item."""
    entries: list[Any] = msgspec.json.decode(item["Keys"]["S"])
    return Record(
        _number(log, item),
        int(item["At"]["N"]),
        int(item["Beyond"]["N"]) if "Beyond" in item else 0,
        tuple(entry if isinstance(entry, str) else tuple(entry) for entry in entries),
    )


def _number(log: Log, item: Item) -> int:
    return int(item["SK"]["S"][len(log.prefix) :])


def _portion(pending: _Entries) -> list[Entry]:
    portion: list[Entry] = []
    size = 0
    for entry in pending:
        size += len(msgspec.json.encode(entry))
        if portion and size > RECORD_BYTES:
            break
        portion.append(entry)
    return portion
