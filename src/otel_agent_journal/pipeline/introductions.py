"""WRITER_STARTED: what a process says of itself, once in each session that it writes to, before anything else there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_agent_journal.event import WRITER_STARTED, time_ordered_id
from otel_agent_journal.mapping.facts import SessionNoted
from otel_agent_journal.pipeline.clock import RandomIds
from otel_agent_journal.pipeline.content import ContentEncoder

_MAX_RECENT: Final = 20_000  # sessions that are remembered at least; one that rested for more may be told again


class Introductions:
    """Knows to which sessions this process is introduced. Safe from any thread.

    Args:
        tell: returns what is known of this process, or nothing; called once a session.
        encoder: what is to become of content.
        ids: of the events.
    """

    def __init__(self, tell: Callable[[], Mapping[str, Any]], encoder: ContentEncoder, ids: RandomIds) -> None:
        self.recent: dict[str, object] = {}
        self._older: dict[str, object] = {}
        self._tell = tell
        self._encoder = encoder
        self._ids = ids

    def before(self, session_id: str, fact: Any) -> SessionNoted | None:
        """Return what is to be written before a fact; None where the session has it."""
        mine: object = object()
        if self.recent.setdefault(session_id, mine) is not mine:  # one call: another thread may be about to do it
            return None
        known = session_id in self._older
        if len(self.recent) >= _MAX_RECENT:
            self._older, self.recent = self.recent, {}
        if known:
            return None
        at_ns: int = next(found for name in _TIMES if (found := getattr(fact, name, None)) is not None)
        told = dict(self._tell())
        if not told:
            return None
        details = self._encoder.details(told, WRITER_STARTED)
        return SessionNoted(
            session_id,
            time_ordered_id(at_ns, self._ids.bytes16()),
            WRITER_STARTED,
            "INFO",
            at_ns,
            details=details,
        )


_TIMES: Final = ("timestamp_ns", "end_ns", "start_ns")
