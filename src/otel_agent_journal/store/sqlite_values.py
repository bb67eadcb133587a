"""What is kept beside events in a SQLite file: values by their digests, and documents by who saw the one before."""

# ruff: noqa: S608 - the statements are made of constants of ours, every value is a parameter

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

from otel_agent_journal.codec import valid_text
from otel_agent_journal.store.protocol import Blob, Document
from otel_agent_journal.store.sqlite_tables import (
    ADD_DOCUMENT,
    DOCUMENT_COLUMNS,
    REPLACE_DOCUMENT,
    document_of,
    with_valid_text,
)

_MOST_AT_ONCE: Final = 500


def put_blobs(connection: sqlite3.Connection, session_id: str, given: Mapping[str, Blob]) -> None:
    """Keep values by their digests; the first of a digest stays."""
    key = valid_text(session_id)
    connection.executemany(
        "INSERT INTO blobs (session_id, digest, media_type, data) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(key, digest, blob.media_type, blob.data) for digest, blob in given.items()],
    )


def get_blobs(connection: sqlite3.Connection, session_id: str, digests: Collection[str]) -> dict[str, Blob]:
    """Return values by their digests; those that are not there are left out."""
    key, wanted, found = valid_text(session_id), list(digests), dict[str, Blob]()
    for start in range(0, len(wanted), _MOST_AT_ONCE):
        some = wanted[start : start + _MOST_AT_ONCE]
        rows = connection.execute(
            "SELECT digest, data, media_type FROM blobs WHERE session_id = ?"
            f" AND digest IN ({', '.join('?' * len(some))})",
            (key, *some),
        )
        found |= {digest: Blob(data, media_type) for digest, data, media_type in rows}
    return found


def get_document(connection: sqlite3.Connection, scope: str, name: str) -> Document | None:
    """Return a document, or None where it is not there."""
    row = connection.execute(
        f"SELECT {DOCUMENT_COLUMNS} FROM documents WHERE scope = ? AND name = ?", (valid_text(scope), valid_text(name))
    ).fetchone()
    return None if row is None else document_of(row)


def put_document(connection: sqlite3.Connection, document: Document, seen: int) -> Document | None:
    """Write a document if the stored one has the version that was seen, 0 for none; return it if it was written."""
    row = with_valid_text((document.scope, document.name, document.data, document.version))
    changed = connection.execute(REPLACE_DOCUMENT, (*row, seen)) if seen else connection.execute(ADD_DOCUMENT, row)
    return document_of(row) if changed.rowcount else None


def delete_document(connection: sqlite3.Connection, scope: str, name: str, version: int) -> bool:
    """Delete a document that still has this version; return whether it had."""
    deleted = connection.execute(
        "DELETE FROM documents WHERE scope = ? AND name = ? AND version = ?",
        (valid_text(scope), valid_text(name), version),
    )
    return deleted.rowcount > 0


def documents(connection: sqlite3.Connection, scope: str) -> list[Document]:
    """Return the documents of a scope, in order of their names."""
    rows = connection.execute(
        f"SELECT {DOCUMENT_COLUMNS} FROM documents WHERE scope = ? ORDER BY name", (valid_text(scope),)
    )
    return list(map(document_of, rows))
