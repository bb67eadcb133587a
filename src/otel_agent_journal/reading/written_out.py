"""A journal as JSON lines in a file: written out session by session, and taken in again, into any store.

A line is an event, as `show --events -o jsonl` and `tail` print them, or a value that is kept apart:
`{"blob": DIGEST, "session_id": …, "media_type": …, "data": BASE64}`, before the events that refer to it. Taking in is
idempotent; a line that is none is told with its number, and costs that line alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, decode_line, encode_line, encode_value, intact
from otel_agent_journal.errors import CodecError, ConflictError, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.reading.copying import blobs_of
from otel_agent_journal.reading.writing import EventWriter, Insist, runs_of
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore

BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 8 * 1024 * 1024  # of values kept apart that are in hand
_BLOB: Final = b'"blob"'  # stands near the beginning of the line of one


class TakenIn(msgspec.Struct):
    """What was taken in: lines read, events and values that the store has now, the sessions they are of."""

    lines: int = 0
    events: int = 0
    blobs: int = 0
    bad: int = 0
    sessions: set[str] = msgspec.field(default_factory=set[str])


def lines_of(store: JournalStore, session_id: str) -> Iterator[bytes]:
    """Yield the lines of a session and its parts, without line ends.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    told: set[tuple[str, str]] = set()
    for event in read_whole(store, session_id):
        wanted = [one for one in dict.fromkeys(blobs_of(event.details)) if (event.session_id, one) not in told]
        if wanted and isinstance(store, BlobStore) and store.capabilities.blobs:
            told.update((event.session_id, one) for one in wanted)
            for digest, blob in store.get_blobs(event.session_id, wanted).items():
                yield blob_line(event.session_id, digest, blob)
        yield encode_line(event)


def blob_line(session_id: str, digest: str, blob: Blob) -> bytes:
    """Return the line of a value that is kept apart."""
    data = base64.b64encode(blob.data).decode()
    return encode_value({"blob": digest, "session_id": session_id, "media_type": blob.media_type, "data": data})


class Import:
    """Takes lines into a store.

    Args:
        target: the store.
        insist: makes each call to it, and may try it again.
        told: takes what is wrong with a line: its number, and why it was not taken.
    """

    def __init__(self, target: JournalStore, *, insist: Insist[Any], told: Callable[[int, str], object]) -> None:
        self.taken = TakenIn()
        self._target = target
        self._insist = insist
        self._told = told
        self._writer = EventWriter(target, insist=insist)
        self._events: list[tuple[int, JournalEvent]] = []
        self._blobs: dict[str, dict[str, Blob]] = {}
        self._blob_bytes = 0
        self._early: dict[str, dict[int, tuple[int, JournalEvent]]] = {}  # by instance, what waits for those before

    def take(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Take lines in, the last of them with their heads; yield after each how many bytes it had.

        Raises:
            StoreUnreachable: and other errors of the store; take the same lines again.
        """
        for number, line in enumerate(lines, 1):
            self.taken.lines = number
            if line.strip():
                self._take(number, line)
            yield len(line)
        self._write()
        for instance_id, waiting in self._early.items():
            first = min(waiting)
            for number, event in waiting.values():
                missing = f"event {first - 1}, which is not there"
                self._bad(number, f"it is event {event.seq} of instance {instance_id}, and comes behind {missing}")
        self._writer.heads.write()

    def _take(self, number: int, line: bytes) -> None:
        try:
            blob = _blob_in(line)
            if blob is not None:
                session_id, digest, value = blob
                self._blobs.setdefault(session_id, {})[digest] = value
                self._blob_bytes += len(value.data)
            else:
                event = decode_line(line)
                if not intact(event):
                    raise CodecError("its digest is another content's: it was changed; without one it would be taken")
                self._events.append((number, event))
        except CodecError as error:
            self._bad(number, str(error))
        if len(self._events) >= BATCH_EVENTS or self._blob_bytes >= BATCH_BYTES:
            self._write()

    def _write(self) -> None:
        target, events = self._target, self._events
        if isinstance(target, BlobStore) and target.capabilities.blobs:
            for session_id, found in self._blobs.items():
                self._insist(lambda one=session_id, found=found: target.put_blobs(one, found))
                self.taken.blobs += len(found)
        self._events, self._blobs, self._blob_bytes = [], {}, 0
        numbers = {event.event_id: number for number, event in events}
        own = [event for _, event in events if event.seq is None]
        too_large = self._writer.append(own)
        for error in too_large:
            self._bad(numbers[error.event_id], str(error))
        self._count(own, len(too_large))
        for number, event in events:
            if event.seq is not None and event.instance_id is not None:
                self._early.setdefault(event.instance_id, {})[event.seq] = number, event
        for instance_id in list(self._early):
            self._write_context(instance_id)

    def _write_context(self, instance_id: str) -> None:
        """Write what of an instance's events can be; the others wait for those before them."""
        waiting = self._early.pop(instance_id)
        for _, run in runs_of(event for _, event in waiting.values()):
            try:
                self._writer.append_context(instance_id, run, _none_earlier)
            except WrongExpectedSequence:
                self._early.setdefault(instance_id, {}).update(
                    {cast("int", event.seq): waiting[cast("int", event.seq)] for event in run}
                )
            except ConflictError as error:
                for event in run:
                    self._bad(waiting[cast("int", event.seq)][0], str(error))
            else:
                self._count(run, 0)

    def _count(self, events: Sequence[JournalEvent], without: int) -> None:
        self.taken.events += len(events) - without
        self.taken.sessions.update(event.session_id for event in events)

    def _bad(self, number: int, why: str) -> None:
        self.taken.bad += 1
        self._told(number, why)


def _none_earlier(instance_id: str, first: int, last: int) -> Sequence[JournalEvent]:
    del last
    raise WrongExpectedSequence(instance_id, first, first)


def _blob_in(line: bytes) -> tuple[str, str, Blob] | None:
    """Return the session, the digest and the value of a line that is one; None where it is an event's."""
    if _BLOB not in line[:16]:
        return None
    try:
        told = msgspec.json.decode(line, type=_BlobLine)
        data = base64.b64decode(told.data, validate=True)
    except (msgspec.DecodeError, binascii.Error, UnicodeError) as error:
        raise CodecError(f"not a value kept apart: {error}") from error
    if blake2b(data, digest_size=DIGEST_BYTES).hexdigest() != told.blob:
        raise CodecError(f"the value is not the one of digest {told.blob}")
    return told.session_id, told.blob, Blob(data, told.media_type)


class _BlobLine(msgspec.Struct, frozen=True):
    blob: str
    session_id: str
    media_type: str
    data: str
