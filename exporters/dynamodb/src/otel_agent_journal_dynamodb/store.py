"""A journal in one DynamoDB table: the port, put together from its parts.

Events, heads, instances and values lie in the partition of their session (`keys`, `items`); what arrived when is in
logs of its own (`arrivals`), context goes by transactions (`context`). Durable when a call returns: DynamoDB answers
after two of its three copies are written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final

from otel_agent_journal.codec import encode_line
from otel_agent_journal.errors import EventTooLarge, StoreError, UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import Capabilities, Page, SessionFilter, StoreInfo
from otel_agent_journal.store.sequence import require_gapless, require_session_event
from otel_agent_journal_dynamodb.arrivals import Arrivals
from otel_agent_journal_dynamodb.batches import put, query, read_all, write_all
from otel_agent_journal_dynamodb.blobs import CHUNK_BYTES, Blobs
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.context import MAX_EVENTS, TRANSACTION_BYTES, Sequences
from otel_agent_journal_dynamodb.failures import DENIED, Refusal, error_of
from otel_agent_journal_dynamodb.heads import Heads
from otel_agent_journal_dynamodb.items import item_of, with_valid_text
from otel_agent_journal_dynamodb.keys import AFTER_EVENTS, EVENT, Key, from_second, second_of, session_key
from otel_agent_journal_dynamodb.permissions import policy
from otel_agent_journal_dynamodb.place import place_of
from otel_agent_journal_dynamodb.pruning import prune
from otel_agent_journal_dynamodb.reading import SHOWN_CHARACTERS, Reading
from otel_agent_journal_dynamodb.table import LAYOUT, Table

MAX_EVENT_BYTES: Final = 256 * 1024 * 1024  # 750 chunks; beyond that it is no event any more
AGAIN_S: Final = 60.0  # after which a writer that had PutItem alone looks whether more is permitted by now
_SECONDS_A_DAY: Final = 86_400
_log = logging.getLogger("otel_agent_journal.store")


def open_store(url: str, *, create: bool = True) -> DynamoDBStore:
    """Return the store of a URL, `dynamodb://TABLE?region=NAME`; nothing is called yet.

    The table is made by `init`, never silently: `create` changes nothing.

    Raises:
        ConfigError: the URL is malformed.
    """
    del create
    return DynamoDBStore(url)


class DynamoDBStore:
    """A journal in a DynamoDB table. Thread-safe; a child process opens connections of its own."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(place_of(url))
        self._arrivals = Arrivals(self._connection)
        self._blobs = Blobs(self._connection)
        self._heads = Heads(self._connection)
        self._reading = Reading(self._connection, self._blobs)
        self._sequences = Sequences(self._connection, self._arrivals, self._reading.events)
        self._table = Table(self._connection)
        self._only_put = False
        self._try_all_at = 0.0  # when, by the monotonic clock, it is tried to do without `_only_put`

    @property
    def url(self) -> str:
        """Its URL with all options; there are no secrets in it, credentials come from the environment."""
        return self._connection.place.url

    @property
    def capabilities(self) -> Capabilities:
        """All; none but to append where PutItem is all that is permitted, which appending finds out."""
        if self._only_put:
            return Capabilities(
                read=False, context=False, heads=False, blobs=True, prune=False, max_event_bytes=MAX_EVENT_BYTES
            )
        return Capabilities(prune=True, max_event_bytes=MAX_EVENT_BYTES)

    # --- events ---

    def append(self, events: Sequence[JournalEvent]) -> None:
        """Write session events; see `JournalStore.append`. What is there already is neither written nor logged again.

        Raises:
            EventTooLarge: one event is over `MAX_EVENT_BYTES`; nothing was written.
        """
        if not events:
            return
        for event in events:
            require_session_event(event)
        with self._errors():
            items = self._items_of(events)
            try:
                self._append(items)
            except UnicodeEncodeError:
                self._append({key: with_valid_text(item) for key, item in items.items()})

    def _append(self, items: dict[Key, Item]) -> None:
        if not self._only_put or time.monotonic() >= self._try_all_at:
            try:
                self._append_batch(items)
            except Refusal as refusal:
                if refusal.code not in DENIED or not (self._only_put or self._may_put(items, refusal)):
                    raise
                self._enter_only_put(refusal)
            else:
                self._leave_only_put()
                return
        for item in items.values():
            self._put_new(item)

    def _enter_only_put(self, refusal: Refusal) -> None:
        self._try_all_at = time.monotonic() + AGAIN_S
        if not self._only_put:
            _log.warning(
                "store=<%s>, denied=<dynamodb:%s> | events are put one by one, without heads, catch-up and context:"
                " grant what 'agent-journal store iam-policy --role writer' prints",
                self.url,
                refusal.operation,
            )
        self._only_put = True

    def _leave_only_put(self) -> None:
        if self._only_put:
            _log.warning("store=<%s> | all is permitted again: events are logged, heads and context go on", self.url)
        self._only_put = False

    def _append_batch(self, items: dict[Key, Item]) -> None:
        logs: dict[int, list[Key]] = {}
        for key in items:
            logs.setdefault(self._arrivals.log_of(key[0]), []).append(key)
        before = {log: self._arrivals.before(log) for log in logs}
        doubtful = [key for log in logs if (key := self._arrivals.doubtful(log)) is not None]
        there = {
            (item["PK"]["S"], item["SK"]["S"]): int(item["Arrival"]["N"]) if "Arrival" in item else None
            for item in read_all(self._connection, [*items, *doubtful], "PK", "SK", "Arrival")
        }
        if not there.keys() >= {*doubtful}:  # the table was made anew, or put back to an earlier time
            self._arrivals.forget()
            self._append_batch(items)
            return
        new: list[Item] = []
        for log, keys in logs.items():
            number = {"N": str(before[log])}
            new += [{**items[key], "Arrival": number} for key in keys if key not in there]
        write_all(self._connection, [put(item) for item in new])
        for log, keys in logs.items():
            # What is there without a number was put by somebody who logs nothing.
            mine = [key for key in keys if there.get(key, 0) is not None]
            since = [number for key in mine if (number := there.get(key)) is not None]
            self._arrivals.commit(log, mine, min(since, default=before[log]))

    def _may_put(self, items: dict[Key, Item], refusal: Refusal) -> bool:
        """Tell whether PutItem is permitted where something else is not; the first event is written by that."""
        if refusal.operation == "PutItem":
            return False
        try:
            self._put_new(next(iter(items.values())))
        except Refusal as denied:
            if denied.code in DENIED:
                return False
            raise
        return True

    def _put_new(self, item: Item) -> None:
        request = {"TableName": self._connection.place.table, "Item": item}
        try:
            self._connection.call("PutItem", {**request, "ConditionExpression": "attribute_not_exists(PK)"})
        except Refusal as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        """Write context events in one transaction; see `JournalStore.append_context`. At most 48 in one call."""
        require_gapless(instance_id, expected_seq, events)
        self._require("context")
        if not events:
            return
        if len(events) > MAX_EVENTS:
            raise StoreError(
                f"instance {instance_id}: {len(events)} context events in one call, a transaction of DynamoDB takes"
                f" {MAX_EVENTS}; nothing was written: append them in several calls"
            )
        with self._errors():
            seen: set[str] = set()
            for event in events:
                if event.event_id in seen:
                    self._sequences.refuse(events, session_key(event.session_id), event.event_id)
                    return
                seen.add(event.event_id)
            items = list(self._items_of(events, min(CHUNK_BYTES, TRANSACTION_BYTES // len(events))).values())
            self._sequences.append(events, [with_valid_text(item) for item in items])

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield a session's events in order, by consistent reads; see `JournalStore.read`.

        Keys sort as time does down to the second; within one, records of other writers may have other precisions.
        """
        yield from self._read(session_id, after)

    def put_by_others(self, session_id: str, since_ns: int | None = None) -> Iterator[JournalEvent]:
        """Yield the events that nobody has logged, in order: a workflow's, and those of writers with PutItem alone.

        Costs what reading the session from that time on costs.
        """
        after = None if since_ns is None else (max(0, since_ns), "")
        yield from self._read(session_id, after, FilterExpression="attribute_not_exists(Arrival)")

    def _read(self, session_id: str, after: tuple[int, str] | None, **options: str) -> Iterator[JournalEvent]:
        self._require("read")
        first = EVENT if after is None else from_second(after[0])
        request: dict[str, Any] = {
            "KeyConditionExpression": "PK = :p AND SK BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":p": {"S": session_key(session_id)},
                ":first": {"S": first},
                ":last": {"S": AFTER_EVENTS},
            },
            **options,
        }
        with self._errors():
            for _, items in groupby(query(self._connection, **request), lambda item: second_of(item["SK"]["S"])):
                events = list(self._reading.events(items))
                events.sort(key=lambda event: (event.timestamp_ns, event.event_id))
                for event in events:
                    if after is None or (event.timestamp_ns, event.event_id) > after:
                        yield event

    def read_context(self, instance_id: str, from_seq: int = 0) -> Iterator[JournalEvent]:
        """Yield an instance's events from a number on, by consistent reads of the index `by_seq`."""
        self._require("context")
        with self._errors():
            yield from self._reading.events(self._sequences.items(instance_id, from_seq))

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in order of arrival; see `JournalStore.follow`."""
        self._require("read")
        partition = None if session_id is None else session_key(session_id)
        with self._errors():
            while True:
                keys, cursor = self._arrivals.follow(cursor, partition, max(0, limit))
                items = {(item["PK"]["S"], item["SK"]["S"]): item for item in read_all(self._connection, keys)}
                there = (items[key] for key, number in keys.items() if key in items and _arrived(items[key]) < number)
                events = tuple(self._reading.events(there))
                if events or not keys:  # all deleted since: what comes behind them is wanted
                    return Page(events, cursor)

    def tip(self) -> str:
        """Return the cursor of now."""
        self._require("read")
        with self._errors():
            return self._arrivals.tip()

    # --- heads and values ---

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, the latest updated first; what was just written may come a little later."""
        self._require("heads")
        with self._errors():
            yield from self._heads.list(wanted or SessionFilter())

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        self._require("heads")
        with self._errors():
            return self._heads.get(session_id)

    def write_head(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at; see `JournalStore.write_head`."""
        self._require("heads")
        with self._errors():
            return self._heads.write(head, self._expiry())

    def put_blob(self, session_id: str, digest: str, data: bytes) -> None:
        """Keep a value over the field limit; the first of a digest stays."""
        with self._errors():
            self._blobs.put(session_key(session_id), digest, data, self._expiry())

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return a value's JSON text, or None where it is not there."""
        self._require("read")
        with self._errors():
            return self._blobs.get(session_key(session_id), digest)

    # --- administration ---

    def init(self) -> None:
        """Create the table, its index of heads and its expiry where they are missing."""
        with self._errors():
            self._table.init()

    def init_plan(self) -> list[str]:
        """Return what `init` would create, a line each; nothing where nothing is missing."""
        with self._errors():
            return self._table.plan()

    def iam_policy(self, role: str) -> dict[str, object]:
        """Return the policy that a role needs: writer, reader or admin.

        Raises:
            ConfigError: there is no such role.
        """
        return policy(self._connection.place, role)

    def info(self) -> StoreInfo:
        """Return what the store is; DynamoDB counts no items but by reading all, and its size is some hours old."""
        with self._errors():
            table = self._connection.call("DescribeTable", {"TableName": self._connection.place.table})["Table"]
        return StoreInfo(
            url=self.url, backend="dynamodb", schema_version=LAYOUT, size_bytes=int(table.get("TableSizeBytes") or 0)
        )

    def prune(self, older_than_ns: int, *, dry_run: bool = False) -> int:
        """Delete the sessions whose heads were last updated before a time, with all that is theirs."""
        self._require("prune")
        with self._errors():
            return prune(self._connection, self._heads, self._blobs, older_than_ns, dry_run=dry_run)

    def close(self) -> None:
        """Close the connections; every later call is refused."""
        self._connection.close()

    # --- items ---

    def _items_of(self, events: Iterable[JournalEvent], limit_bytes: int = CHUNK_BYTES) -> dict[Key, Item]:
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

    def _expiry(self) -> Item:
        days = self._connection.place.ttl_days
        return {} if days is None else {"ExpiresAt": {"N": str(int(time.time() + days * _SECONDS_A_DAY))}}

    # --- what may go wrong ---

    def _require(self, capability: str) -> None:
        if self._only_put:
            raise UnsupportedByStore(self.url, capability)

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except Refusal as refusal:
            if refusal.code == "ResourceNotFoundException":
                self._arrivals.forget()
            if refusal.code == "ValidationException":
                self._table.require_ours()
            raise error_of(self._connection.place, refusal) from refusal


def _arrived(item: Item) -> int:
    """Return the number after which an event was logged."""
    return int(item["Arrival"]["N"]) if "Arrival" in item else 0


def _may_exceed(item: Item, limit_bytes: int) -> bool:
    """Tell whether an item could be over a limit, cheaply: a character is four bytes at most."""
    return sum(len(text) for value in item.values() for text in value.values()) * 4 > limit_bytes - 1_000


def _size_of(item: Item) -> int:
    texts = ((name, text) for name, value in item.items() for text in value.values())
    return sum(len(name) + len(text.encode("utf-8", "backslashreplace")) for name, text in texts)
