"""A journal in one DynamoDB table: the port, put together from its parts.

Events, heads, instances and values lie in the partition of their session (`keys`, `items`); what arrived when is in
logs of its own (`arrivals`), context goes by transactions (`context`). Durable when a call returns: DynamoDB answers
after two of its three copies are written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final

from otel_agent_journal.codec import JSON
from otel_agent_journal.errors import StoreError, UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.documents import successor
from otel_agent_journal.store.protocol import (
    Arrived,
    Blob,
    Capabilities,
    ContextTip,
    Document,
    Page,
    SessionFilter,
    StoreInfo,
)
from otel_agent_journal.store.sequence import at_most, require_gapless, require_session_event
from otel_agent_journal_aws import Refusal
from otel_agent_journal_aws.service import POOL
from otel_agent_journal_dynamodb.appending import MAX_EVENT_BYTES, Appending
from otel_agent_journal_dynamodb.arrivals import Arrivals, text_of
from otel_agent_journal_dynamodb.batches import query, read_all
from otel_agent_journal_dynamodb.blobs import CHUNK_BYTES, Blobs
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.context import MAX_EVENTS, TRANSACTION_BYTES, Sequences
from otel_agent_journal_dynamodb.cursors import is_of_all
from otel_agent_journal_dynamodb.documents import Documents
from otel_agent_journal_dynamodb.failures import error_of
from otel_agent_journal_dynamodb.following import Following
from otel_agent_journal_dynamodb.heads import Heads
from otel_agent_journal_dynamodb.items import with_valid_text
from otel_agent_journal_dynamodb.keys import AFTER_EVENTS, EVENT, Key, from_second, second_of, session_key
from otel_agent_journal_dynamodb.marks import Marks
from otel_agent_journal_dynamodb.permissions import policy
from otel_agent_journal_dynamodb.place import place_of
from otel_agent_journal_dynamodb.reading import Reading
from otel_agent_journal_dynamodb.settling import Settling
from otel_agent_journal_dynamodb.table import LAYOUT, Table

_SECONDS_A_DAY: Final = 86_400


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
        self._marks = Marks(self._connection, lambda partition: self._arrivals.logs.doubt(partition))  # noqa: PLW0108 - made next
        self._arrivals = Arrivals(self._connection, self._marks.forget, self._expiry)
        self._following = Following(self._connection, self._arrivals)
        self._blobs = Blobs(self._connection)
        self._heads = Heads(self._connection, self._arrivals.activity.lately)
        self._documents = Documents(self._connection)
        self._reading = Reading(self._connection, self._blobs)
        self._sequences = Sequences(self._connection, self._arrivals, self._reading.events)
        self._table = Table(self._connection)
        self._appending = Appending(self._connection, self._arrivals, self._blobs, self._marks, self._expiry)
        self._settling = Settling(self._connection, self._arrivals, self._blobs, self._marks, self._expiry)

    @property
    def url(self) -> str:
        """Its URL with all options; there are no secrets in it, credentials come from the environment."""
        return self._connection.place.url

    @property
    def capabilities(self) -> Capabilities:
        """All; none but to append where PutItem is all that is permitted, which appending finds out."""
        if self._appending.only_put:
            return Capabilities(
                read=False,
                context=False,
                heads=False,
                documents=False,
                max_event_bytes=MAX_EVENT_BYTES,
            )
        return Capabilities(
            prune=True,
            threads=POOL,
            max_event_bytes=MAX_EVENT_BYTES,
            max_context_events=MAX_EVENTS,
            max_document_bytes=CHUNK_BYTES,
        )

    # --- events ---

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived]:
        """Write session events; see `JournalStore.append`. What is there already is neither written nor logged again.

        Raises:
            EventTooLarge: one event is over `MAX_EVENT_BYTES`; nothing was written.
        """
        for event in events:
            require_session_event(event)
        if not events:
            return {}
        with self._errors():
            return self._appending.append(events)

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
            partition = session_key(events[0].session_id)
            keys: dict[str, list[str]] = {}
            with self._marks.writing({partition: events[0].session_id}, keys, self._expiry()) as arrived:
                limit = min(CHUNK_BYTES, TRANSACTION_BYTES // len(events))
                items = [with_valid_text(item) for item in self._appending.items_of(events, limit).values()]
                keys[partition] = [item["SK"]["S"] for item in items]
                arrived[partition] = self._sequences.append(events, items)

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

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEvent]:
        """Yield an instance's events from a number on, by consistent reads of the index `by_seq`."""
        self._require("context")
        with self._errors():
            items = self._sequences.items(instance_id, from_seq, limit=at_most(limit), newest_first=newest_first)
            yield from self._reading.events(items)

    def context_tip(self, instance_id: str) -> ContextTip | None:
        """Return where an instance's sequence ends, or None where there is no such instance."""
        self._require("context")
        with self._errors():
            return self._sequences.tip(instance_id)

    def instances(self, session_id: str) -> Iterator[str]:
        """Yield the instances that have context events in a session."""
        self._require("context")
        with self._errors():
            yield from self._sequences.of_session(session_key(session_id))

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in order of arrival; see `JournalStore.follow`."""
        self._require("read")
        with self._errors():
            return self._follow_all(cursor, limit) if session_id is None else self._follow(cursor, session_id, limit)

    def _follow(self, cursor: str | None, session_id: str, limit: int) -> Page:
        partition, place = session_key(session_id), cursor
        if cursor is not None and is_of_all(cursor):
            place = text_of(self._following.place_of(cursor, partition))
        while True:
            keys, place = self._arrivals.follow(place, partition, limit)
            events = self._named(keys)
            if events or not keys:
                return Page(events, place if events or cursor is None else cursor)
            # what was passed is all deleted since: what comes behind it is wanted

    def _follow_all(self, cursor: str | None, limit: int) -> Page:
        while True:
            keys, cursor, is_over = self._following.follow(cursor, limit)
            events = self._named(keys)
            if events or is_over:
                return Page(events, cursor)

    def _named(self, keys: Mapping[Key, int]) -> tuple[JournalEvent, ...]:
        """Return the events of keys, each with its record's number, that are there and were logged by that record."""
        items = {(item["PK"]["S"], item["SK"]["S"]): item for item in read_all(self._connection, keys)}
        there = (items[key] for key, number in keys.items() if key in items and _arrived(items[key]) < number)
        return tuple(self._reading.events(there))

    def tip(self, session_id: str | None = None) -> str | None:
        """Return the cursor of now; see `JournalStore.tip`."""
        self._require("read")
        with self._errors():
            return self._following.tip() if session_id is None else self._arrivals.tip(session_key(session_id))

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
            written = self._heads.write(head, self._expiry())
            if written is not None:
                self._settling.settle(written)
            return written

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that have a mark; see `JournalStore.unsettled`. By consistent reads."""
        self._require("read")
        with self._errors():
            yield from self._marks.sessions()

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Keep values by their digests; the first of a digest stays."""
        partition = session_key(session_id)
        with self._errors(), self._marks.writing({partition: session_id}, {}, self._expiry()):
            for digest, blob in blobs.items():
                self._blobs.put(partition, digest, blob.data, self._expiry(), blob.media_type)

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        """Return values by their digests; those that are not there are left out."""
        self._require("read")
        with self._errors():
            return self._blobs.get_all(session_key(session_id), digests)

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Keep one value; the first of a digest stays."""
        self.put_blobs(session_id, {digest: Blob(data, media_type)})

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return one value's bytes, or None where it is not there."""
        self._require("read")
        with self._errors():
            return self._blobs.get(session_key(session_id), digest)

    def get_document(self, scope: str, name: str) -> Document | None:
        """Return a document, or None where it is not there; by a consistent read."""
        self._require("documents")
        with self._errors():
            return self._documents.get(scope, name)

    def put_document(self, document: Document) -> Document | None:
        """Replace a document over the version it was read at; see `DocumentStore.put_document`."""
        self._require("documents")
        with self._errors():
            return self._documents.put(document, successor(document, self.url, CHUNK_BYTES), self._expiry())

    def delete_document(self, scope: str, name: str, version: int) -> bool:
        """Delete a document that still has this version."""
        self._require("documents")
        with self._errors():
            return self._documents.delete(scope, name, version)

    def documents(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names; by consistent reads."""
        self._require("documents")
        with self._errors():
            yield from self._documents.of(scope)

    # --- administration ---

    def init(self) -> None:
        """Create the table, its index of heads and its expiry where they are missing."""
        with self._errors():
            self._table.init()

    def init_plan(self) -> list[str]:
        """Return what `init` would create, a line each; nothing where nothing is missing."""
        with self._errors():
            return self._table.plan()

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Return the policy that a role needs: writer, reader or admin; see `StoreAdmin.iam_policy`."""
        return policy(self._connection, role, note)

    def info(self) -> StoreInfo:
        """Return what the store is; DynamoDB counts no items but by reading all, and its size is some hours old."""
        with self._errors():
            table = self._connection.call("DescribeTable", {"TableName": self._connection.place.table})["Table"]
        return StoreInfo(
            url=self.url, backend="dynamodb", schema_version=LAYOUT, size_bytes=int(table.get("TableSizeBytes") or 0)
        )

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event, by a Scan of the table."""
        self._require("read")
        with self._errors():
            yield from self._settling.session_ids()

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> bool:
        """Delete a session in which nothing has happened; see `StoreAdmin.delete_session`."""
        self._require("prune")
        with self._errors():
            return self._settling.delete(session_id, cursor, version)

    def delete_before(self, session_id: str, cursor: str | None, version: int, before_ns: int) -> bool:
        """Delete a session in which nothing has happened, nor been put by others since; see `PutByOthers`."""
        self._require("prune")
        with self._errors():
            return self._settling.delete(
                session_id, cursor, version, lambda: any(self.put_by_others(session_id, before_ns))
            )

    def close(self) -> None:
        """Close the connections; every later call is refused."""
        self._connection.close()

    def _expiry(self) -> Item:
        days = self._connection.place.ttl_days
        return {} if days is None else {"ExpiresAt": {"N": str(int(time.time() + days * _SECONDS_A_DAY))}}

    # --- what may go wrong ---

    def _require(self, capability: str) -> None:
        if self._appending.only_put:
            raise UnsupportedByStore(self.url, capability)

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except Refusal as refusal:
            if refusal.code == "ResourceNotFoundException":
                self._arrivals.logs.forget()
            if refusal.code == "ValidationException":
                self._table.require_ours()
            raise error_of(self._connection.place, refusal) from refusal


def _arrived(item: Item) -> int:
    """Return the number after which an event was logged."""
    return int(item["Arrival"]["N"]) if "Arrival" in item else 0
