"""From an append to the row on the screen: SQLite, the real server, a real browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import SteppingClock
from tests.server.served import TOKEN, keep, served
from tests.ui.conftest import OpenPage

WATCH = """() => {
    window.seen = {};
    new MutationObserver(() => {
        for (const row of document.querySelectorAll('[data-step-id]')) {
            const at = performance.timeOrigin + performance.now();
            window.seen[row.querySelector('.label').textContent] ??= at;
        }
    }).observe(document.body, {childList: true, subtree: true});
}"""


@pytest.mark.serial
def test_an_append_is_on_the_screen(tmp_path: Path, open_page: OpenPage) -> None:
    """95 of 100 rows stand on the screen within 400 ms of their append."""
    store = SqliteStore(tmp_path / "journal.db")
    journal = JournalBuilder("fast", writer="w", clock=SteppingClock(time.time_ns(), step_ns=1_000_000))
    root = journal.start("AGENT", "researcher")
    keep(store, journal.events)
    with served(store) as server:
        page = open_page(f"/sessions/fast?token={TOKEN}", url=server.base)
        expect(page.locator("[data-step-id]")).to_have_count(1)
        page.evaluate(WATCH)
        appended: dict[str, float] = {}
        for number in range(40):
            before = len(journal.events)
            journal.start("TOOL", f"tool {number}", parent=root)
            store.append(journal.events[before:])
            appended[f"tool {number}"] = time.time() * 1000
            time.sleep(0.06)
        expect(page.get_by_role("button", name="All 41")).to_be_visible()
        seen = page.evaluate("window.seen")
    store.close()
    taken = sorted(seen[name] - at for name, at in appended.items() if name in seen)
    assert len(taken) == 40
    assert taken[37] <= 400, [round(one) for one in taken]
