"""What arrives while a page is open: rows, text, endings, breaks of the connection."""

from __future__ import annotations

import random
import time

import pytest
from playwright.sync_api import Page, expect

from tests.ui import scenes
from tests.ui.conftest import OpenPage
from tests.ui.stage import Played, Stage
from tests.ui.test_session_page import line


@pytest.fixture
def running(stage: Stage) -> Played:
    """A session that has just begun."""
    now = time.time() * 1000
    session = scenes.session("live", now, steps=1, errors=0)
    return stage.play(session, [scenes.row(1, None, "AGENT", "researcher", now, None)])


@pytest.fixture
def page(running: Played, open_page: OpenPage) -> Page:
    """Its page, connected."""
    page = open_page("/sessions/live")
    line(page, 1).wait_for()
    expect(page.locator("footer")).to_contain_text("live")
    return page


def test_a_step_is_seen_while_it_runs(running: Played, page: Page) -> None:
    """It stands below its parent from its start, which has not ended, and moves nowhere as either ends."""
    expect(page.get_by_role("banner")).to_contain_text("researcher is thinking…")
    now = time.time() * 1000
    running.put(scenes.row(2, 1, "TOOL", "search", now, None))
    expect(line(page, 2)).to_have_attribute("aria-level", "2")
    expect(line(page, 2).get_by_role("img")).to_have_accessible_name("running")
    running.put(scenes.row(2, 1, "TOOL", "search", now, now + 5))
    expect(line(page, 2).get_by_role("img")).to_have_accessible_name("completed")
    running.put(scenes.row(1, None, "AGENT", "researcher", running.rows["k1"].began_ms, now + 9))
    running.become(status="COMPLETED", live=False, doing=None, ended_ms=now + 9)
    expect(page.get_by_role("banner")).to_contain_text("completed")
    assert [one.get_attribute("aria-level") for one in page.locator("[data-step-id]").all()] == ["1", "2"]


def test_streamed_text_has_a_cursor_in_row_and_detail(running: Played, page: Page) -> None:
    """Text grows with a cursor at its end; what is said twice stands once; the cursor goes as the step ends."""
    now = time.time() * 1000
    running.put(scenes.row(2, 1, "MODEL", "claude", now, None))
    line(page, 2).click()
    running.stream("k2", 0, "Spans show ")
    running.stream("k2", 0, "Spans show ")
    running.stream("k2", 6, "show what ended")
    expect(line(page, 2).locator(".tail")).to_have_text("Spans show what ended")
    expect(line(page, 2).locator(".cursor")).to_have_count(1)
    expect(page.locator(".detail .box")).to_have_text("Spans show what ended")
    running.put(scenes.row(2, 1, "MODEL", "claude", now, now + 9, gave="Spans show what ended."))
    expect(page.locator(".cursor")).to_have_count(0)
    expect(line(page, 2)).to_contain_text("Spans show what ended.")


def test_a_killed_agent_is_shown_as_such(running: Played, page: Page) -> None:
    """Where the process was killed the bar is hatched to the last sign of life, and what was streamed stays."""
    now = time.time() * 1000
    text = "I will now compare th"
    running.put(scenes.row(2, 1, "MODEL", "claude", now, None, tail=text))
    expect(line(page, 2).locator(".tail")).to_have_text(text)
    for number, parent, kind in ((1, None, "AGENT"), (2, 1, "MODEL")):
        running.put(
            scenes.row(
                number, parent, kind, "claude", running.rows[f"k{number}"].began_ms, None, status="interrupted",
                reason="killed", seen_ms=now + 900, gave=text,
            )
        )  # fmt: skip
    running.become(status="INTERRUPTED", reason="killed", live=False, doing=None, seen_ms=now + 900)
    expect(line(page, 2)).to_contain_text("killed · last seen")
    assert line(page, 2).locator(".ended-killed").count() == 1
    expect(line(page, 2)).to_contain_text(text)
    expect(page.get_by_role("banner")).to_contain_text("killed · last seen")


def test_nothing_is_lost_or_doubled_by_breaks(running: Played, page: Page) -> None:
    """However often the connection breaks and rows come again, each is there once, as it was last."""
    chance = random.Random(7)
    now = time.time() * 1000
    sent: list[scenes.Row] = []
    for number in range(2, 80):
        row = scenes.row(number, 1, "TOOL", f"tool_{number % 3}", now + number, None)
        sent.append(row)
        running.put(row, *chance.sample(sent, min(3, len(sent))))
        if number % 8 == 0:
            running.cut()
    ended = [scenes.row(n, 1, "TOOL", f"tool_{n % 3}", now + n, now + n + 1) for n in range(2, 80)]
    for row in ended:
        running.put(row)
    running.cut()
    running.become(steps=79)
    running.cut()
    expect(page.get_by_role("button", name="All 79")).to_be_visible()
    expect(page.get_by_role("treegrid")).to_have_attribute("aria-rowcount", "80")
    expect(line(page, 79)).to_be_in_viewport()
    expect(page.locator('.row [aria-label="running"]')).to_have_count(0)


def test_the_page_takes_up_with_a_server_that_began_anew(running: Played, page: Page) -> None:
    """Revisions of another server count from anew: its rows hold, and what it does not know goes."""
    now = time.time() * 1000
    running.put(scenes.row(2, 1, "TOOL", "old", now, None), scenes.row(3, 1, "TOOL", "kept", now + 1, None))
    expect(line(page, 2)).to_be_visible()
    running.at = "2.0"
    del running.rows["k2"]
    running.rows["k3"] = scenes.revised(running.rows["k3"], 0, name="renamed")
    running.say("resync", {"session_id": "live"})
    expect(line(page, 3)).to_contain_text("renamed")
    expect(line(page, 2)).to_have_count(0)


def test_who_reads_above_is_not_torn_away(running: Played, page: Page) -> None:
    """The page follows the newest step until one scrolls up; then a button says how many are new, and goes there."""
    now = time.time() * 1000
    running.put(*(scenes.row(n, 1, "TOOL", f"tool_{n % 3}", now + n, now + n + 1) for n in range(2, 120)))
    expect(line(page, 119)).to_be_in_viewport()
    page.get_by_role("treegrid").hover()
    page.mouse.wheel(0, -10_000)
    expect(line(page, 2)).to_be_in_viewport()
    running.put(*(scenes.row(n, 1, "TOOL", f"tool_{n % 3}", now + n, now + n + 1) for n in range(120, 123)))
    expect(page.get_by_role("button", name="3 new steps")).to_be_visible()
    expect(line(page, 2)).to_be_in_viewport()
    page.get_by_role("button", name="3 new steps").click()
    expect(line(page, 122)).to_be_in_viewport()


def test_paused_nothing_moves(running: Played, page: Page) -> None:
    """Space holds what arrives, says how much that is, and lets it in again."""
    now = time.time() * 1000
    page.keyboard.press("Space")
    running.put(scenes.row(2, 1, "TOOL", "search", now, None))
    expect(page.get_by_role("button", name="Resume · 1 new")).to_be_visible()
    assert line(page, 2).count() == 0
    page.keyboard.press("Space")
    expect(line(page, 2)).to_be_visible()


def test_a_page_that_was_opened_first_shows_the_session_as_it_begins(stage: Stage, open_page: OpenPage) -> None:
    """A link may be opened before the agent's first event; the page waits for it."""
    page = open_page("/sessions/soon")
    expect(page.get_by_role("heading")).to_contain_text("is not in this journal")
    now = time.time() * 1000
    stage.play(scenes.session("soon", now), [scenes.row(1, None, "AGENT", "researcher", now, None)])
    expect(line(page, 1)).to_be_visible()
