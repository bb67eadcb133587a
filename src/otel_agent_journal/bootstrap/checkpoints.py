"""`JournalSaver`: LangGraph's checkpointer over the store of this process, or over one that is named."""

from __future__ import annotations

from otel_agent_journal.bootstrap.settings import settings_of_process
from otel_agent_journal.errors import MissingExtra, UnsupportedByStore
from otel_agent_journal.pipeline.resuming import resumption
from otel_agent_journal.pipeline.session import current_session
from otel_agent_journal.store import registry
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore

try:
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from otel_agent_journal.frameworks.langgraph.checkpoints.saver import Saver
    from otel_agent_journal.frameworks.langgraph.checkpoints.threads import Threads
except ImportError as error:
    raise MissingExtra("LangGraph, whose checkpointer JournalSaver is,", "otel-agent-journal[langgraph]") from error


class JournalSaver(Saver):
    """A LangGraph checkpointer whose threads live in the journal; see `Saver` for what it does.

    With AGENT_JOURNAL_CONTEXT=off nothing is written to the journal: threads live in this process's memory, so that
    graphs that need a checkpointer work.

    Args:
        store: a URL, an open store, or None: the store that this process records to, else the environment's.
        serde: how values are written, as an `EncryptedSerializer`; LangGraph's own by default.

    Raises:
        ConfigError: the URL, or a variable of the environment, is malformed.
        UnsupportedByStore: the store keeps no contexts.
    """

    def __init__(self, store: str | JournalStore | None = None, *, serde: SerializerProtocol | None = None) -> None:
        settings, _ = settings_of_process()
        self._own: JournalStore | None = None
        if not settings.context:
            opened: JournalStore = MemoryStore()
        elif isinstance(store, JournalStore):
            opened = store
        else:
            opened = self._own = registry.open_store(store or settings.store)
        if not opened.capabilities.context:
            raise UnsupportedByStore(opened.url, "context")
        super().__init__(Threads(opened, lambda: current_session() or settings.session, _instance_for), serde=serde)

    def close(self) -> None:
        """Close the store, where it was opened here."""
        self._threads.close()
        if self._own is not None:
            self._own.close()


def _instance_for(thread_id: str) -> str | None:
    """Return the instance that a thread is in the session that this process goes on with."""
    one = resumption()
    return None if one is None else one.instance_for("langgraph", thread_id)
