"""Deletions of sealed sessions, told to the log before they happen: so a prune is told from a theft."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.seals.keys import Signer
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.records import Deleted, Record
from otel_agent_journal.seals.state import Seals
from otel_agent_journal.store.protocol import BlobStore, DocumentStore, JournalStore


def has_seals(store: JournalStore) -> bool:
    """Tell whether anything in a store was ever sealed."""
    can = store.capabilities
    possible = can.read and can.documents and can.blobs
    kept = possible and isinstance(store, DocumentStore) and isinstance(store, BlobStore)
    return kept and Log(store).head() is not None


def record_deletions(
    store: JournalStore, sessions: Iterable[str], why: str, signer: Signer, clock: Callable[[], int]
) -> int:
    """Write into the log which sealed sessions are about to be deleted; return how many these are.

    Raises:
        SealBroken: the log is not as it was signed, or by another key; nothing was recorded.
        StoreUnreachable: and other errors of the store; some may be recorded: call again.
    """
    at = format_timestamp(clock())
    records: list[Record] = [
        Deleted(session=one, why=why, at=at) for one in sessions if Seals(store, one).state() is not None
    ]
    if records:
        Log(store).append(records, signer)
    return len(records)
