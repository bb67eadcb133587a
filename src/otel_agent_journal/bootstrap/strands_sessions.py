"""A Strands session in the store of this process, or in one that is named: its manager, and what others stand on."""

from __future__ import annotations

from otel_agent_journal.bootstrap.context import open_context_store
from otel_agent_journal.errors import MissingExtra
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore

try:
    from otel_agent_journal.frameworks.strands.repository import StrandsRepository
    from otel_agent_journal.frameworks.strands.sessions import StrandsSessions
    from otel_agent_journal.frameworks.strands.storage import StrandsStorage
except ImportError as error:
    raise MissingExtra(
        "Strands, whose session manager JournalSessionManager is,", "otel-agent-journal[strands]"
    ) from error


class JournalSessionManager(StrandsSessions):
    """A Strands session manager that keeps agents, graphs and swarms in the journal.

    `Agent(session_manager=JournalSessionManager("s1"))` brings an agent back as it was: messages, state, interrupts,
    conversation manager, system prompt. With AGENT_JOURNAL_CONTEXT=off it does nothing.

    Args:
        session_id: the session, as Strands knows it.
        store: a URL, an open store, or None: the store that this process records to, else the environment's.

    Raises:
        ConfigError: the URL, or a variable of the environment, is malformed.
        UnsupportedByStore: the store keeps no contexts.
    """

    def __init__(self, session_id: str, store: str | JournalStore | None = None) -> None:
        opened = open_context_store(store)
        self._own = None if opened is store else opened
        super().__init__(session_id, opened)

    def close(self) -> None:
        """Let go of the session, and close the store where it was opened here."""
        super().close()
        if self._own is not None:
            self._own.close()


class JournalSessionRepository(StrandsRepository):
    """A Strands session repository in the journal, for `RepositorySessionManager` and managers of one's own.

    Args:
        store: a URL, an open store, or None: the store that this process records to, else the environment's.

    Raises:
        ConfigError: the URL, or a variable of the environment, is malformed.
        UnsupportedByStore: the store keeps no contexts.
    """

    def __init__(self, store: str | JournalStore | None = None) -> None:
        super().__init__(open_context_store(store) or MemoryStore())


class JournalStorage(StrandsStorage):
    """A Strands storage in the journal, for `SnapshotSessionManager` and other parts of Strands that keep bytes.

    Args:
        session_id: the session of the journal that its values go with.
        store: a URL, an open store, or None: the store that this process records to, else the environment's.

    Raises:
        ConfigError: the URL, or a variable of the environment, is malformed.
        UnsupportedByStore: the store keeps no contexts.
    """

    def __init__(self, session_id: str, store: str | JournalStore | None = None) -> None:
        super().__init__(session_id, open_context_store(store) or MemoryStore())
