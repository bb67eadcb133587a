"""What a process says of itself, once in each session that it writes to: with the first event that it writes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.event import PROCESS
from otel_agent_journal.mapping.facts import Fact
from otel_agent_journal.pipeline.content import ContentEncoder

_MAX_RECENT: Final = 20_000  # sessions that are remembered at least; one that rested for more may be told again


class Introductions:
    """Knows to which sessions this process is introduced. Safe from any thread.

    Args:
        tell: returns what is known of this process, or nothing; called once a session.
        encoder: what is to become of content.
    """

    def __init__(self, tell: Callable[[], Mapping[str, Any]], encoder: ContentEncoder) -> None:
        self.recent: dict[str, object] = {}
        self._older: dict[str, object] = {}
        self._tell = tell
        self._encoder = encoder

    def with_fact(self, session_id: str, fact: Fact) -> Fact:
        """Return a fact that is about to be written, with what this process says of itself if it is the first there."""
        if "details" not in fact.__struct_fields__:
            return fact
        mine: object = object()
        if self.recent.setdefault(session_id, mine) is not mine:  # one call: another thread may be about to do it
            return fact
        known = session_id in self._older
        if len(self.recent) >= _MAX_RECENT:
            self._older, self.recent = self.recent, {}
        told = None if known else dict(self._tell())
        if not told:
            return fact
        details: Mapping[str, Any] = cast("Any", fact).details
        return msgspec.structs.replace(fact, details={**details, PROCESS: self._encoder.process(told)})
