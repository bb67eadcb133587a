"""What becomes of a session's marks as its head is written, and how a session is deleted (docs/adr/0024).

Either stands on what the table says after everything that is to be judged was looked at; and an event that nobody has
logged, since its writer was cut off or is about to, is logged first, so that heads and followers learn of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.projections.head import PROCESSING, SessionHead
from otel_agent_journal_aws import Refusal
from otel_agent_journal_aws.failures import DENIED
from otel_agent_journal_dynamodb.arrivals import BEGINNING, Arrivals, Place, place_of
from otel_agent_journal_dynamodb.batches import Request, delete, projection, put, query, scan, write_all
from otel_agent_journal_dynamodb.blobs import Blobs
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.context import refusal_reasons
from otel_agent_journal_dynamodb.keys import (
    ARRIVED,
    EVENT,
    HEAD,
    INSTANCE,
    record_key,
    session_key,
    session_of_key,
    used_id,
)
from otel_agent_journal_dynamodb.logs import NONE, Record, record_of
from otel_agent_journal_dynamodb.marks import Mark, Marks

_LISTED: Final = ("PK", "SK", "Arrival", "At", "From", "Keys", "Deleted", "Version", "LastSeq", "Bucket", "Object")
_log = logging.getLogger("otel_agent_journal.store")


class _Listed:
    """What is in a session's partition: the keys of events, those in no record with their `Arrival`, and the rest.

    `last` is its last record; `is_ahead` says that an event is behind the cursor that was asked for, `has_others` that
    there is one which nobody logs.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.unlogged: dict[str, int] = {}
        self.records: list[int] = []
        self.instances: list[Item] = []
        self.values: list[Item] = []
        self.version = 0
        self.last = NONE
        self.is_ahead = False
        self.has_others = False

    def is_empty(self) -> bool:
        return not (self.events or self.records or self.instances or self.values or self.version)


class Settling:
    """Settles and deletes sessions. Thread-safe. `expiry` returns the attributes of what is written now."""

    def __init__(
        self, connection: Connection, arrivals: Arrivals, blobs: Blobs, marks: Marks, expiry: Callable[[], Item]
    ) -> None:
        self._connection = connection
        self._arrivals = arrivals
        self._blobs = blobs
        self._marks = marks
        self._expiry = expiry
        self._said = False  # that a session could not be settled
        self._leaves_old = False  # a writer may not delete the marks of others: that is for who sweeps or prunes

    def settle(self, head: SessionHead) -> None:
        """Take away the marks of a session whose head was written: of one at rest, those whose events the head has.

        Where that fails they stay: listings look behind this head for nothing.
        """
        if head.status == PROCESSING or head.open_writers:
            return
        partition, number = session_key(head.session_id), place_of(head.cursor).number
        try:
            if self._marks.settle(partition, number):
                self._settle_for_the_vanished(partition, head.session_id, number)
        except (Refusal, StoreUnreachable) as error:
            if not self._said:
                _log.warning(
                    "store=<%s>, session_id=<%s>, error=<%s> | the session stays among those that are looked at by"
                    " each listing, as others will of which nothing is said",
                    self._connection.place.url,
                    head.session_id,
                    error,
                )
            self._said = True

    def _settle_for_the_vanished(self, partition: str, session_id: str, number: int) -> None:
        if self._leaves_old:
            return
        old = [mark for mark in self._marks.others(partition) if mark.is_old()]
        if not old or self._log_unlogged(partition, session_id, self._listed(partition)):
            return
        self._arrivals.settle(partition)
        if any(record.keys for record in self._arrivals.logs.records(partition, number)):
            return
        try:
            self._remove(partition, old)
        except Refusal as refusal:
            if refusal.code not in DENIED:
                raise
            self._leaves_old = True

    def delete(
        self, session_id: str, cursor: str | None, version: int, kept: Callable[[], bool] = lambda: False
    ) -> bool:
        """Delete a session in which nothing has happened; see `StoreAdmin.delete_session`.

        It is marked meanwhile, and the head goes first: what is left where this is broken off is found again. `kept` is
        asked of a session with events that nobody logs whether they keep it.
        """
        partition = session_key(session_id)
        listed = self._listed(partition, place_of(cursor))
        if listed.is_empty() or (listed.has_others and kept()):
            return False
        with self._marks.writing({partition: session_id}, {}, self._expiry()):
            vanished = self._may_go(partition, session_id, listed, version)
            deleted = vanished is not None and self._delete(partition, listed)
            if deleted:
                self._remove(partition, vanished or ())
        last = self._emptied(partition, listed) if deleted else []
        # Where it stays, so does our mark of what we have written there: no head may have that.
        gone = listed.last.number if deleted else 0
        write_all(self._connection, [*last, *(self._marks.let_go(partition, gone) or ())])
        return deleted

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event: by a Scan, in which the items of a partition follow one another."""
        events = scan(
            self._connection,
            FilterExpression="begins_with(#a1, :event)",
            ExpressionAttributeValues={":event": {"S": EVENT}},
            **projection("PK", "SK", "SessionId"),
        )
        for partition, items in groupby(events, lambda item: item["PK"]["S"]):
            session_id = session_of_key(partition)
            ids = (item["SessionId"]["S"] for item in items if "S" in item.get("SessionId", {}))
            yield next(ids, partition) if session_id is None else session_id

    def _may_go(self, partition: str, session_id: str, listed: _Listed, version: int) -> list[Mark] | None:
        """Return the marks of the vanished if a session is as it was judged, else None.

        What stands against it is looked for after it was listed. Who has written since, and has no mark any more, has
        written the head, which is deleted by its version; where there is none it is asked for another record.
        """
        if (
            listed.is_ahead
            or listed.version != version
            or self._log_unlogged(partition, session_id, listed)
            or (not version and self._arrivals.logs.last(partition).number > listed.last.number)
            or not self._marks.is_alone(partition, listed.last.number)
        ):
            return None
        others = self._marks.others(partition)
        return others if all(mark.is_old() for mark in others) else None

    def _log_unlogged(self, partition: str, session_id: str, listed: _Listed) -> bool:
        """Log the events that have an `Arrival` and are in no record; return whether there were any."""
        if not listed.unlogged:
            return False
        keys = {partition: list(listed.unlogged)}
        with self._marks.writing({partition: session_id}, keys, self._expiry()) as places:
            before = self._arrivals.before(keys)
            logged = self._arrivals.log(keys, {**before, partition: min(listed.unlogged.values())})
            places[partition] = logged[partition].last()
        return True

    def _listed(self, partition: str, judged: Place = BEGINNING) -> _Listed:
        found = _Listed()
        named, ahead = set[Any](), set[Any]()
        for item in query(
            self._connection,
            KeyConditionExpression="PK = :p",
            ExpressionAttributeValues={":p": {"S": partition}},
            **projection(*_LISTED),
        ):
            key = item["SK"]["S"]
            if key.startswith(ARRIVED):  # before the events, by their keys
                record = record_of(item)
                named.update(record.keys)
                if record.number > judged.number:
                    ahead.update(record.keys[judged.keys if record.number == judged.number + 1 else 0 :])
                found.last = record
                if "Deleted" not in item:
                    found.records.append(record.number)
            elif key.startswith(EVENT):
                found.events.append(key)
                found.is_ahead = found.is_ahead or key in ahead
                found.has_others = found.has_others or "Arrival" not in item
                if "Arrival" in item and key not in named:
                    found.unlogged[key] = int(item["Arrival"]["N"])
            elif key == HEAD:
                found.version = int(item["Version"]["N"])
            else:
                (found.instances if key.startswith(INSTANCE) else found.values).append(item)
        return found

    def _delete(self, partition: str, listed: _Listed) -> bool:
        """Delete what was listed, but for its last record: what refers to a value goes before it."""
        if listed.version and not self._delete_head(partition, listed.version):
            return False
        for item in listed.instances:
            self._delete_instance(item)
        records = (record_key(number) for number in listed.records if number < listed.last.number)
        self._delete_all(partition, [*reversed(listed.events), *records])
        for item in listed.values:
            self._blobs.delete_object(item)
        self._delete_all(partition, (item["SK"]["S"] for item in listed.values))
        return True

    def _emptied(self, partition: str, listed: _Listed) -> list[Request]:
        """Return what empties a session's last record, which keeps the last number."""
        logs, last = self._arrivals.logs, listed.last
        if not listed.records:
            return []
        empty = Record(last.number, logs.time_after(last), last.number, is_deleted=True)
        return [put(logs.item(partition, empty))]

    def _delete_head(self, partition: str, version: int) -> bool:
        request = {
            "Key": {"PK": {"S": partition}, "SK": {"S": HEAD}},
            "ConditionExpression": "#version = :read",
            "ExpressionAttributeNames": {"#version": "Version"},
            "ExpressionAttributeValues": {":read": {"N": str(version)}},
        }
        return self._try("DeleteItem", {"TableName": self._connection.place.table, **request})

    def _delete_instance(self, item: Item) -> None:
        """Delete an instance, and where it is found, unless it has gone on since it was listed."""
        own, table = item["SK"]["S"], self._connection.place.table
        ids = query(
            self._connection,
            KeyConditionExpression="PK = :p AND begins_with(SK, :used)",
            ExpressionAttributeValues={":p": {"S": own}, ":used": {"S": used_id("")}},
            **projection("SK"),
        )
        self._delete_all(own, [one["SK"]["S"] for one in ids])
        there = {
            "TableName": table,
            "Key": {"PK": item["PK"], "SK": item["SK"]},
            "ConditionExpression": "LastSeq = :seen",
            "ExpressionAttributeValues": {":seen": item["LastSeq"]},
        }
        where = {"TableName": table, "Key": {"PK": {"S": own}, "SK": {"S": HEAD}}}
        self._try("TransactWriteItems", {"TransactItems": [{"Delete": there}, {"Delete": where}]})

    def _try(self, operation: str, body: dict[str, Any]) -> bool:
        """Return whether what was done under a condition was done."""
        try:
            self._connection.call(operation, body)
        except Refusal as refusal:
            reasons = refusal_reasons(refusal)
            if refusal.code == "ConditionalCheckFailedException" or "ConditionalCheckFailed" in reasons:
                return False
            if reasons:
                raise StoreUnreachable(
                    f"store {self._connection.place.url}: an instance was not deleted ({', '.join(reasons)}); repeat it"
                ) from refusal
            raise
        return True

    def _delete_all(self, partition: str, keys: Iterable[str]) -> None:
        write_all(self._connection, [delete((partition, key)) for key in keys])

    def _remove(self, partition: str, marks: Iterable[Mark]) -> None:
        for mark in marks:
            self._marks.remove(partition, mark)
