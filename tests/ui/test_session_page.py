"""A session's page in a real Chromium: states, selection, filters, the keyboard, hostile text."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.ui import scenes
from tests.ui.conftest import OpenPage
from tests.ui.stage import Stage


def step(number: int) -> str:
    """The id of a step of the made-up session."""
    return f"{number:032x}"


def line(page: Page, number: int):
    """The line of a step."""
    return page.locator(f'[role="row"][data-step-id="{step(number)}"]')


@pytest.fixture
def research(stage: Stage, open_page: OpenPage) -> Page:
    """The page of a session in which every state occurs."""
    session, rows, tree = scenes.research()
    stage.play(session, rows, **tree)
    page = open_page("/sessions/reading-7")
    line(page, 1).wait_for()
    return page


def test_each_state_is_told_without_its_colour(research: Page) -> None:
    """Icon, name of the icon and the bar's words or pattern differ for each of the seven states."""
    told = {2: "completed", 45: "killed", 46: "lost", 47: "awaiting input", 48: "cancelled", 49: "error", 51: "running"}
    shapes = set()
    for number, state in told.items():
        icon = line(research, number).get_by_role("img")
        expect(icon).to_have_accessible_name(state)
        shapes.add(icon.locator("path").get_attribute("d"))
    assert len(shapes) == len(told)
    expect(line(research, 45)).to_contain_text(re.compile(r"killed · last seen \d\d:\d\d:\d\d"))
    expect(line(research, 46)).to_contain_text("lost · last seen")
    assert line(research, 46).locator(".beyond").count() == 1
    expect(line(research, 49)).to_contain_text("PermissionError: publish is not allowed")
    expect(line(research, 47)).to_contain_text("awaiting input")


def test_a_recovered_failure_stays_and_is_counted_above(research: Page) -> None:
    """A step that failed and was tried again has a bar for each attempt; those above it show a count, and no cross."""
    assert line(research, 14).locator(".bar i").count() == 2
    assert line(research, 14).locator(".bar i.ended-error").count() == 1
    expect(line(research, 9)).to_contain_text("1 ✗")
    expect(line(research, 9).get_by_role("img")).to_have_accessible_name("completed")


def test_repeated_siblings_are_one_line_and_waits_another(research: Page) -> None:
    """27 calls of one name are one line, which shows the one of them that failed; two hours of waiting are one line."""
    expect(research.get_by_text("×28")).to_be_visible()
    assert line(research, 20).count() == 0
    expect(line(research, 14)).to_be_visible()
    expect(research.get_by_text("2 h 04 waiting for a human: «May I read the archive?»")).to_be_visible()


def test_scripts_and_screen_readers_find_the_rows(research: Page) -> None:
    """Rows stand in a treegrid with their level, their number of all, and whether they are open."""
    grid = research.get_by_role("treegrid", name="Steps")
    assert int(grid.get_attribute("aria-rowcount") or 0) > 20
    assert line(research, 14).get_attribute("aria-level") == "6"
    assert line(research, 9).get_attribute("aria-expanded") == "true"
    assert grid.get_by_role("row").first.get_by_role("columnheader").count() == 4


def test_a_link_to_a_step_opens_it(stage: Stage, open_page: OpenPage) -> None:
    """A copied link opens the step in a fresh profile: in sight, selected, its details shown, folds let it out."""
    session, rows = scenes.many(3000)
    stage.play(session, rows)
    page = open_page(f"/sessions/many?step={step(2500)}&detail=raw")
    expect(line(page, 2500)).to_have_attribute("aria-selected", "true")
    expect(line(page, 2500)).to_be_in_viewport()
    expect(page.get_by_role("tab", name="Raw")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("complementary", name="Step")).to_contain_text("#2500")


def test_everything_is_in_the_address(research: Page, open_page: OpenPage) -> None:
    """Filter, basis, zoom, search and step come back with the link; Escape takes the filter away."""
    research.get_by_role("button", name="Errors 2").click()
    research.get_by_role("button", name="tokens", exact=True).click()
    line(research, 49).click()
    research.keyboard.press("z")
    expect(research).to_have_url(re.compile("zoom="))
    other = open_page(research.url.partition("/sessions")[1] + research.url.partition("/sessions")[2])
    expect(other.get_by_role("button", name="Errors 2")).to_have_attribute("aria-pressed", "true")
    expect(other.get_by_role("button", name="tokens", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(line(other, 49)).to_have_attribute("aria-selected", "true")
    assert line(other, 2).count() == 0
    other.keyboard.press("Escape")
    expect(line(other, 2)).to_be_visible()


def test_the_whole_by_keyboard(research: Page) -> None:
    """Nobody needs a mouse: to the rows, along them, to errors, into details, through tabs, to the help and back."""
    page = research
    while "treegrid" not in (page.evaluate("document.activeElement.role ?? ''") or ""):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(line(page, 1)).to_be_focused()
    page.keyboard.press("j")
    expect(line(page, 2)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(line(page, 2)).to_have_attribute("aria-expanded", "false")
    assert line(page, 3).count() == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("e")
    expect(line(page, 14)).to_be_focused()
    page.keyboard.press("]")
    expect(line(page, 15)).to_be_focused()
    page.keyboard.press("e")
    expect(line(page, 49)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Error")).to_be_focused()
    expect(page.get_by_role("tab", name="Input")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Input")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(line(page, 49)).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next, previous error")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("translate")
    expect(line(page, 48)).to_be_visible()
    assert line(page, 2).count() == 0
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.get_by_role("tab", name="Conversation")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("1")
    page.keyboard.press("b")
    expect(page.get_by_role("button", name="tokens", exact=True)).to_have_attribute("aria-pressed", "true")


def test_what_can_be_copied(research: Page) -> None:
    """A link, the command that prints the same, and Markdown."""
    research.context.grant_permissions(["clipboard-read", "clipboard-write"])
    line(research, 49).click()
    copied = "navigator.clipboard.readText()"
    research.keyboard.press("y")
    expect(research.locator(".toast")).to_have_text("Copied the command")
    assert research.evaluate(copied) == "agent-journal show reading-7/49"
    research.keyboard.press("c")
    expect(research.locator(".toast")).to_have_text("Copied the link")
    assert research.evaluate(copied) == research.url
    expect(research.get_by_role("complementary")).to_contain_text("PermissionError")
    research.keyboard.press("m")
    expect(research.locator(".toast")).to_have_text("Copied the step as Markdown")
    assert "## reading-7 · step 49 · tool publish" in research.evaluate(copied)


def test_hostile_text_is_text(stage: Stage, open_page: OpenPage) -> None:
    """HTML stays text, marks that turn text are seen, and an id of anything is one session."""
    evil = '<img src=x onerror="document.title=1">\u202egnp.exe'
    now = 1_800_000_000_000.0
    rows = [scenes.row(1, None, "TOOL", evil, now, now + 5, given=evil, gave=evil, error=evil, errors=1)]
    name = "a/../b?<b>#%2e\u202e" + "x" * 100
    session = scenes.session(name, now, status="ERROR", live=False, ended_ms=now + 5, updated_ms=now + 5, agent=evil)
    played = stage.play(session, rows)
    played.messages = [{"role": "user", "content": evil, "timestamp": "2026-12-02T00:00:00Z"}]
    page = open_page("/")
    page.get_by_role("link").filter(has_text="a/../b").click()
    line(page, 1).click()
    expect(line(page, 1)).to_contain_text('<img src=x onerror="document.title=1">⟨U+202E⟩gnp.exe')
    page.get_by_role("tab", name="Input").click()
    expect(page.locator(".body")).to_contain_text("<img src=x")
    page.keyboard.press("2")
    expect(page.get_by_role("log")).to_contain_text("⟨U+202E⟩gnp.exe")
    assert page.locator("img:not([role])").count() == 0
    assert "a/../b" in page.title()


def test_unknown_is_never_nothing(stage: Stage, open_page: OpenPage) -> None:
    """A call without a price makes the session unpriced, not free; tokens that nobody told are a dash."""
    now = 1_800_000_000_000.0
    session = scenes.session(
        "unpriced", now, status="COMPLETED", live=False, cost_usd=None, unpriced_calls=2, input_tokens=None,
        output_tokens=None, errors=1, ended_ms=now + 5,
    )  # fmt: skip
    stage.play(session, [scenes.row(1, None, "MODEL", "unknown-model", now, now + 5)])
    page = open_page("/sessions/unpriced")
    facts = page.locator(".facts")
    expect(facts).to_contain_text("unpriced")
    expect(facts).to_contain_text("— tokens")
    expect(facts).to_contain_text("1 error")
    assert "$0" not in facts.inner_text()


def test_a_session_that_has_ended_is_played_again(stage: Stage, open_page: OpenPage) -> None:
    """Space plays a session from its start; the slider stands for a moment, at which later steps are not there."""
    session, rows = scenes.many(400)
    stage.play(session, rows)
    page = open_page("/sessions/many?at=500")
    line(page, 1).wait_for()
    grid = page.get_by_role("treegrid")
    before = grid.get_attribute("aria-rowcount") or ""
    assert int(before) < 80
    expect(line(page, 1).get_by_role("img")).to_have_accessible_name("running")
    page.keyboard.press("Space")
    expect(grid).not_to_have_attribute("aria-rowcount", before)
    page.keyboard.press("Space")
    expect(page.get_by_role("slider", name="Moment of the session")).to_be_visible()


def test_a_session_that_is_not_there_says_so(open_page: OpenPage) -> None:
    """It says what, why and what next."""
    page = open_page("/sessions/none")
    expect(page.get_by_role("heading")).to_have_text("The session none is not in this journal")
    expect(page.get_by_role("alert")).to_contain_text("agent-journal ls")
