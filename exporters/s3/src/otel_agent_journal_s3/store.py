"""The store: the port's methods, each a word to the part that does it.

What is where is in `layout`, how it is written in `writing`, read in `reading`, followed in `following`, rewritten in
`compacting`; `administration` is for operators.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from threading import RLock
from typing import Any, Final

from otel_agent_journal import forks
from otel_agent_journal.codec import JSON, decode_line
from otel_agent_journal.errors import EventTooLarge
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
from otel_agent_journal_s3.administration import Administration
from otel_agent_journal_s3.announcements import Announcements
from otel_agent_journal_s3.compacting import Compactor
from otel_agent_journal_s3.deleting import Deletion
from otel_agent_journal_s3.documents import Documents
from otel_agent_journal_s3.following import Follower
from otel_agent_journal_s3.heads import Heads
from otel_agent_journal_s3.instances import Instances
from otel_agent_journal_s3.layout import Layout, key_of
from otel_agent_journal_s3.lease import Lease
from otel_agent_journal_s3.lines import Line, line_of
from otel_agent_journal_s3.listing import ENDED
from otel_agent_journal_s3.objects import AT_ONCE, Bucket
from otel_agent_journal_s3.passing import Passing
from otel_agent_journal_s3.place import Place, place_of
from otel_agent_journal_s3.reading import Seen, instances_in, read, read_instance, session_ids
from otel_agent_journal_s3.segments import place_of_cursor
from otel_agent_journal_s3.settling import Settling
from otel_agent_journal_s3.writing import Segments

MAX_EVENT_BYTES: Final = 64 * 1024 * 1024  # what a reader has to hold in memory at once; S3 itself takes 5 GB
_LEASE: Final = Lease()


def open_store(url: str, *, create: bool = True) -> S3Store:
    """Return the store of a URL, `s3://BUCKET/PREFIX?region=&endpoint_url=&profile=&timeout=`; nothing is opened yet.

    A bucket is made by `agent-journal store init` alone, whatever `create` says.

    Raises:
        ConfigError: the URL is malformed.
    """
    del create
    return S3Store(place_of(url))


class S3Store:
    """A journal in a bucket. Thread-safe; writers of one client take turns."""

    def __init__(self, place: Place, *, lease: Lease = _LEASE) -> None:
        self._place = place
        self._layout = Layout(place.prefix)
        self._bucket = Bucket(place)
        self._announcements = Announcements(self._bucket, self._layout, lease)
        self._compactor = Compactor(self._bucket, self._layout)
        passing = Passing(self._bucket)
        self._settling = Settling(self._bucket, self._layout, passing)
        self._documents = Documents(self._bucket, self._layout)
        self._instances = Instances(self._bucket, self._layout)
        self._seen = Seen()
        self._segments = Segments(
            self._bucket,
            self._layout,
            announcements=self._announcements,
            compactor=self._compactor,
            settling=self._settling,
            instances=self._instances,
        )
        self._follower = Follower(self._bucket, self._layout, self._announcements)
        self._heads = Heads(self._bucket, self._layout, self._settling, passing)
        self._deletion = Deletion(self._bucket, self._layout, self._heads, self._settling)
        self._administration = Administration(self._bucket, self._layout)
        self._writing = RLock()
        self._checked = False
        forks.join(self, forks.Place.STORES)

    @property
    def url(self) -> str:
        """Its URL; there are no secrets in it."""
        return self._place.url

    @property
    def capabilities(self) -> Capabilities:
        """All; an event may have 64 MiB."""
        return Capabilities(prune=True, threads=AT_ONCE, max_event_bytes=MAX_EVENT_BYTES)

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived]:
        """Write session events, a segment for each session; see `JournalStore.append`."""
        by_session: dict[str, list[Line]] = {}
        batches: dict[str, list[Line]] = {}
        for event in events:
            require_session_event(event)
        for event in events:
            by_session.setdefault(event.session_id, []).append(_line(event))
        for session_id, lines in by_session.items():
            batches.setdefault(key_of(session_id), []).extend(lines)
        with self._ready():
            arrived = self._segments.append(batches)
        return {session_id: arrived[key] for session_id in by_session if (key := key_of(session_id)) in arrived}

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        """Write context events, in one segment, if the next number is the expected; see the port."""
        require_gapless(instance_id, expected_seq, events)
        if not events:
            return
        lines = [_line(event) for event in events]
        with self._ready():
            self._segments.append_numbered(key_of(events[0].session_id), instance_id, expected_seq, events, lines)

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield a session's events in order, as it is when the first is asked for; see `JournalStore.read`."""
        self._ready()
        yield from read(self._bucket, self._layout, key_of(session_id), after)

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEvent]:
        """Yield an instance's events from a number on; see `JournalStore.read_context`."""
        self._ready()
        session_id = self._instances.session_of(instance_id)
        if session_id is not None:
            key, limit = key_of(session_id), at_most(limit)
            found = self._of_instance(key, instance_id, from_seq, limit=limit, newest_first=newest_first)
            lines = islice(reversed(found) if newest_first else found, limit)
            yield from (decode_line(line.text) for line in lines)

    def context_tip(self, instance_id: str) -> ContextTip | None:
        """Return where an instance's sequence ends, or None where there is no such instance."""
        self._ready()
        session_id = self._instances.session_of(instance_id)
        if session_id is None:
            return None
        key = key_of(session_id)
        last = self._of_instance(key, instance_id, 0, limit=1, newest_first=True)
        return ContextTip(session_id, (decode_line(last[-1].text).seq or 0) + 1) if last else None

    def _of_instance(self, key: str, instance_id: str, from_seq: int, **bounds: Any) -> list[Line]:
        return read_instance(self._bucket, self._layout, key, instance_id, from_seq, seen=self._seen, **bounds)

    def instances(self, session_id: str) -> Iterator[str]:
        """Yield the instances that have context events in a session."""
        self._ready()
        yield from instances_in(self._bucket, self._layout, key_of(session_id))

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in order of arrival; see `JournalStore.follow`."""
        self._ready()
        if session_id is None:
            return self._follower.follow(cursor, max(0, limit))
        return self._follower.follow_session(key_of(session_id), cursor, max(0, limit))

    def tip(self, session_id: str | None = None) -> str | None:
        """Return the cursor of now."""
        self._ready()
        return self._follower.tip() if session_id is None else self._follower.tip_of(key_of(session_id))

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, the latest updated first."""
        self._ready()
        yield from self._heads.sessions(wanted or SessionFilter())

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        self._ready()
        return self._heads.head(session_id)

    def write_head(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at; see `JournalStore.write_head`."""
        with self._ready():
            written = self._heads.write(head)
            if written is not None and written.status in ENDED and not written.open_writers:
                place = place_of_cursor(written.cursor or "")
                self._segments.ended(key_of(written.session_id), place[0] if place and place[1] == 0 else None)
            return written

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that may have events which their head does not know: a listing of their markers."""
        self._ready()
        yield from self._settling.unsettled()

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Keep values by their digests, several at a time; the first of a digest stays."""
        self._ready()
        key = key_of(session_id)

        def put(digest: str) -> None:
            blob = blobs[digest]
            self._bucket.put_new(self._layout.blob(key, digest), blob.data, media_type=blob.media_type)

        self._bucket.each(put, list(blobs))

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        """Return values by their digests, several at a time; those that are not there are left out."""
        self._ready()
        key, wanted = key_of(session_id), list(digests)
        found = self._bucket.get_all([self._layout.blob(key, digest) for digest in wanted])
        return {
            digest: Blob(stored.data, stored.media_type)
            for digest, stored in zip(wanted, found, strict=True)
            if stored is not None
        }

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Keep one value; the first of a digest stays."""
        self.put_blobs(session_id, {digest: Blob(data, media_type)})

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return one value's bytes, or None where it is not there."""
        blob = self.get_blobs(session_id, (digest,)).get(digest)
        return None if blob is None else blob.data

    def get_document(self, scope: str, name: str) -> Document | None:
        """Return a document, or None where it is not there."""
        self._ready()
        return self._documents.get(scope, name)

    def put_document(self, document: Document) -> Document | None:
        """Replace a document over the version it was read at; see `DocumentStore.put_document`."""
        self._ready()
        return self._documents.put(document, successor(document, self.url, MAX_EVENT_BYTES))

    def delete_document(self, scope: str, name: str, version: int) -> bool:
        """Delete a document that still has this version."""
        self._ready()
        return self._documents.delete(scope, name, version)

    def documents(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        self._ready()
        yield from self._documents.of(scope)

    def compact(
        self, session_id: str | None = None, *, progress: Callable[[int], object] = lambda _looked_at: None
    ) -> int:
        """Rewrite the journal of one session, or of each that has more than its journal; return how many were."""
        self._ready()
        keys = self._compactor.sessions_with_tail(progress) if session_id is None else [key_of(session_id)]
        return sum(self._compactor.rewrite(key) is not None for key in keys)

    def init_plan(self) -> list[str]:
        """Say what `init` would create or set, a line each; empty when nothing is missing."""
        return self._administration.plan()

    def init(self) -> None:
        """Make the bucket, and set versioning, lifecycle, public-access block and encryption where they are not set."""
        self._administration.init()

    def info(self) -> StoreInfo:
        """Return what the bucket holds below the prefix, counted up to 50,000 objects."""
        self._ready()
        return self._administration.info()

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event: a listing of all there is."""
        self._ready()
        yield from session_ids(self._bucket, self._layout)

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> bool:
        """Delete a session in which nothing has happened since; see `StoreAdmin.delete_session`.

        With versioning its bytes go when the lifecycle has it so; `init` sets 30 days.
        """
        key = key_of(session_id)
        self._ready()  # whoever writes meanwhile meets the mark, in this process or in another
        return self._deletion.delete(key, self._follower.place(key, cursor), version)

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Return the least that a role needs on bucket and prefix; see `StoreAdmin.iam_policy`."""
        return self._administration.policy(role, note)

    def close(self) -> None:
        """Drop the connections; every later call is refused."""
        self._bucket.close()
        forks.leave(self)

    def after_fork(self) -> None:
        """Begin again in a child process: of the threads that held locks or were at work none is there."""
        self._writing = RLock()
        for part in (self._announcements, self._segments):
            part.start_anew()

    def _ready(self) -> RLock:
        """Return the lock of writers, once it is sure that the store is open and of a version that is understood."""
        self._bucket.require_open()
        if not self._checked:
            self._administration.check()
            self._checked = True
        return self._writing


def _line(event: JournalEvent) -> Line:
    line = line_of(event)
    if len(line.text) > MAX_EVENT_BYTES:
        raise EventTooLarge(
            event.event_id, len(line.text), MAX_EVENT_BYTES, "lower the field limit, so that large values become blobs"
        )
    return line
