"""Documents of any size: one that says what there is, and where it is large, pieces beside it.

What is written anew has pieces of its own, and the document is replaced at once, so that a reader has one or the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.errors import CodecError
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore

_LINE: Final = b"\n"  # between what a document says of itself and its bytes
_LINE_BYTES: Final = 512
_UNLIMITED: Final = 1 << 62
_TRIES: Final = 10  # of a reader whose pieces are replaced


class Head(NamedTuple):
    """What a document says of itself, and its version, 0 where there is none."""

    said: Mapping[str, Any]
    version: int


NOTHING: Final = Head({}, 0)


class Pieces:
    """The documents of one scope. Not thread-safe.

    Args:
        store: which keeps documents.
        scope: theirs.
    """

    def __init__(self, store: JournalStore, scope: str) -> None:
        assert isinstance(store, DocumentStore)
        self._store: DocumentStore = store
        self._scope = scope
        self._most = (store.capabilities.max_document_bytes or _UNLIMITED) - _LINE_BYTES

    def head(self, name: str) -> Head | None:
        """Return what a document says of itself, without its bytes; None where it is not there."""
        known = self._store.get_document(self._scope, name)
        return None if known is None else Head(_said(known.data), known.version)

    def read(self, name: str) -> tuple[Head, bytes] | None:
        """Return a document and its bytes, or None where it is not there."""
        for _ in range(_TRIES):
            known = self._store.get_document(self._scope, name)
            if known is None:
                return None
            said, data = _said(known.data), known.data.partition(_LINE)[2]
            more = [self._store.get_document(self._scope, one) for one in _pieces(name, said)]
            if None not in more:
                whole = data + b"".join(one.data for one in more if one is not None)
                return Head(said, known.version), whole
        return None

    def write(self, name: str, said: Mapping[str, Any], data: bytes, before: Head) -> Head | None:
        """Replace a document that is as it was, durably; return what it is then, None where another was first.

        Args:
            name: the document's.
            said: what it says of itself, some hundred bytes.
            data: its bytes.
            before: as it was, `NOTHING` where it is new; its pieces go.
        """
        parts = [data[at : at + self._most] for at in range(0, len(data), self._most)] or [b""]
        made = {**said, "of": os.urandom(8).hex(), "pieces": len(parts) - 1} if len(parts) > 1 else dict(said)
        for one, part in zip(_pieces(name, made), parts[1:], strict=True):
            self._store.put_document(Document(scope=self._scope, name=one, data=part))
        whole = encode_value(made) + _LINE + parts[0]
        document = Document(scope=self._scope, name=name, data=whole, version=before.version)
        written = self._store.put_document(document)
        for one in _pieces(name, made if written is None else before.said):
            self._delete(one)
        return None if written is None else Head(made, written.version)

    def delete(self, name: str, known: Head) -> bool:
        """Delete a document that is as it was, with its pieces; return whether it was deleted."""
        if not self._store.delete_document(self._scope, name, known.version):
            return False
        for one in _pieces(name, known.said):
            self._delete(one)
        return True

    def names(self, prefix: str) -> list[str]:
        """Return the names of documents that begin so, in order, without those of pieces."""
        found = (one.name for one in self._store.documents(self._scope) if one.name.startswith(prefix))
        return [name for name in found if _PIECE not in name]

    def _delete(self, name: str) -> None:
        known = self._store.get_document(self._scope, name)
        if known is not None:
            self._store.delete_document(self._scope, name, known.version)


_PIECE: Final = "/~piece~"  # in the name of a piece


def _pieces(name: str, said: Mapping[str, Any]) -> list[str]:
    return [f"{name}{_PIECE}{said.get('of')}.{number}" for number in range(int(said.get("pieces", 0)))]


def _said(data: bytes) -> Mapping[str, Any]:
    try:
        found = decode_value(data.partition(_LINE)[0])
    except CodecError:
        return {}
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
