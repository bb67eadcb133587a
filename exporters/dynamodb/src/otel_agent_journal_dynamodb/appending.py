"""Session events into the table: under a mark, each if it is not there yet, then logged.

Where PutItem is all that is permitted, events are put one by one, and nobody logs them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from otel_agent_journal.codec import encode_line
from otel_agent_journal.errors import EventTooLarge
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import Arrived
from otel_agent_journal_aws import Refusal
from otel_agent_journal_aws.failures import DENIED
from otel_agent_journal_dynamodb.arrivals import Arrivals, arrived
from otel_agent_journal_dynamodb.batches import put, read_all, write_all
from otel_agent_journal_dynamodb.blobs import CHUNK_BYTES, Blobs
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.items import item_of, with_valid_text
from otel_agent_journal_dynamodb.keys import Key, session_key
from otel_agent_journal_dynamodb.logs import Logged
from otel_agent_journal_dynamodb.marks import UNKNOWN, Marks
from otel_agent_journal_dynamodb.reading import SHOWN_CHARACTERS

MAX_EVENT_BYTES: Final = 256 * 1024 * 1024  # 750 chunks; beyond that it is no event any more
AGAIN_S: Final = 60.0  # after which a writer that had PutItem alone looks whether more is permitted by now
_log = logging.getLogger("otel_agent_journal.store")


class Appending:
    """Writes session events. Thread-safe. `expiry` returns the attributes of what is written now."""

    def __init__(
        self, connection: Connection, arrivals: Arrivals, blobs: Blobs, marks: Marks, expiry: Callable[[], Item]
    ) -> None:
        self._connection = connection
        self._arrivals = arrivals
        self._blobs = blobs
        self._marks = marks
        self._expiry = expiry
        self.only_put = False
        self.try_all_at = 0.0  # when, by the monotonic clock, it is tried to do without `only_put`

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived]:
        """Write events; see `JournalStore.append`."""
        names = {session_key(event.session_id): event.session_id for event in events}
        keys: dict[str, list[str]] = {}
        with self._marks.writing(names, keys, self._expiry()) as places:
            items = self.items_of(events)
            for partition, key in items:
                keys.setdefault(partition, []).append(key)
            try:
                logged = self._append(items)
            except UnicodeEncodeError:
                logged = self._append({key: with_valid_text(item) for key, item in items.items()})
            places.update((one, logged[one].last() if one in logged else UNKNOWN) for one in names)
        counts = Counter(event.session_id for event in events)
        found = {names[one]: arrived(what) for one, what in logged.items() if len(keys[one]) == counts[names[one]]}
        return {session_id: where for session_id, where in found.items() if where is not None}

    def items_of(self, events: Iterable[JournalEvent], limit_bytes: int = CHUNK_BYTES) -> dict[Key, Item]:
        """Return the items of events by key, of two with one key the first; large ones are brought away."""
        partitions: dict[str, str] = {}
        items: dict[Key, Item] = {}
        expiry = self._expiry()
        for event in events:
            partition = partitions.get(event.session_id)
            if partition is None:
                partition = partitions[event.session_id] = session_key(event.session_id)
            item = item_of(event, partition)
            key = (partition, item["SK"]["S"])
            if key in items:
                continue
            if _may_exceed(item, limit_bytes):
                item = self._without_bulk(event, item, limit_bytes)
            items[key] = item | expiry if expiry else item
        return items

    def put_new(self, item: Item) -> None:
        """Put an event if it is not there yet; nobody logs it."""
        request = {"TableName": self._connection.place.table, "Item": item}
        try:
            self._connection.call("PutItem", {**request, "ConditionExpression": "attribute_not_exists(PK)"})
        except Refusal as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise

    def _append(self, items: dict[Key, Item]) -> dict[str, Logged]:
        if not self.only_put or time.monotonic() >= self.try_all_at:
            try:
                logged = self._append_batch(items)
            except Refusal as refusal:
                if refusal.code not in DENIED or not (self.only_put or self._may_put(items, refusal)):
                    raise
                self._enter_only_put(refusal)
            else:
                self._leave_only_put()
                return logged
        for item in items.values():
            self.put_new(item)
        return {}

    def _enter_only_put(self, refusal: Refusal) -> None:
        self.try_all_at = time.monotonic() + AGAIN_S
        if not self.only_put:
            _log.warning(
                "store=<%s>, denied=<dynamodb:%s> | events are put one by one, without heads, catch-up and context:"
                " grant what 'agent-journal store iam-policy --role writer' prints",
                self._connection.place.url,
                refusal.what,
            )
        self.only_put = True

    def _leave_only_put(self) -> None:
        if self.only_put:
            _log.warning(
                "store=<%s> | all is permitted again: events are logged, heads and context go on",
                self._connection.place.url,
            )
        self.only_put = False

    def _append_batch(self, items: dict[Key, Item]) -> dict[str, Logged]:
        keys: dict[str, list[str]] = {}
        for partition, key in items:
            keys.setdefault(partition, []).append(key)
        before = self._arrivals.before(keys)
        doubtful = [key for one in before if (key := self._arrivals.logs.doubtful(one)) is not None]
        there = {
            (item["PK"]["S"], item["SK"]["S"]): int(item["Arrival"]["N"]) if "Arrival" in item else None
            for item in read_all(self._connection, [*items, *doubtful], "PK", "SK", "Arrival")
        }
        if not there.keys() >= {*doubtful}:  # the table was made anew, or put back to an earlier time
            self._arrivals.logs.forget()
            return self._append_batch(items)
        arrival = {partition: {"N": str(number)} for partition, number in before.items()}
        new = {key: {**item, "Arrival": arrival[key[0]]} for key, item in items.items() if key not in there}
        write_all(self._connection, [put(item) for item in new.values()])
        since = dict(before)
        for (partition, _), number in there.items():
            if number is not None:
                since[partition] = min(number, since[partition])
        # What is there without a number was put by somebody who logs nothing.
        mine = {one: [key for key in keys[one] if there.get((one, key), 0) is not None] for one in keys}
        logged = self._arrivals.log(mine, since)
        for partition in {partition for partition, _ in items.keys() - new.keys()}:
            own, others = logged[partition]
            logged[partition] = Logged([], [*own, *others])  # what was there is no news
        return logged

    def _may_put(self, items: dict[Key, Item], refusal: Refusal) -> bool:
        """Tell whether PutItem is permitted where something else is not; the first event is written by that."""
        if refusal.what == "PutItem":
            return False
        try:
            self.put_new(next(iter(items.values())))
        except Refusal as denied:
            if denied.code in DENIED:
                return False
            raise
        return True

    def _without_bulk(self, event: JournalEvent, item: Item, limit_bytes: int) -> Item:
        """Return the item with the whole event kept as a value beside it, where it is too large."""
        if _size_of(item) <= limit_bytes:
            return item
        line = encode_line(event)
        if len(line) > MAX_EVENT_BYTES:
            raise EventTooLarge(event.event_id, len(line), MAX_EVENT_BYTES, "shorten its details")
        digest = blake2b(line, digest_size=16).hexdigest()
        self._blobs.put(item["PK"]["S"], digest, line, self._expiry())
        kept = with_valid_text({name: value for name, value in item.items() if name != "Details"})
        for name, value in kept.items():
            if name not in ("PK", "SK", "InstanceSeq") and "S" in value:
                kept[name] = {"S": value["S"][:SHOWN_CHARACTERS]}
        return {**kept, "Blob": {"S": digest}}


def _may_exceed(item: Item, limit_bytes: int) -> bool:
    """Tell whether an item could be over a limit, cheaply: a character is four bytes at most."""
    return sum(len(text) for value in item.values() for text in value.values()) * 4 > limit_bytes - 1_000


def _size_of(item: Item) -> int:
    texts = ((name, text) for name, value in item.items() for text in value.values())
    return sum(len(name) + len(text.encode("utf-8", "backslashreplace")) for name, text in texts)
