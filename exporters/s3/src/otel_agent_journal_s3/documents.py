"""Documents: one object each, replaced by its ETag; what it is stands in its first line, its data behind that.

S3 deletes under no condition, so a deleted document stays as an empty object: whoever makes it anew replaces that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from otel_agent_journal.codec import decode_value, encode_value, valid_text
from otel_agent_journal.store.protocol import Document
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.objects import Bucket

_GONE: Final = b""
_REMEMBERED: Final = 256  # documents


class _There(NamedTuple):
    document: Document | None
    etag: str


class Documents:
    """The documents of a store."""

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout
        self._wrote: dict[str, tuple[int, str]] = {}  # version and ETag of what was written here last, by its name

    def get(self, scope: str, name: str) -> Document | None:
        """Return a document, None where it is not there."""
        there = self._look(self._layout.document(scope, name))
        return None if there is None else there.document

    def put(self, seen: Document, written: Document) -> Document | None:
        """Replace a document that still has the version that was seen."""
        is_written = self._replace(seen.scope, seen.name, seen.version, _body(written), written.version)
        return written if is_written else None

    def delete(self, scope: str, name: str, version: int) -> bool:
        """Leave an empty object in the place of a document that still has this version."""
        return version > 0 and self._replace(scope, name, version, _GONE)

    def of(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        names = [item.name for item in self._bucket.list(self._layout.documents(scope)) if item.size_bytes]
        stored = self._bucket.get_all(names)
        documents = [_document(one.data) for one in stored if one is not None and one.data]
        yield from sorted(documents, key=lambda document: document.name)

    def _replace(self, scope: str, name: str, seen: int, body: bytes, version: int = 0) -> bool:
        place = self._layout.document(scope, name)
        last, etag = self._wrote.pop(place, (0, ""))
        if seen and last == seen:  # as its writer left it, as long as it has that ETag
            written = self._bucket.put_over(place, body, etag)
            if written is not None:
                return self._remember(place, version, written.etag)
        there = self._look(place)
        if seen != (there.document.version if there is not None and there.document is not None else 0):
            return False
        written = self._bucket.put_new(place, body) if there is None else self._bucket.put_over(place, body, there.etag)
        if written is not None:
            return self._remember(place, version, written.etag)
        stored = self._bucket.get(place)  # perhaps it is our own, of an attempt that was not answered
        return stored is not None and stored.data == body

    def _remember(self, place: str, version: int, etag: str) -> Literal[True]:
        if version:
            self._wrote[place] = (version, etag)
            for oldest in list(self._wrote)[:-_REMEMBERED]:
                self._wrote.pop(oldest, None)
        return True

    def _look(self, place: str) -> _There | None:
        stored = self._bucket.get(place)
        return None if stored is None else _There(_document(stored.data) if stored.data else None, stored.etag)


def _body(document: Document) -> bytes:
    first = {"scope": valid_text(document.scope), "name": valid_text(document.name), "version": document.version}
    return encode_value(first) + b"\n" + document.data


def _document(body: bytes) -> Document:
    first, _, data = body.partition(b"\n")
    said: dict[str, Any] = decode_value(first)
    return Document(scope=said["scope"], name=said["name"], version=said["version"], data=data)
