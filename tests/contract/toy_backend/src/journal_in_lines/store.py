"""A journal as a log of what was done to it, a line of JSON each; what is read is an index in memory.

Whoever writes locks the file, reads what others have added, decides in the index whether the write is allowed, adds
its line and syncs it to the disk. All clients read the same lines in the same order, so all come to the same index:
the rules of the journal are those of `MemoryStore`, and this module's matter is the file alone.
"""

from __future__ import annotations

import fcntl
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from otel_agent_journal.codec import JSON, decode_line, encode_line, valid_text
from otel_agent_journal.errors import (
    ConfigError,
    NewerSchema,
    StoreError,
    StoreUnreachable,
    StoreUnusable,
    UnsupportedByStore,
)
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.memory import MemoryStore
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

VERSION = 1
FIRST = b'{"journal_in_lines":'  # of every file of ours; its version follows


def open_store(url: str, *, create: bool = True) -> LinesStore:
    """Return the store of `lines:///relative.jsonl` or `lines:////absolute.jsonl`; nothing is opened yet."""
    place, _, options = url.partition("?")
    if not place.startswith("lines:///") or place.endswith("/"):
        raise ConfigError(f"store {url} names no file; the form is lines:///journal.jsonl")
    if options:
        raise ConfigError(f"store {url} has options; there are none")
    return LinesStore(Path(unquote(place.removeprefix("lines:///"))), create=create)


class LinesStore:
    """A journal in a file of JSON lines. Thread-safe."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._path = path
        self._create = create
        self._lock = RLock()
        self._closed = False
        self._index = MemoryStore()
        self._read_to = 0

    @property
    def url(self) -> str:
        """Its URL; there are no secrets in it."""
        return f"lines:///{quote(str(self._path))}"

    @property
    def capabilities(self) -> Capabilities:
        """All."""
        return Capabilities(prune=True)

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived] | None:
        """Add one line for the batch."""
        lines = [encode_line(event).decode() for event in events]
        with self._writing() as add:
            before = self._index.tip()
            arrived = self._index.append(events)
            if self._index.tip() != before:
                add({"append": lines})
            return arrived

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        """Add one line, which is there whole or not at all, if the index says that the sequence is right."""
        lines = [encode_line(event).decode() for event in events]
        with self._writing() as add:
            before = self._index.tip()
            self._index.append_context(instance_id, expected_seq, events)
            if self._index.tip() != before:
                add({"context": lines})

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield a session's events in order."""
        yield from self._reading().read(session_id, after)

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEvent]:
        """Yield an instance's events from a sequence number on."""
        yield from self._reading().read_context(instance_id, from_seq, limit=limit, newest_first=newest_first)

    def context_tip(self, instance_id: str) -> ContextTip | None:
        """Return where an instance's sequence ends."""
        return self._reading().context_tip(instance_id)

    def instances(self, session_id: str) -> Iterator[str]:
        """Yield the instances of a session."""
        yield from self._reading().instances(session_id)

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in the order of the file."""
        return self._reading().follow(cursor, session_id=session_id, limit=limit)

    def tip(self, session_id: str | None = None) -> str | None:
        """Return the cursor of now."""
        return self._reading().tip(session_id)

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that have events which their head does not know."""
        yield from self._reading().unsettled()

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event."""
        yield from self._reading().session_ids()

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, the latest updated first."""
        yield from self._reading().sessions(wanted)

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        return self._reading().head(session_id)

    def write_head(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at."""
        with self._writing() as add:
            written = self._index.write_head(head)
            if written is not None:
                add({"head": msgspec.to_builtins(msgspec.structs.replace(written, version=head.version))})
            return written

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Keep values by their digests."""
        for digest, blob in blobs.items():
            self.put_blob(session_id, digest, blob.data, blob.media_type)

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        """Return values by their digests."""
        return self._reading().get_blobs(session_id, digests)

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Keep one value."""
        with self._writing() as add:
            if self._index.get_blob(session_id, digest) is None:
                self._index.put_blob(session_id, digest, data, media_type)
                add({"blob": [valid_text(session_id), digest, b64encode(data).decode(), media_type]})

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return one value's bytes, or None where it is not there."""
        return self._reading().get_blob(session_id, digest)

    def get_document(self, scope: str, name: str) -> Document | None:
        """Return a document, or None where it is not there."""
        return self._reading().get_document(scope, name)

    def put_document(self, document: Document) -> Document | None:
        """Replace a document over the version it was read at."""
        with self._writing() as add:
            written = self._index.put_document(document)
            if written is not None:
                add({"document": [written.scope, written.name, b64encode(written.data).decode(), written.version]})
            return written

    def delete_document(self, scope: str, name: str, version: int) -> bool:
        """Delete a document that still has this version."""
        with self._writing() as add:
            deleted = self._index.delete_document(scope, name, version)
            if deleted:
                add({"delete document": [scope, name, version]})
            return deleted

    def documents(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        yield from self._reading().documents(scope)

    def init_plan(self) -> list[str]:
        """Return what of the file is not there yet."""
        self._require_open()
        return [] if self._path.exists() and self._path.stat().st_size else [f"create the file {self._path}"]

    def init(self) -> None:
        """Create the file where it is missing."""
        with self._writing():
            pass

    def info(self) -> StoreInfo:
        """Return what the store is and holds."""
        held = self._reading().info()
        size = self._path.stat().st_size
        return msgspec.structs.replace(held, url=self.url, backend="lines", schema_version=VERSION, size_bytes=size)

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> bool:
        """Delete a session from what is read, if nothing has happened since; the file only grows."""
        with self._writing() as add:
            deleted = self._index.delete_session(session_id, cursor, version)
            if deleted:
                add({"delete": [session_id, cursor, version]})
            return deleted

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Raise UnsupportedByStore: who may use a file is its permissions' matter."""
        raise UnsupportedByStore(self.url, "iam_policy")

    def close(self) -> None:
        """Refuse every call from now on."""
        self._closed = True
        self._index.close()

    # --- the file -----------------------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnusable(f"store {self.url} is closed")

    def _reading(self) -> MemoryStore:
        """Return the index, with all that is in the file by now."""
        with self._lock, self._file(os.O_RDONLY) as descriptor:
            self._catch_up(descriptor)
            return self._index

    @contextmanager
    def _writing(self) -> Generator[Callable[[Mapping[str, Any]], None]]:
        """Lock the file, catch up, and give a function that adds a line and syncs it to the disk."""
        with self._lock, self._file(os.O_RDWR) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # released as the file is closed, by whatever death
            self._catch_up(descriptor)
            os.ftruncate(descriptor, self._read_to)  # a line that its writer did not live to finish
            if not self._read_to:
                self._add(descriptor, FIRST + b"%d}" % VERSION)
            yield lambda record: self._add(descriptor, msgspec.json.encode(record))

    @contextmanager
    def _file(self, flags: int) -> Generator[int]:
        self._require_open()
        try:
            if self._create and not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags |= os.O_CREAT | os.O_RDWR
            descriptor = os.open(self._path, flags, 0o644)
        except FileNotFoundError as error:
            raise StoreUnreachable(f"there is no journal at {self._path} yet; run an agent with this store") from error
        except OSError as error:
            raise StoreUnreachable(f"journal {self._path}: {error.strerror}; check its permissions") from error
        try:
            yield descriptor
        except OSError as error:  # the disk is full or gone: what the index has is not what the file has
            self._index, self._read_to = MemoryStore(), 0
            raise StoreUnreachable(f"journal {self._path}: {error.strerror}; free space, or move it") from error
        finally:
            os.close(descriptor)

    def _add(self, descriptor: int, line: bytes) -> None:
        data = line + b"\n"
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], self._read_to + written)
        os.fsync(descriptor)
        self._read_to += len(data)

    def _catch_up(self, descriptor: int) -> None:
        """Bring the index up to the last whole line of the file."""
        data = os.pread(descriptor, os.fstat(descriptor).st_size - self._read_to, self._read_to)
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        if lines and not self._read_to:
            self._check(lines.pop(0))
        for line in lines:
            self._apply(msgspec.json.decode(line))
        self._read_to += len(whole)

    def _check(self, first: bytes) -> None:
        if not first.startswith(FIRST):
            raise StoreUnusable(f"{self._path} is no journal; it was left untouched: name another file")
        version = int(first.removeprefix(FIRST).rstrip(b"}"))
        if version > VERSION:
            raise NewerSchema(f"journal {self._path}", version, VERSION)

    def _apply(self, record: Mapping[str, Any]) -> None:
        match next(iter(record.items())):
            case ("append", lines):
                self._index.append([decode_line(line) for line in lines])
            case ("context", lines):
                events = [decode_line(line) for line in lines]
                self._index.append_context(str(events[0].instance_id), int(events[0].seq or 0), events)
            case ("head", head):
                self._index.write_head(msgspec.convert(head, SessionHead))
            case ("blob", (session_id, digest, data, media_type)):
                self._index.put_blob(session_id, digest, b64decode(data), media_type)
            case ("document", (scope, name, data, version)):
                self._index.keep_document(Document(scope=scope, name=name, data=b64decode(data), version=version))
            case ("delete document", (scope, name, version)):
                self._index.delete_document(scope, name, version)
            case ("delete", [session_id, cursor, version]):
                self._index.delete_session(session_id, cursor, version)
            case (unknown, _):
                raise StoreError(f"journal {self._path}: '{unknown}' is not known to version {VERSION}")
