"""A journal of a test's own with a clock that it sets, and a receiver on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal.alerts.file import read_rules
from otel_agent_journal.alerts.receivers import open_receivers
from otel_agent_journal.alerts.rules import Rules
from otel_agent_journal.alerts.watch import Change, Watch
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, FixedClock
from tests.alerts.receiver import LocalReceiver

S = 1_000_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Watched:
    """A journal, the clock that it is watched by, and what its watchers have told."""

    def __init__(self, store: JournalStore, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.clock = FixedClock(EPOCH_2026_NS + 10 * 24 * 3600 * S)
        self.journal = Journal(store, folder / "spool")
        self.journal.clock = self.clock
        self.changes: list[Change] = []
        self.notes: list[str] = []

    def rules(self, text: str) -> Rules:
        """Return the rules of a file with this text."""
        file = self.folder / "alerts.toml"
        file.write_text(text)
        return read_rules(file)

    def watch(self, text: str) -> Watch:
        """Return a watcher by the rules of this text."""
        rules = self.rules(text)
        receivers = open_receivers(rules, {"HOOK_SECRET": SECRET})
        return Watch(self.journal, rules, receivers, told=self.changes.append, note=self.notes.append)

    def keep(self, builder: JournalBuilder, *, head: bool = True) -> JournalBuilder:
        """Write a session as the drain would."""
        self.store.append(builder.events)
        found = current(self.store, builder.session_id)
        assert found is not None
        if head:
            self.store.write_head(found)
        return builder

    def builder(
        self, session_id: str, ago_s: float = 60, *, step_ms: int = 1, writer: str = "a" * 32
    ) -> JournalBuilder:
        """Return the journal of a session that begins so long ago."""
        start = self.clock() - round(ago_s * S)
        ticks = iter(range(start, start + 10**15, step_ms * 1_000_000)).__next__
        return JournalBuilder(session_id, writer=writer, clock=ticks)

    def states(self) -> list[tuple[str, str]]:
        """Return rule and state of what was told, in order, without what came of messages."""
        return [(one.alert.rule, one.alert.state) for one in self.changes if one.outcome is None]

    def history(self) -> list[JournalEvent]:
        """Return the events of alerts, in order."""
        ids = sorted({head.session_id for head in self.store.sessions() if head.session_id.startswith("_alerts-")})
        return [event for one in ids for event in self.store.read(one) if event.type.startswith("ALERT_")]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """An empty journal in memory."""
    store = MemoryStore("memory:")
    yield Watched(store, tmp_path)
    store.close()


@pytest.fixture
def receiver() -> Iterator[LocalReceiver]:
    """A receiver that takes everything."""
    found = LocalReceiver()
    yield found
    found.close()


def hook(receiver: LocalReceiver, more: str = "") -> str:
    """Return the table of a webhook to a receiver, by the name `ops`."""
    return f'[receiver.ops]\nkind = "webhook"\nurl = "{receiver.url}/hook"\nsecret_env = "HOOK_SECRET"\n{more}\n'
