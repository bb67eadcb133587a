"""A recorder that writes to a list, and what it wrote as events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import Fact, decode_fact, events_of
from otel_agent_journal.pipeline.current import get_recorder, set_recorder
from otel_agent_journal.pipeline.recorder import Recorder


class Written:
    """An appender that keeps what it is given; refuses where it is told to."""

    def __init__(self) -> None:
        self.writer = "w" * 32
        self.payloads: list[bytes] = []
        self.refuse = False

    def append(self, payload: bytes) -> bool:
        """Keep a payload."""
        if self.refuse:
            return False
        self.payloads.append(payload)
        return True

    @property
    def facts(self) -> list[Fact]:
        """What was written, decoded."""
        return [decode_fact(payload) for payload in self.payloads]

    @property
    def events(self) -> list[JournalEvent]:
        """The events of what was written."""
        return [event for fact in self.facts for event in events_of(fact, self.writer)]

    def types(self) -> list[str]:
        """The types of the events."""
        return [event.type for event in self.events]


@pytest.fixture
def written() -> Written:
    """Where a recorder writes to."""
    return Written()


@pytest.fixture
def recorder(written: Written) -> Iterator[Recorder]:
    """The process's recorder."""
    before = get_recorder()
    made = Recorder(written)
    set_recorder(made)
    yield made
    set_recorder(before)
