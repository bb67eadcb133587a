"""The logs of sessions: records without gaps of what arrived in each (docs/adr/0013, docs/adr/0031).

A record names the events that were written right before it, and is put under the next number of its session if nobody
else has it: `SESSION#s1 / ARRIVED#0000000000000017`. So a record is there only when what it names is, the numbers have
no gaps, and whoever has read up to a number has missed nothing below it. Whoever finds its number taken reads what came
between and leaves out what is named there: an event is in its log once, however many writers bring it at the same time.

Records have the time at which they were put, later ones a later one, and the number up to which others had announced
the records before: `activity` says to who follows everything that they are there.

Of a log whose records were deleted the last one stays, empty: a number is never given twice. Records expire a week
after the events that they name.
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
from otel_agent_journal_dynamodb.keys import ARRIVED, Key, record_key

RECORD_BYTES: Final = 200 * 1024  # of keys in one record, half of what an item holds
CONTENTION_S: Final = 20.0  # how long one append tries to get a number before the drain has to repeat it
RETRY_S: Final = 0.01  # the longest first pause of a writer whose number was taken
SURE_S: Final = 2.0  # a table is not deleted and made anew in so short a time, whoever saw a record needs not look
OUTLIVES_S: Final = 7 * 86_400  # how much later than its events a record expires; DynamoDB takes days to delete
MAX_KNOWN: Final = 10_000  # sessions of which the last record is remembered
_LAST: Final = "9" * 16
_FEW: Final = 4  # records that are read at once from the end


class Record(msgspec.Struct, frozen=True):
    """One record: when it was put, the keys that it names, and the number up to which all had been announced then.

    `is_deleted` where it is all that is left of the records up to it.
    """

    number: int
    at_ns: int
    since: int
    keys: tuple[str, ...] = ()
    is_deleted: bool = False


NONE: Final = Record(0, 0, 0)


class Known(NamedTuple):
    """The last record of a log that was seen, without its keys; whether it is announced for sure; when that was."""

    record: Record
    is_announced: bool = False
    at_s: float = 0.0


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
    """The logs of the sessions in one table. Thread-safe: what it remembers is only ever a lower bound.

    `forgotten` is called where the table turns out to be another than it was. `expiry` returns the attributes of what
    is written now.
    """

    def __init__(self, connection: Connection, forgotten: Callable[[], object], expiry: Callable[[], Item]) -> None:
        self._connection = connection
        self._forgotten = forgotten
        self._expiry = expiry
        self._known: dict[str, Known] = {}
        self._unsure: set[str] = set()  # sessions whose last number is asked for before it is relied on

    def before(self, partition: str) -> int:
        """Return a number such that what is written from now on will be logged after it."""
        if partition not in self._unsure and (known := self.known(partition)):
            return known
        number = self.last(partition).number
        self._unsure.discard(partition)  # and not before: another thread asks, too
        return number

    def doubtful(self, partition: str) -> Key | None:
        """Return the key of the last known record, where it was not seen lately: its table may be another by now.

        Who writes has to see it first. After a record that is not there another would lie beyond a gap.
        """
        known = self._known.get(partition)
        if known is None or not known.record.number or 0 <= time.time() - known.at_s < SURE_S:
            return None
        return partition, record_key(known.record.number)

    def last(self, partition: str) -> Record:
        """Return a log's last record, without its keys; number 0 where there is none."""
        known = self.known(partition)
        record = next(self._backwards(partition, 1, "SK", "At", "From", "Deleted"), NONE)
        if record.number < known:
            self.forget()
        self.saw(partition, record)
        return record

    def known(self, partition: str) -> int:
        """Return the highest number that was seen, 0 where none was."""
        known = self._known.get(partition)
        return 0 if known is None else known.record.number

    def tail(self, partition: str) -> Known:
        """Return the last record as far as it is known, looked for where nothing is."""
        known = self._known.get(partition)
        if known is None:
            record = self.last(partition)
            known = self._known.get(partition) or Known(record)
        return known

    def saw(self, partition: str, record: Record, *, is_announced: bool = False) -> None:
        """Remember that a record is there, and whether it is announced."""
        known = self._known.get(partition)
        if known is None or record.number >= known.record.number:
            again = known is not None and known.record.number == record.number
            sure = is_announced or record.is_deleted or (again and known is not None and known.is_announced)
            self._known[partition] = Known(msgspec.structs.replace(record, keys=()), sure, time.time())
        if len(self._known) > MAX_KNOWN:
            self._known.pop(next(iter(self._known)), None)

    def doubt(self, partition: str) -> None:
        """Ask for a session's last number anew: while it had no mark of ours it may have been deleted.

        What is left of the numbers then is the last alone: the next one after ours may be free, and lie behind it.
        """
        self._unsure.add(partition)
        if len(self._unsure) > MAX_KNOWN:  # of sessions to which a value alone was written
            self._unsure.clear()
            self._known.clear()

    def forget(self) -> None:
        """Ask for the last numbers anew: the table is gone, and may come back as another."""
        self._known.clear()
        self._forgotten()

    def records(self, partition: str, after: int, limit: int | None = None) -> Iterator[Record]:
        """Yield the records after a number, in order. A page of `limit` is asked for at a time."""
        options = {} if limit is None else {"Limit": limit}
        expected, passed = after + 1, 0
        while True:
            gap = 0
            for item in query(self._connection, **self._range(partition, expected), **options):
                record = record_of(item)
                if record.number not in (expected, passed) and not record.is_deleted:
                    gap = record.number
                    break
                expected = record.number + 1
                self.saw(partition, record)
                yield record
            if not gap:
                return
            # A Query is no snapshot: one may show up before the one below it does, which was there before. So what is
            # still missing when it is asked for again has expired.
            passed = gap

    def backwards(self, partition: str) -> Iterator[Record]:
        """Yield the records from the last one on, without their keys."""
        return self._backwards(partition, _FEW, "SK", "At", "From", "Deleted")

    def item(self, partition: str, record: Record) -> Item:
        """Return the item of a record."""
        more = self._expiry()
        if more:
            more = {"ExpiresAt": {"N": str(int(more["ExpiresAt"]["N"]) + OUTLIVES_S)}}
        return {
            "PK": {"S": partition},
            "SK": {"S": record_key(record.number)},
            "At": {"N": str(record.at_ns)},
            "From": {"N": str(record.since)},
            "Keys": {"S": msgspec.json.encode(record.keys).decode()},
            **({"Deleted": {"BOOL": True}} if record.is_deleted else {}),
            **more,
        }

    def commit(self, partition: str, keys: Iterable[str], since: int, announced: Callable[[str, Known], int]) -> Logged:
        """Log what is in the table, each once; return the records that name it.

        Args:
            partition: the session's.
            keys: what is to be named.
            since: none of them is named at or below this number.
            announced: returns the number up to which the records of a session are announced, of whose last one it is
                told.
        """
        pending = dict.fromkeys(keys)
        logged = Logged([], [])
        number, until = since, time.monotonic() + CONTENTION_S
        attempt = 0
        own: Record | None = None  # the last record, where it is ours and of this call
        while pending:
            known = self.tail(partition)
            if known.record.number > number:
                number = self._leave_out_logged(partition, number, pending, logged.others)
                own = None
                continue
            at_ns = self.time_after(known.record)  # before it is asked what is announced
            base = announced(partition, known) if own is None else own.since
            record = Record(known.record.number + 1, at_ns, base, _portion(pending))
            if self.put(partition, record):
                logged.own.append(record)
                own, number = record, record.number
                for key in record.keys:
                    del pending[key]
                continue
            attempt += 1
            if time.monotonic() > until:
                raise StoreUnreachable(
                    f"store {self._connection.place.url}: the log of {partition} is written by too many at once:"
                    f" {attempt} attempts in {CONTENTION_S:g} s; the same append may succeed later"
                )
            self._connection.sleep(random.uniform(0, RETRY_S * min(attempt, 10)))  # noqa: S311 - no secret
            number = self._leave_out_logged(partition, number, pending, logged.others)
            own = None
        return logged

    def time_after(self, record: Record) -> int:
        """Return the time of what is put behind a record: now, and later than that."""
        return max(self._connection.now_ns(), record.at_ns + 1)

    def put(self, partition: str, record: Record) -> bool:
        """Put a record if nobody has its number; return whether it was put."""
        request = {"TableName": self._connection.place.table, "Item": self.item(partition, record)}
        try:
            self._connection.call("PutItem", {**request, "ConditionExpression": "attribute_not_exists(PK)"})
        except Refusal as refusal:
            if refusal.code == "ConditionalCheckFailedException":
                return False
            raise
        self.saw(partition, record)
        return True

    def _leave_out_logged(self, partition: str, number: int, pending: dict[str, None], others: list[Record]) -> int:
        for record in self.records(partition, number):
            number = record.number
            there = len(pending)
            for key in record.keys:
                pending.pop(key, None)
            if len(pending) < there:
                others.append(record)
            if not pending:
                break
        return number

    def _backwards(self, partition: str, few: int, *attributes: str) -> Iterator[Record]:
        names = {f"#a{number}": name for number, name in enumerate(attributes)}
        request = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        found = query(self._connection, **self._range(partition, 1), **request, ScanIndexForward=False, Limit=few)
        return map(record_of, found)

    def _range(self, partition: str, first: int) -> dict[str, Any]:
        return {
            "KeyConditionExpression": "PK = :log AND SK BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":log": {"S": partition},
                ":first": {"S": record_key(first)},
                ":last": {"S": ARRIVED + _LAST},
            },
        }


def record_of(item: Item) -> Record:
    """Return the record of an item."""
    return Record(
        int(item["SK"]["S"].removeprefix(ARRIVED)),
        int(item["At"]["N"]),
        int(item["From"]["N"]),
        tuple(msgspec.json.decode(item["Keys"]["S"], type=tuple[str, ...])) if "Keys" in item else (),
        "Deleted" in item,
    )


def _portion(pending: Iterable[str]) -> tuple[str, ...]:
    portion: list[str] = []
    size = 0
    for key in pending:
        size += len(msgspec.json.encode(key))
        if portion and size > RECORD_BYTES:
            break
        portion.append(key)
    return tuple(portion)
