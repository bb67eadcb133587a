"""The bound: an alert is with its receiver within `every` and a second of the event being in the store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from otel_agent_journal.alerts.file import read_rules
from otel_agent_journal.alerts.receivers import open_receivers
from otel_agent_journal.alerts.watch import Watch
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.builders import JournalBuilder
from tests.alerts.conftest import SECRET, hook
from tests.alerts.receiver import LocalReceiver
from tests.clock import by_the_clock, in_time

EVERY_S = 1.0
IN_A_ROW = 3


@by_the_clock
@pytest.mark.serial
@pytest.mark.parametrize(
    "rule",
    [
        'kind = "error_rate"\nby = "agent"\nat_least = 1',
        "sql = \"SELECT name FROM events WHERE timestamp >= ago(INTERVAL 1 hour) AND outcome = 'error'\"",
    ],
    ids=["built-in", "sql"],
)
def test_an_alert_comes_in_time(tmp_path: Path, receiver: LocalReceiver, rule: str) -> None:
    """With a file of SQLite and a receiver over HTTP it comes within `every` and a second, at any point of a round."""
    if "sql" in rule:
        pytest.importorskip("duckdb")
    url = f"sqlite:///{tmp_path}/journal.db"
    writer = open_store(url)
    writer.append(JournalBuilder("earlier").events or [JournalBuilder("earlier").record("NOTE")])
    file = tmp_path / "alerts.toml"
    file.write_text(f'[[alert]]\nname = "r"\nevery = "{EVERY_S:g}s"\n{rule}\nsend = "ops"\n{hook(receiver)}')
    rules = read_rules(file)
    ready, watches = threading.Event(), list[Watch]()

    def work() -> None:
        store = open_store(url, create=False)
        watch = Watch(Journal(store, tmp_path / "spool"), rules, open_receivers(rules, {"HOOK_SECRET": SECRET}))
        watch.step()  # what it imports is imported once
        watches.append(watch)
        ready.set()
        watch.run()
        store.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(60)
        took: list[float] = []
        for number in range(9):  # a machine that is busy for a moment may be late
            builder = JournalBuilder(f"s{number}", clock=time.time_ns)
            builder.end(builder.start("AGENT", f"agent-{number}"), "error")
            writer.append(builder.events)
            began_s = time.monotonic()
            took.append(receiver.wait(number + 1)[number].at_s - began_s)
            if len(took) >= IN_A_ROW and max(took[-IN_A_ROW:]) <= EVERY_S + 1:
                break
            time.sleep(0.3 * (number % 3 + 1))  # another point of the round
    finally:
        for watch in watches:
            watch.stop()
        thread.join(60)
        writer.close()
    assert not thread.is_alive()
    in_time(max(took[-IN_A_ROW:]), EVERY_S + 1)
