"""Entries straight to a store, from a process that records nothing there: a server of tools, a script, a notebook."""

from __future__ import annotations

import logging
import uuid

from otel_agent_journal.mapping.facts import BlobKept, decode_fact, events_of
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.session_writer import SessionWriter
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore

_log = logging.getLogger(__name__)


class StoreAppender:
    """Appends facts to a store, as events, before it returns. Thread-safe as the store is."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._writer = uuid.uuid4().hex

    @property
    def writer(self) -> str:
        """The id of this writer."""
        return self._writer

    def append(self, payload: bytes) -> bool:
        """Write a fact; False where the store did not take it. Never raises."""
        try:
            fact = decode_fact(payload)
            if isinstance(fact, BlobKept):
                if isinstance(self._store, BlobStore):
                    self._store.put_blobs(fact.session_id, {fact.digest: Blob(fact.data, fact.media_type)})
            else:
                self._store.append(events_of(fact, self._writer))
        except Exception:  # noqa: BLE001 - an agent must not fail by its journal; its tool is told
            _log.warning("an entry was not written", exc_info=True)
            return False
        return True

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def writer_to(appender: StoreAppender, encoder: ContentEncoder) -> SessionWriter:
    """Return what journals events of sessions through an appender, their content as the encoder has it."""
    writer = SessionWriter(
        appender,
        encoder,
        session_id=None,
        trusts_baggage=False,
        introduce=None,
        stages={},
        clock=None,
        ids=None,
    )
    writer.after_fork()
    return writer
