"""What the tools need of the process that they run in: the port that `bootstrap` fills."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, Protocol

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.pipeline.session_writer import SessionWriter
from otel_agent_journal.reading.journal import Journal


class NoJournal(StoreUnreachable):
    """There is no journal yet: nothing was ever written."""


class Seen(NamedTuple):
    """What was waited for: the session's status as it was seen, and the event, where there is one."""

    status: str
    reason: str | None
    event: JournalEvent | None


class Rows(NamedTuple):
    """Rows of a query, and whether there are more than were asked for."""

    rows: list[dict[str, Any]]
    more: bool


class Access(Protocol):
    """The journal as the tools reach it. Thread-safe."""

    def own_session(self) -> str | None:
        """Return the session that this code runs in, None outside of any."""
        ...

    def writer(self) -> SessionWriter:
        """Return what journals events here."""
        ...

    def journal(self) -> Journal:
        """Return the journal for reading; it stays open.

        Raises:
            NoJournal: there is none yet.
            StoreError: it cannot be read.
        """
        ...

    def settle(self) -> bool:
        """Have delivered what was recorded here, for a moment; return whether it is known to be in the store."""
        ...

    def wait(self, session_id: str, until: Iterable[str] | None, timeout_s: float, since_ns: int) -> Seen:
        """Wait for an event or a status of a session; see `wait_for`.

        Raises:
            WaitTimeout: it did not come in time.
            StoreError: the store cannot be read.
        """
        ...

    def query(self, sql: str, sessions: Collection[str], *, rows: int, size: int) -> Rows:
        """Return the first rows of a SELECT over these sessions alone, of at most so many bytes.

        Raises:
            JournalError: the SQL is none, would do more than read, or took more than it may.
        """
        ...

    def close(self) -> None:
        """Close what was opened here."""
        ...
