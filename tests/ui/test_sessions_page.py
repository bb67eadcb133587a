"""The list of sessions and its panels, in a real Chromium on a real server."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from otel_agent_journal.query import query
from otel_agent_journal.store.memory import MemoryStore
from scripts import build_ui
from tests.server.served import TOKEN, Served, keep, served
from tests.ui.conftest import OpenPage
from tests.ui.journals import a_dozen, a_session

OpenList = Callable[..., Page]


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return a_dozen()


@pytest.fixture(scope="module")
def server(store: MemoryStore) -> Iterator[Served]:
    with served(store) as one:
        yield one


@pytest.fixture
def open_list(server: Served, open_page: OpenPage) -> OpenList:
    """Opens a page of the server's, with its token, and waits for its numbers."""

    def opened(path: str = "/", **settings: object) -> Page:
        page = open_page(f"/?token={TOKEN}", url=server.base, **settings)
        page.wait_for_selector(".big")
        if path != "/":
            page.goto(server.base + path)
            page.wait_for_selector(".big, .tables table, .timeline table")
        return page

    return opened


def lines(page: Page):
    return page.get_by_role("grid").locator("[data-session-id]")


def asked(page: Page) -> dict[str, list[str]]:
    """What the address asks for."""
    return parse_qs(urlsplit(page.url).query)


def panel(page: Page, name: str):
    return page.get_by_role("region", name=name)


def test_the_pages_about_many_sessions_are_small(viewer: None, open_page: OpenPage, server: Served) -> None:
    """They take 40 KB of JavaScript beside a session's page, packed by gzip, and only where one of them is opened."""
    assert len(gzip.compress((build_ui.STATIC / "lists.js").read_bytes(), 9)) <= 40 * 1024
    page = open_page(f"/sessions/reading-0?token={TOKEN}", url=server.base)
    page.wait_for_selector('[role="treegrid"] [role="row"]')
    loaded = page.evaluate("performance.getEntriesByType('resource').map(one => one.name.split('/').pop())")
    assert "app.js" in loaded
    assert "lists.js" not in loaded


def test_every_number_leads_to_what_it_counts(open_list: OpenList) -> None:
    """A number's link shows as many sessions as it says: of all, of a state, of a cause, of a tool, of an agent."""
    page = open_list()
    expect(lines(page)).to_have_count(12)
    page.locator(".big a", has_text="failed").click()
    expect(lines(page)).to_have_count(3)
    page.get_by_role("link", name=re.compile(r"^All \d")).click()
    cause = panel(page, "Errors by cause").locator("tr", has_text="TimeoutError")
    assert cause.locator("td").nth(2).inner_text() == "2"
    cause.get_by_role("link").first.click()
    expect(lines(page)).to_have_count(2)
    page.get_by_role("button", name=re.compile("Without error")).click()
    expect(lines(page)).to_have_count(12)
    panel(page, "Slowest tools").get_by_role("link", name="run_code").click()
    expect(lines(page)).to_have_count(1)
    page.goto(page.url.split("?")[0] + "agents")
    page.locator("tr", has_text="support").get_by_role("link", name="6").click()
    expect(lines(page)).to_have_count(6)


def test_what_is_typed_is_asked_for(open_list: OpenList) -> None:
    """The search box takes names, states, costs and text; the address says them, and a new page shows the same."""
    page = open_list()
    page.keyboard.press("/")
    page.keyboard.type('user:"bo b" tag:vip cost>0.05 status:completed')
    page.keyboard.press("Enter")
    expect(lines(page)).to_have_count(2)
    found = asked(page)
    assert found == {"user": ["bo b"], "tag": ["vip"], "min_cost": ["0.05"], "status": ["COMPLETED"]}
    page.reload()
    expect(lines(page)).to_have_count(2)
    expect(page.get_by_role("searchbox")).to_have_value('user:"bo b" status:completed tag:vip cost>0.05')
    page.get_by_role("searchbox").fill("reading-11")
    page.keyboard.press("Enter")
    expect(lines(page)).to_have_count(1)
    page.get_by_role("searchbox").fill("no such session")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Show all sessions").click()
    expect(lines(page)).to_have_count(12)


def test_the_list_is_whole_by_keyboard(open_list: OpenList) -> None:
    """Arrows, Home and End move, x picks two sessions to compare, Enter opens one, and going back is where one was."""
    page = open_list()
    lines(page).first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    expect(lines(page).nth(2)).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("End")
    page.keyboard.press("x")
    page.get_by_role("button", name="Compare").press("Enter")
    page.wait_for_selector(".pair")
    assert sorted(asked(page)) == ["a", "at", "b"] or sorted(asked(page)) == ["a", "b"]
    page.go_back()
    lines(page).first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/sessions/reading-0"))


def test_what_runs_says_so_and_what_begins_appears(open_page: OpenPage) -> None:
    """A session that runs says what it does; one that begins is in the list at once, and the numbers follow."""
    store = MemoryStore()
    keep(store, a_session("first", 30))
    with served(store) as server:
        page = open_page(f"/?token={TOKEN}", url=server.base)
        expect(lines(page)).to_have_count(1)
        page.wait_for_timeout(500)
        events = a_session("second", 1, runs=True)
        keep(store, events)
        row = page.locator('[data-session-id="second"]')
        expect(row).to_contain_text("researcher is thinking…")
        expect(row.get_by_role("img", name="running")).to_be_visible()
        expect(page.locator(".big a", has_text="sessions").locator("b")).to_have_text("2", timeout=20_000)
        page.close()


def test_the_timeline_zooms_by_keyboard_and_by_drag(open_list: OpenList) -> None:
    """Arrows mark a time and say what is in it, Enter zooms there, Escape shows all again; so does dragging."""
    page = open_list()
    plot = page.get_by_role("group", name=re.compile("Events by type"))
    plot.focus()
    page.keyboard.press("End")
    page.keyboard.press("Shift+Home")
    expect(plot.get_by_role("status")).to_contain_text("TOOL_END")
    page.keyboard.press("End")
    page.keyboard.press("Shift+ArrowLeft")  # what began last may be in the part before the last
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("Without time"))).to_be_visible()
    expect(lines(page)).not_to_have_count(12)
    expect(lines(page).first).to_be_visible()
    plot.focus()
    page.keyboard.press("Escape")
    expect(lines(page)).to_have_count(12)
    box = page.locator(".plot canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 40, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name=re.compile("Without time"))).to_be_visible()
    assert "from" in asked(page)


def test_the_timeline_has_a_table(open_list: OpenList) -> None:
    """Each event is a row of a table, of all types or of one, and leads to its step."""
    page = open_list("/?view=events&type=TOOL_ERROR")
    rows = page.locator(".timeline tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("KeyError: the archive did not answer")
    rows.first.get_by_role("link", name=re.compile("reading-")).click()
    page.wait_for_url(re.compile(r"/sessions/reading-\d\?step="))


def test_the_copied_sql_makes_the_number(open_list: OpenList, store: MemoryStore) -> None:
    """What a panel copies is SQL that makes its numbers of the same journal."""
    page = open_list("/tools")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel(page, "Tools").get_by_role("button", name="copy SQL").click()
    expect(page.locator(".toast")).to_have_text("Copied the SQL")
    sql = page.evaluate("navigator.clipboard.readText()")
    with query(store, sql) as result:
        found = {row[0]: row[1] for row in result}
    shown = {
        row.locator("td").nth(0).inner_text(): int(row.locator("td").nth(1).inner_text())
        for row in panel(page, "Tools").locator("tbody tr").all()
    }
    assert shown == found


def test_the_list_is_of_the_time_that_the_numbers_are_of(open_page: OpenPage) -> None:
    """Where nobody chose a time, list and numbers are of the last day that has a session; another one is a choice."""
    store = MemoryStore()
    keep(store, a_session("of today", 60))
    keep(store, a_session("of this week", 3 * 86_400))
    with served(store) as server:
        page = open_page(f"/?token={TOKEN}", url=server.base)
        expect(page.locator(".big a", has_text="session").locator("b")).to_have_text("1")
        expect(lines(page)).to_have_count(1)
        page.get_by_role("combobox", name="Time").select_option("7d")
        expect(lines(page)).to_have_count(2)
        expect(page.locator(".big a", has_text="session").locator("b")).to_have_text("2")
        page.close()


def test_an_empty_journal_says_what_to_type(open_page: OpenPage) -> None:
    """A journal without sessions shows the commands that make one, and takes the first in by itself."""
    store = MemoryStore()
    with served(store) as server:
        page = open_page(f"/?token={TOKEN}", url=server.base)
        expect(page.get_by_text("agent-journal run -- python my_agent.py")).to_be_visible()
        page.wait_for_timeout(500)
        keep(store, a_session("first", 1))
        expect(lines(page)).to_have_count(1)
        page.close()


def test_text_of_others_is_text(open_page: OpenPage) -> None:
    """HTML, marks that turn the direction of text and ids with slashes stand there as they are, and run nothing."""
    store = MemoryStore()
    name = "a/../b?c=d&e#f%2F<img src=x onerror=alert(1)>"
    keep(store, a_session(name, 60, agent="<b>bold</b>", tags=("<script>alert(1)</script>",), says="x\u202eevil"))
    with served(store) as server:
        page = open_page(f"/?token={TOKEN}", url=server.base)
        expect(lines(page)).to_contain_text("<b>bold</b>")
        assert page.locator(".roster img, .roster b").count() == 0
        assert "\u202e" not in page.locator(".roster").inner_text()
        lines(page).get_by_role("link").click()
        page.wait_for_selector('[role="treegrid"] [role="row"]')
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        page.close()


def test_a_long_list_is_windowed(open_page: OpenPage) -> None:
    """Of a long list the lines in sight are drawn alone, and pages are read as one scrolls; numbers count all."""
    store = MemoryStore()
    keep(store, [event for number in range(700) for event in a_session(f"s-{number:04}", 60 + number, runs=True)])
    with served(store) as server:
        page = open_page(f"/?token={TOKEN}", url=server.base)
        page.wait_for_selector(".big")
        lines(page).first.focus()
        last = page.locator('[data-session-id="s-0699"]')
        for _ in range(200):
            page.keyboard.press("End")
            page.wait_for_timeout(200)
            if last.count():
                break
        expect(last).to_be_focused()
        assert page.evaluate("document.querySelectorAll('*').length") < 1500
        expect(page.locator(".big a", has_text="sessions").locator("b")).to_have_text("700")
        page.close()
