"""What is the same for the documents of every store: versions, and what is no document."""

from __future__ import annotations

import time

import msgspec

from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.protocol import Document


def successor(document: Document, url: str, max_bytes: int | None = None) -> Document:
    """Return a document as it is written over its version: with the next one, which is also later than any before it.

    Versions are times where they can be, so that a document that was deleted and made anew never has an old one.

    Raises:
        StoreError: it is too large.
    """
    if max_bytes is not None and len(document.data) > max_bytes:
        raise StoreError(
            f"store {url}: document '{document.name}' of {document.scope} has {len(document.data):,} bytes,"
            f" {max_bytes:,} is the most it takes; nothing was written: keep large values as blobs"
        )
    return msgspec.structs.replace(document, version=max(document.version + 1, time.time_ns()))
