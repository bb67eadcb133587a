"""The events that items stand for, also where a value of theirs is elsewhere or gone, or the item is no event at all.

What is amiss with one item never holds up a reader or a follower of the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from otel_agent_journal.codec import decode_line
from otel_agent_journal.errors import CodecError, NewerSchema
from otel_agent_journal.event import JournalEvent
from otel_agent_journal_dynamodb.batches import read_all
from otel_agent_journal_dynamodb.blobs import Blobs
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.items import event_of

SHOWN_CHARACTERS: Final = 1_000  # of a name or message that is over the item limit, for who looks at the table
_NEVER: Final = 10**12
_log = logging.getLogger("otel_agent_journal.store")


class Reading:
    """Makes events of items. Thread-safe."""

    def __init__(self, connection: Connection, blobs: Blobs) -> None:
        self._connection = connection
        self._blobs = blobs
        self._said = False  # that an item was left out

    def events(self, items: Iterable[Item]) -> Iterator[JournalEvent]:
        """Yield the events of items; what cannot be one, or is just being deleted, holds up nobody and is left out."""
        for item in items:
            try:
                event = self._event(item)
            except NewerSchema:
                raise
            except CodecError as error:
                self._leave_out(item, error)
                continue
            if event is not None:
                yield event

    def _event(self, item: Item) -> JournalEvent | None:
        digest = item.get("Blob", {}).get("S")
        if digest is None or "SchemaVersion" not in item:
            return event_of(item)
        line = self._blobs.get(item["PK"]["S"], digest)
        return self._without_value(item, digest) if line is None else decode_line(line)

    def _without_value(self, item: Item, digest: str) -> JournalEvent | None:
        """Return what an item still says of an event whose value is gone; None where the item is gone, or due to go."""
        if int(item.get("ExpiresAt", {}).get("N", _NEVER)) <= time.time():
            return None
        if not any(read_all(self._connection, [(item["PK"]["S"], item["SK"]["S"])], "PK")):
            return None
        event = event_of(item)
        lost = f"value {digest}, with the details, was deleted or has expired; texts are cut at {SHOWN_CHARACTERS:,}"
        return msgspec.structs.replace(event, details={**event.details, "lost": lost})

    def _leave_out(self, item: Item, error: CodecError) -> None:
        if not self._said:
            _log.warning(
                "store=<%s>, PK=<%s>, SK=<%s>, error=<%s> | an item that is no event is left out, as others will be"
                " of which nothing is said",
                self._connection.place.url,
                item["PK"]["S"],
                item["SK"]["S"],
                error,
            )
        self._said = True
