"""That a rule cannot be judged."""

from __future__ import annotations

from otel_agent_journal.errors import JournalError


class Unjudged(JournalError):
    """Whether a rule's alerts hold is not known: its SQL is refused, its time was over, a column is not there.

    `told`: the reason as it may leave the journal; that in the message may hold values of it.
    """

    def __init__(self, message: str, *, told: str | None = None) -> None:
        super().__init__(message)
        self.told = message if told is None else told
