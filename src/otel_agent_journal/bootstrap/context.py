"""`ContextService`: the context of an agent instance in the store of this process, or in one that is named."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid4

from otel_agent_journal.bootstrap.settings import settings_of_process
from otel_agent_journal.config import Settings
from otel_agent_journal.context.service import Context
from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.pipeline.resuming import resumption
from otel_agent_journal.pipeline.session import current_session
from otel_agent_journal.reading.agents import BY_HAND
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.store import registry
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore

_CONTEXTS: Final = "contexts"  # of a replay, in memory


class ContextService(Context):
    """The messages and the state of an agent, kept as numbered events; see `Context` for what it does.

    With AGENT_JOURNAL_CONTEXT=off it does nothing: nothing is written, there are no messages, the last sequence is -1.

    Args:
        store: a URL, an open store, or None: the store that this process records to, else the environment's.
        instance_id: the agent instance, a UUID or any text; by default a fresh one, which `instance_id` says. Where a
            fork is resumed, the instance of the fork that was made of it.
        session_id: the session of an instance that is not there yet; by default the one that this code runs in, else
            one of the instance's id.
        name: what the agent is called.
        parent_id: the instance that this one works for.

    Raises:
        ConfigError: the URL, or a variable of the environment, is malformed.
        UnsupportedByStore: the store keeps no contexts.
    """

    def __init__(
        self,
        store: str | JournalStore | None = None,
        instance_id: str | UUID | None = None,
        *,
        session_id: str | None = None,
        name: str | None = None,
        parent_id: str | UUID | None = None,
    ) -> None:
        settings, _ = settings_of_process()
        self._off = not settings.context
        replay = replaying()
        if replay is not None:  # which begins where the session did, and writes nothing to it
            store = replay.in_memory.setdefault(_CONTEXTS, MemoryStore())
        self._own = None if isinstance(store, JournalStore) else _opened(None if self._off else store, settings)
        opened = store if isinstance(store, JournalStore) else self._own
        assert opened is not None
        if not self._off and not opened.capabilities.context:
            raise UnsupportedByStore(opened.url, "context")
        session_id = session_id or current_session()
        resumed = resumption()
        found = None
        if resumed is not None and not self._off:
            found = resumed.instance_for(BY_HAND, str(instance_id), or_only=instance_id is None)
        named = found or (uuid4() if instance_id is None else instance_id)
        super().__init__(opened, named, session_id=session_id, name=name, parent_id=parent_id)

    def close(self) -> None:
        """Close the store, where it was opened here."""
        if self._own is not None:
            self._own.close()

    def _refresh(self) -> None:
        if not self._off:
            super()._refresh()

    def _fork(self, new: str, up_to_sequence: int | None, session_id: str) -> None:
        if not self._off:
            super()._fork(new, up_to_sequence, session_id)

    def _write(self, *given: Any, **more: Any) -> int:
        return -1 if self._off else super()._write(*given, **more)


def _opened(store: str | None, settings: Settings) -> JournalStore:
    if not settings.context:
        return MemoryStore()
    return registry.open_store(store or settings.store)


def open_context_store(store: str | JournalStore | None) -> JournalStore | None:
    """Return a store that keeps contexts, opened where it is not open yet; None where contexts are off.

    Raises:
        ConfigError: the URL, or a variable of the environment, is malformed.
        UnsupportedByStore: the store keeps no contexts.
    """
    settings, _ = settings_of_process()
    if not settings.context:
        return None
    opened = store if isinstance(store, JournalStore) else _opened(store, settings)
    if not opened.capabilities.context:
        raise UnsupportedByStore(opened.url, "context")
    return opened
