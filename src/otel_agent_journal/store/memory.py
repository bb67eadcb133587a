"""A journal in the memory of one process, for tests: the whole port, nothing durable.

Events go through the codec on their way in, so that what is read is what a real store would have kept, and a value
changed afterwards changes nothing here. Thread-safe.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from threading import RLock
from typing import Any

import msgspec

from otel_agent_journal.codec import JSON, decode_line, encode_line, valid_text
from otel_agent_journal.errors import ConflictError, StoreError, UnsupportedByStore
from otel_agent_journal.event import SCHEMA_VERSION, JournalEvent
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
    of_session,
)
from otel_agent_journal.store.registry import refuse_credentials
from otel_agent_journal.store.rules import is_wanted, merged_writers
from otel_agent_journal.store.sequence import at_most, require_gapless, require_session_event, verdict


def open_store(url: str = "memory://", *, create: bool = True) -> MemoryStore:
    """Return a new, empty store; `memory://` names no other."""
    del create
    refuse_credentials(url, "a journal in memory needs none")
    return MemoryStore(url)


class MemoryStore:
    """The journal as three dictionaries and a list in order of arrival."""

    def __init__(self, url: str = "memory://") -> None:
        self._url = url
        self._lock = RLock()
        self._closed = False
        self._arrived: list[JournalEvent | None] = []  # None was pruned: cursors are places in this list
        self._keys: dict[str, list[tuple[int, str]]] = {}
        self._events: dict[tuple[str, int, str], JournalEvent] = {}
        self._instances: dict[str, list[JournalEvent]] = {}
        self._heads: dict[str, SessionHead] = {}
        self._tips: dict[str, int] = {}  # by session, the place behind its last event
        self._blobs: dict[tuple[str, str], Blob] = {}
        self._documents: dict[tuple[str, str], Document] = {}

    @property
    def url(self) -> str:
        """`memory://`."""
        return self._url

    @property
    def capabilities(self) -> Capabilities:
        """All."""
        return Capabilities(prune=True, threads=8)

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived]:
        """Write session events; see `JournalStore.append`."""
        for event in events:
            require_session_event(event)
        with self._open():
            before = dict(self._tips)
            added = [self._add(event) for event in events]
            repeated = {event.session_id for event, is_new in added if not is_new}
            arrived: dict[str, Arrived] = {}
            for session_id in {event.session_id for event, _ in added} - repeated:
                tip = before.get(session_id)
                arrived[session_id] = Arrived(None if tip is None else str(tip), str(self._tips[session_id]))
            return arrived

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        """Write context events if the instance's next sequence is the expected; see `JournalStore.append_context`."""
        require_gapless(instance_id, expected_seq, events)
        if not events:
            return
        with self._open():
            sequence = self._instances.get(instance_id, [])
            if sequence and sequence[0].session_id != events[0].session_id:
                raise StoreError(f"instance {instance_id} is of session {sequence[0].session_id}; nothing was written")
            there = sequence[expected_seq : expected_seq + len(events)]
            if verdict(instance_id, expected_seq, len(sequence), there, events) == "written already":
                return
            taken = {event.event_id for event in sequence}
            for event in events:
                if event.event_id in taken or event.key in self._events:
                    raise ConflictError(event.event_id)
                taken.add(event.event_id)
            self._instances[instance_id] = sequence + [self._add(event)[0] for event in events]

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield a session's events in order; see `JournalStore.read`."""
        position = after
        while True:
            with self._open():
                keys = self._keys.get(session_id, [])
                index = 0 if position is None else bisect_right(keys, position)
                if index == len(keys):
                    return
                position = keys[index]
                event = self._events[session_id, *position]
            yield event

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEvent]:
        """Yield an instance's events from a sequence number on; see `JournalStore.read_context`."""
        with self._open():
            sequence = self._instances.get(instance_id, [])[max(0, from_seq) :]
        yield from islice(reversed(sequence) if newest_first else sequence, at_most(limit))

    def context_tip(self, instance_id: str) -> ContextTip | None:
        """Return where an instance's sequence ends."""
        with self._open():
            sequence = self._instances.get(instance_id)
            return ContextTip(sequence[0].session_id, len(sequence)) if sequence else None

    def instances(self, session_id: str) -> Iterator[str]:
        """Yield the instances of a session."""
        with self._open():
            found = [one for one, events in self._instances.items() if events[0].session_id == session_id]
        yield from found

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in order of arrival; see `JournalStore.follow`."""
        with self._open():
            position = self._position(cursor)
            end = position if session_id is not None else len(self._arrived)
            found: list[JournalEvent] = []
            for place, event in enumerate(self._arrived[position:], position + 1):
                if len(found) >= limit:
                    break
                if event is not None and session_id in (None, event.session_id):
                    found.append(event)
                    end = place
            return Page(tuple(found), str(end))

    def tip(self, session_id: str | None = None) -> str | None:
        """Return the cursor of now."""
        with self._open():
            tip = len(self._arrived) if session_id is None else self._tips.get(session_id)
            return None if tip is None else str(tip)

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, the latest updated first."""
        wanted = wanted or SessionFilter()
        with self._open():
            found = (head for head in self._heads.values() if is_wanted(head, wanted))
            heads = [msgspec.structs.replace(head, snapshot=b"") for head in found]
        heads.sort(key=lambda head: (-head.updated_ns, head.session_id))
        yield from heads if wanted.limit is None else heads[: max(0, wanted.limit)]

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        with self._open():
            return self._heads.get(session_id)

    def write_head(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at; see `JournalStore.write_head`."""
        with self._open():
            stored = self._heads.get(head.session_id)
            if head.version != (stored.version if stored else 0):
                return None
            writers = merged_writers(stored, head)
            written = _with_valid_text(msgspec.structs.replace(head, writers=writers, version=head.version + 1))
            self._heads[head.session_id] = written
            return written

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that may have events which their head does not know."""
        with self._open():
            heads, tips = self._heads, self._tips.items()
            found = [one for one, tip in tips if one not in heads or int(heads[one].cursor or 0) < tip]
        yield from found

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Keep values by their digests."""
        for digest, blob in blobs.items():
            self.put_blob(session_id, digest, blob.data, blob.media_type)

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        """Return values by their digests."""
        with self._open():
            keys = ((digest, (session_id, digest)) for digest in digests)
            return {digest: self._blobs[key] for digest, key in keys if key in self._blobs}

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Keep one value."""
        with self._open():
            self._blobs.setdefault((session_id, digest), Blob(bytes(data), media_type))

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return one value's bytes, or None where it is not there."""
        with self._open():
            blob = self._blobs.get((session_id, digest))
            return None if blob is None else blob.data

    def get_document(self, scope: str, name: str) -> Document | None:
        """Return a document, or None where it is not there."""
        with self._open():
            return self._documents.get((valid_text(scope), valid_text(name)))

    def put_document(self, document: Document) -> Document | None:
        """Replace a document over the version it was read at; see `DocumentStore.put_document`."""
        with self._open():
            key = valid_text(document.scope), valid_text(document.name)
            stored = self._documents.get(key)
            if document.version != (stored.version if stored else 0):
                return None
            return self.keep_document(successor(document, self._url))

    def keep_document(self, document: Document) -> Document:
        """Keep a document as it is, with its version; for who keeps the journal elsewhere, and this as an index."""
        with self._open():
            scope, name = valid_text(document.scope), valid_text(document.name)
            kept = msgspec.structs.replace(document, scope=scope, name=name)
            self._documents[scope, name] = kept
            return kept

    def delete_document(self, scope: str, name: str, version: int) -> bool:
        """Delete a document that still has this version."""
        with self._open():
            key = valid_text(scope), valid_text(name)
            stored = self._documents.get(key)
            if stored is None or stored.version != version:
                return False
            del self._documents[key]
            return True

    def documents(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        with self._open():
            found = [one for one in self._documents.values() if one.scope == valid_text(scope)]
        yield from sorted(found, key=lambda one: one.name)

    def init_plan(self) -> list[str]:
        """Return nothing: memory needs no preparation."""
        return []

    def init(self) -> None:
        """Do nothing: memory needs no preparation."""

    def info(self) -> StoreInfo:
        """Return what the store holds."""
        with self._open():
            return StoreInfo(
                url=self._url,
                backend="memory",
                schema_version=SCHEMA_VERSION,
                sessions=sum(head.part_of is None for head in self._heads.values()),
                events=len(self._events),
            )

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event."""
        with self._open():
            found = list(self._tips)
        yield from found

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> bool:
        """Delete a session in which nothing has happened since; see `StoreAdmin.delete_session`."""
        with self._open():
            head = self._heads.get(session_id)
            if self._tips.get(session_id, 0) > int(cursor or 0) or (head.version if head else 0) != version:
                return False
            there = head is not None or session_id in self._tips
            self._delete(session_id)
            return there

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Raise UnsupportedByStore: memory has no policies."""
        raise UnsupportedByStore(self._url, "iam_policy")

    def close(self) -> None:
        """Refuse every call from now on."""
        self._closed = True

    def _open(self) -> RLock:
        if self._closed:
            raise StoreError(f"store {self._url} is closed")
        return self._lock

    def _delete(self, session_id: str) -> None:
        self._arrived = [None if one is None or one.session_id == session_id else one for one in self._arrived]
        self._events = {key: event for key, event in self._events.items() if event.session_id != session_id}
        self._instances = {
            instance: events for instance, events in self._instances.items() if events[0].session_id != session_id
        }
        self._blobs = {key: data for key, data in self._blobs.items() if key[0] != session_id}
        self._documents = {key: one for key, one in self._documents.items() if key[0] != of_session(session_id)}
        for kept in (self._keys, self._tips, self._heads):
            kept.pop(session_id, None)

    def _add(self, event: JournalEvent) -> tuple[JournalEvent, bool]:
        """Return an event as it is kept, and whether it is new."""
        stored = decode_line(encode_line(event))
        if stored.key in self._events:
            return self._events[stored.key], False
        self._events[stored.key] = stored
        keys = self._keys.setdefault(stored.session_id, [])
        insort(keys, (stored.timestamp_ns, stored.event_id), lo=bisect_left(keys, (stored.timestamp_ns,)))
        self._arrived.append(stored)
        self._tips[stored.session_id] = len(self._arrived)
        return stored, True

    def _position(self, cursor: str | None) -> int:
        position = 0 if cursor is None else int(cursor) if cursor.isascii() and cursor.isdigit() else -1
        if not 0 <= position <= len(self._arrived):
            raise StoreError(f"cursor '{cursor}' is not one of store {self._url}")
        return position


def _with_valid_text(head: SessionHead) -> SessionHead:
    texts = {
        field: getattr(head, field)
        for field in ("session_id", "status", "reason", "agent", "stage", "part_of", "forked_from")
    }
    changed = {field: valid_text(text) for field, text in texts.items() if text is not None}
    return msgspec.structs.replace(head, **changed)
