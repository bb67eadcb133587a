"""Alerts on every store's real server: several watchers, as it is and where calls fail."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from otel_agent_journal.alerts.book import Book, firing
from otel_agent_journal.alerts.file import read_rules
from otel_agent_journal.alerts.message import Message
from otel_agent_journal.alerts.rules import Rules
from otel_agent_journal.alerts.watch import Watch
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, FixedClock
from otel_agent_journal.webhooks import NotSent
from tests.real.backends import Backend
from tests.real.fault_proxy import AtRandom

S = 1_000_000_000
AGENTS = 2
WATCHERS = 3
RULE = """
[[alert]]
name = "fails"
kind = "error_rate"
by = "agent"
at_least = 1
send = ["ops"]

[receiver.ops]
kind = "webhook"
url = "http://127.0.0.1:9"
unsigned = true
"""


class Taking:
    """A receiver that takes messages, and fails now and then."""

    shown = "here"

    def __init__(self, *, fails: int = 0) -> None:
        self.taken: list[Message] = []
        self._fails = fails

    def send(self, message: Message) -> None:
        if self._fails:
            self._fails -= 1
            raise NotSent("not now")
        self.taken.append(message)


def rules(folder: Path) -> Rules:
    (folder / "alerts.toml").write_text(RULE)
    return read_rules(folder / "alerts.toml")


def failing(store: JournalStore) -> None:
    """Write a session of each agent that fails."""
    for number in range(AGENTS):
        builder = JournalBuilder(f"s{number}")
        builder.end(builder.start("AGENT", f"agent-{number}"), "error")
        store.append(builder.events)


def watcher(store: JournalStore, folder: Path, clock: FixedClock, receiver: Taking) -> Watch:
    journal = Journal(store, folder / "spool")
    journal.clock = clock
    return Watch(journal, rules(folder), {"ops": receiver})


def told(receiver: Taking) -> Counter[tuple[str, str]]:
    return Counter((one.state, one.labels["agent"]) for one in receiver.taken)


EACH = {(state, f"agent-{number}"): 1 for state in ("firing", "resolved") for number in range(AGENTS)}


@pytest.mark.timeout(120)
def test_watchers_at_once_tell_each_change_once(backend: Backend, tmp_path: Path) -> None:
    """Of several watchers at the same moment one moves each alert on, and one sends it; nothing is left behind."""
    clock, receiver, url = FixedClock(EPOCH_2026_NS + 60 * S), Taking(), backend.fresh()
    stores = [open_store(url) for _ in range(WATCHERS)]
    failing(stores[0])
    watches = [watcher(store, tmp_path, clock, receiver) for store in stores]
    with ThreadPoolExecutor(WATCHERS) as pool:
        for later_s in (0, 60, 3700, 60):
            clock.advance(later_s * S)
            list(pool.map(Watch.check, watches))
    assert told(receiver) == EACH
    assert Book(stores[0]).alerts() == {}
    events = [one for one in stores[0].read("_alerts-2026-01-01") if one.type.startswith("ALERT_")]
    assert Counter(one.type for one in events) == {"ALERT_FIRING": AGENTS, "ALERT_RESOLVED": AGENTS}
    for store in stores:
        store.close()


@pytest.mark.timeout(240)
def test_calls_that_fail_lose_no_message(backend: Backend, tmp_path: Path) -> None:
    """Where calls of the store fail, and the receiver too, each change is told and in history, under one id each."""
    clock, receiver, url = FixedClock(EPOCH_2026_NS + 60 * S), Taking(fails=4), backend.fresh()
    with backend.opened(url) as direct:
        failing(direct)
        with backend.proxy(AtRandom(0.05, seed=3), silence_s=0.02, slow_s=0.01) as proxy:
            stores = [open_store(backend.through(url, proxy)) for _ in range(2)]
            watches = [watcher(store, tmp_path, clock, receiver) for store in stores]

            def rounds(until: set[tuple[str, str]]) -> None:
                for _ in range(60):
                    for watch in watches:
                        with suppress(StoreUnreachable):
                            watch.check()
                    if until <= told(receiver).keys():
                        return
                    clock.advance(10 * S)

            fires = {("firing", f"agent-{number}") for number in range(AGENTS)}
            rounds(fires)
            assert fires <= told(receiver).keys()
            clock.advance(3700 * S)
            rounds(set(EACH))
            for store in stores:
                store.close()
        assert told(receiver).keys() == EACH.keys()
        ids = {(one.state, one.labels["agent"], one.message_id) for one in receiver.taken}
        assert len(ids) == len(EACH)
        clock.advance(120 * S)
        watcher(direct, tmp_path, clock, receiver).check()
        assert firing(direct) == []
        assert Book(direct).alerts() == {}
        events = [one for one in direct.read("_alerts-2026-01-01") if one.type.startswith("ALERT_")]
        assert Counter(one.type for one in events) == {"ALERT_FIRING": AGENTS, "ALERT_RESOLVED": AGENTS}
