"""Which sessions an agent may read and write: its own and its lineage, above and below, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final

from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.rules import current

MAX_LINEAGE: Final = 100  # sessions


class Scope:
    """What lies within an agent's reach.

    Args:
        own: returns the agent's own session, None where it is in none.
        allow: names of more sessions, or patterns of them, as `team-*`; `*` is all.
    """

    def __init__(self, own: Callable[[], str | None], allow: Iterable[str] = ()) -> None:
        self._own = own
        self.allow = tuple(allow)

    @property
    def own(self) -> str | None:
        """The agent's own session."""
        return self._own()

    def named(self, session_id: str | None) -> str | None:
        """Return the session that is meant: the agent's own, where none is named."""
        return session_id or self._own()

    def permits(self, store: Callable[[], JournalStore], session_id: str) -> bool:
        """Tell whether a session is within reach. `store` is asked only where its name does not tell."""
        own = self._own()
        if session_id == own or any(fnmatchcase(session_id, pattern) for pattern in self.allow):
            return True
        return own is not None and session_id in lineage_of(store(), own)

    def refusal(self, session_id: str) -> str:
        """Return why a session is out of reach, and what would bring it there."""
        own = self._own()
        mine = "this code runs in no session" if own is None else f"yours is {own}, with its lineage"
        return (
            f"session {session_id} is out of your reach: {mine}; whoever set up these tools may allow more"
            " (allow=, --allow, AGENT_JOURNAL_TOOLS_ALLOW)"
        )


def lineage_of(store: JournalStore, session_id: str) -> dict[str, None]:
    """Return a session, those that it was forked from, and the forks of it and of these forks, at most 100, it first.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    found: dict[str, None] = {session_id: None}
    head = current(store, session_id)
    above = head
    while above is not None and above.forked_from and above.forked_from not in found and len(found) < MAX_LINEAGE:
        found[above.forked_from] = None
        above = current(store, above.forked_from)
    waiting = _forks(head)
    while waiting and len(found) < MAX_LINEAGE:
        one = waiting.pop(0)
        if one not in found:
            found[one] = None
            waiting += _forks(current(store, one))
    return found


def _forks(head: SessionHead | None) -> list[str]:
    return [] if head is None else list(head.forks)
