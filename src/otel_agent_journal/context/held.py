"""Bodies that may still be taken back: kept in a document in place of their event, which can be replaced and deleted.

An event never changes, and what a guardrail redacts must not be at rest. So the newest message of a user has its body
in a document at first. Its event names that; once an answer follows, the message is settled: an event of its own has
the body, `settles` says whose. What is redacted before is replaced in the document, and nothing else had it.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.context.messages import Message, put_together, taken_apart
from otel_agent_journal.errors import CodecError, StoreError
from otel_agent_journal.store.protocol import Blob, Document, DocumentStore, JournalStore, of_session

_SLOTS: Final = 1_000  # a writer that finds so many bodies of others takes a name of its own
_HEAD: Final = b"\n"  # between what a piece says of itself and its bytes
_HEAD_BYTES: Final = 256
_WRITTEN_WITHIN_NS: Final = 3_600 * 10**9  # in which a writer has named the body that it has put, if it lives


class Held(NamedTuple):
    """A message whose body is in a document, and the numbers of the events that name it."""

    body: str
    document: str
    message: Message
    numbers: tuple[int, ...]


def can_hold(store: JournalStore) -> bool:
    """Tell whether a store keeps documents."""
    return isinstance(store, DocumentStore) and store.capabilities.documents


class Slot:
    """One document for one body after another; it is this writer's from its first body on. Not thread-safe.

    Args:
        store: which keeps documents.
        session_id: the session that the document goes with.
        instance_id: the agent instance.
    """

    def __init__(self, store: JournalStore, session_id: str, instance_id: str) -> None:
        assert isinstance(store, DocumentStore)
        self._store: DocumentStore = store
        self._scope = of_session(session_id)
        self._before = f"context/{instance_id}/held/"
        self._most = (store.capabilities.max_document_bytes or 1 << 62) - _HEAD_BYTES
        self.name = ""
        self._version = 0
        self._pieces = 1

    def put(self, body: str, message: Message, is_settled: Callable[[str], bool | None]) -> str:
        """Keep a body in the place of the last one, durably, and return the document's name.

        Args:
            body: its id.
            message: with texts and bytes.
            is_settled: tells of a body's id whether an event has it by now; None where no event names it.
        """
        for number in range(_SLOTS):
            if not self.name:
                self._take(number, is_settled)
            if not self.name:
                continue
            pieces = _pieces_of(body, message, self._most)
            written = self._write(pieces)
            if written:
                return self.name
            self.name = ""
        raise StoreError(f"{self._scope} has {_SLOTS} bodies that nobody has settled; nothing was written")

    def clear(self) -> None:
        """Delete the document."""
        if self.name:
            self._store.delete_document(self._scope, self.name, self._version)
            for number in range(1, self._pieces):
                _delete(self._store, self._scope, f"{self.name}/{number}")
            self.name = ""

    def _take(self, number: int, is_settled: Callable[[str], bool | None]) -> None:
        """Take a name that is free, or whose body is settled."""
        name = f"{self._before}{number}" if number < _SLOTS - 1 else f"{self._before}{os.urandom(8).hex()}"
        known = self._store.get_document(self._scope, name)
        if known is None:
            self.name, self._version, self._pieces = name, 0, 1
            return
        head = _head_of(known.data)
        settled = is_settled(str(head.get("body")))
        if settled or (settled is None and time.time_ns() - int(head.get("at", 0)) > _WRITTEN_WITHIN_NS):
            self.name, self._version, self._pieces = name, known.version, int(head.get("pieces", 1))

    def _write(self, pieces: list[bytes]) -> bool:
        for number in range(1, max(self._pieces, len(pieces))):
            name = f"{self.name}/{number}"
            if number < len(pieces):
                _replace(self._store, self._scope, name, pieces[number])
            else:
                _delete(self._store, self._scope, name)
        document = Document(scope=self._scope, name=self.name, data=pieces[0], version=self._version)
        written = self._store.put_document(document)
        if written is None:
            return False
        self._version, self._pieces = written.version, len(pieces)
        return True


def body_of(store: JournalStore, session_id: str, held: Mapping[str, Any]) -> Message | None:
    """Return the message that a document keeps, or None where it has another by now, or is gone.

    Args:
        store: the store.
        session_id: of the instance that wrote the event.
        held: what the event's details say of it.
    """
    if not isinstance(store, DocumentStore) or not store.capabilities.documents:
        return None
    scope, name = of_session(session_id), str(held.get("document"))
    known = store.get_document(scope, name)
    if known is None:
        return None
    head = _head_of(known.data)
    if head.get("body") != held.get("body"):
        return None
    data = known.data.partition(_HEAD)[2]
    for number in range(1, int(head.get("pieces", 1))):
        more = store.get_document(scope, f"{name}/{number}")
        if more is None or _head_of(more.data).get("body") != held.get("body"):
            return None
        data += more.data.partition(_HEAD)[2]
    return _message_of(data)


def replace_body(store: JournalStore, session_id: str, held: Mapping[str, Any], message: Message) -> bool:
    """Put another message in the place of the one that a document keeps; return whether it was still there."""
    if not isinstance(store, DocumentStore) or not store.capabilities.documents:
        return False
    scope, name = of_session(session_id), str(held.get("document"))
    for _ in range(_SLOTS):
        known = store.get_document(scope, name)
        if known is None or _head_of(known.data).get("body") != held.get("body"):
            return False
        most = (store.capabilities.max_document_bytes or 1 << 62) - _HEAD_BYTES
        pieces = _pieces_of(str(held.get("body")), message, most)
        for number in range(1, max(int(_head_of(known.data).get("pieces", 1)), len(pieces))):
            if number < len(pieces):
                _replace(store, scope, f"{name}/{number}", pieces[number])
            else:
                _delete(store, scope, f"{name}/{number}")
        document = Document(scope=scope, name=name, data=pieces[0], version=known.version)
        if store.put_document(document) is not None:
            return True
    return False


def _pieces_of(body: str, message: Message, most: int) -> list[bytes]:
    blobs: dict[str, Blob] = {}
    apart = taken_apart({"message": message}, blobs)
    kept = {digest: [blob.media_type, base64.b64encode(blob.data).decode()] for digest, blob in blobs.items()}
    data = encode_value({**apart, "blobs": kept})
    parts = [data[at : at + most] for at in range(0, len(data), most)]
    head = encode_value({"body": body, "pieces": len(parts), "at": time.time_ns()}) + _HEAD
    return [head + part for part in parts]


def _message_of(data: bytes) -> Message | None:
    try:
        kept = cast("dict[str, Any]", decode_value(data))
        blobs = {
            digest: Blob(base64.b64decode(text), media_type)
            for digest, (media_type, text) in cast("dict[str, list[str]]", kept.pop("blobs")).items()
        }
        return cast("Message", put_together(kept, lambda _: blobs)["message"])
    except (CodecError, KeyError, TypeError, ValueError):
        return None  # torn between its pieces, as it was replaced


def _head_of(data: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", decode_value(data.partition(_HEAD)[0]))
    except CodecError:
        return {}


def _replace(store: DocumentStore, scope: str, name: str, data: bytes) -> None:
    while True:
        known = store.get_document(scope, name)
        version = 0 if known is None else known.version
        if store.put_document(Document(scope=scope, name=name, data=data, version=version)) is not None:
            return


def _delete(store: DocumentStore, scope: str, name: str) -> None:
    known = store.get_document(scope, name)
    while known is not None and not store.delete_document(scope, name, known.version):
        known = store.get_document(scope, name)
