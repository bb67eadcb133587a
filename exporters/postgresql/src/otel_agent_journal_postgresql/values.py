"""What is kept beside events: values apart by their digests, and documents, replaced by who has seen the one before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Text, cast, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from otel_agent_journal.codec import decode_value, encode_value, valid_text
from otel_agent_journal.store.protocol import Blob, Document
from otel_agent_journal_postgresql.rows import key_of
from otel_agent_journal_postgresql.tables import blobs, documents

_MOST_AT_ONCE: Final = 500
_WHOLE: Final = select(
    documents.c.scope,
    documents.c.name,
    documents.c.data,
    documents.c.version,
    cast(documents.c.exact, Text).label("exact"),
)


def put_blobs(connection: Connection, session_id: str, given: Mapping[str, Blob]) -> None:
    """Keep values by their digests; the first of a digest stays."""
    key = key_of(session_id)
    rows = [
        {"session_id": key, "digest": key_of(digest), "data": blob.data, "media_type": blob.media_type}
        for digest, blob in given.items()
    ]
    if rows:
        connection.execute(insert(blobs).on_conflict_do_nothing(), rows)


def get_blobs(connection: Connection, session_id: str, digests: Collection[str]) -> dict[str, Blob]:
    """Return values by their digests; those that are not there are left out."""
    wanted = {key_of(digest): digest for digest in digests}
    keys, found = list(wanted), dict[str, Blob]()
    for start in range(0, len(keys), _MOST_AT_ONCE):
        some = blobs.c.session_id == key_of(session_id), blobs.c.digest.in_(keys[start : start + _MOST_AT_ONCE])
        for digest, data, media_type in connection.execute(
            select(blobs.c.digest, blobs.c.data, blobs.c.media_type).where(*some)
        ):
            found[wanted[digest]] = Blob(bytes(data), media_type)
    return found


def get_document(connection: Connection, scope: str, name: str) -> Document | None:
    """Return a document, or None where it is not there."""
    row = connection.execute(_WHOLE.where(*_at(scope, name))).first()
    return None if row is None else _document(row)


def put_document(connection: Connection, document: Document, seen: int) -> bool:
    """Write a document if the stored one has the version that was seen, 0 for none; return whether it was written."""
    values: dict[str, Any] = {"data": document.data, "version": document.version, "exact": _exact(document)}
    if seen:
        where = (*_at(document.scope, document.name), documents.c.version == seen)
        changed = update(documents).where(*where).values(values)
        return connection.execute(changed.returning(documents.c.version)).first() is not None
    added = insert(documents).values(scope=key_of(document.scope), name=key_of(document.name), **values)
    added = added.on_conflict_do_nothing()
    return connection.execute(added.returning(documents.c.version)).first() is not None


def delete_document(connection: Connection, scope: str, name: str, version: int) -> bool:
    """Delete a document that still has this version; return whether it was deleted."""
    where = (*_at(scope, name), documents.c.version == version)
    return connection.execute(delete(documents).where(*where).returning(documents.c.version)).first() is not None


def documents_of(connection: Connection, scope: str) -> list[Document]:
    """Return the documents of a scope, in order of their names."""
    rows = connection.execute(_WHOLE.where(documents.c.scope == key_of(scope)))
    return sorted(map(_document, rows), key=lambda document: document.name)


def _at(scope: str, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return documents.c.scope == key_of(scope), documents.c.name == key_of(name)


def _exact(document: Document) -> str | None:
    """Return scope and name as JSON, where the keys are not these themselves."""
    texts = [valid_text(document.scope), valid_text(document.name)]
    return None if texts == [key_of(document.scope), key_of(document.name)] else encode_value(texts).decode()


def _document(row: Row[*tuple[Any, ...]]) -> Document:
    scope, name = (row.scope, row.name) if row.exact is None else decode_value(row.exact)
    return Document(scope=scope, name=name, data=bytes(row.data), version=row.version)
