"""Two sessions compared, in a real Chromium on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from otel_agent_journal.event import Usage
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import JournalBuilder
from tests.server.served import TOKEN, Served, keep, served
from tests.ui.conftest import OpenPage


def a_run(session_id: str, topic: str, answer: str) -> JournalBuilder:
    """An agent and seven tools that are the same, a tool that is given a topic, and a model that answers."""
    journal = JournalBuilder(session_id)
    root = journal.start("AGENT", "researcher", details={"input": "question"})
    for number in range(7):
        journal.end(journal.start("TOOL", f"look_{number}", parent=root), details={"output": "same"})
    call = journal.start("TOOL", "fetch", parent=root, details={"input": {"topic": topic, "limit": 3}})
    journal.end(call, details={"output": f"pages about {topic}"})
    model = journal.start("MODEL", "claude", parent=root)
    journal.end(model, usage=Usage(input_tokens=len(answer), output_tokens=1), details={"output": answer})
    journal.end(root)
    return journal


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    store = MemoryStore()
    for builder in (
        a_run("one", "spans", "short"),
        a_run("two", "spools", "a longer answer"),
        a_run("same", "spans", "short"),
    ):
        keep(store, builder.events)
    with served(store) as found:
        yield found


@pytest.fixture
def page(server: Served, open_page: OpenPage) -> Page:
    found = open_page(f"/?token={TOKEN}", url=server.base)
    found.wait_for_selector(".big")
    return found


def test_the_first_difference_is_selected_and_what_is_the_same_folded(server: Served, page: Page) -> None:
    """It opens at the first step that differs, says what does, field by field, and folds what both have alike."""
    page.goto(f"{server.base}/compare?a=one&b=two")
    expect(page.get_by_text("8 identical steps")).to_be_visible()
    selected = page.get_by_role("row", selected=True)
    expect(selected).to_contain_text("fetch")
    detail = page.get_by_role("region", name="What differs")
    expect(detail.get_by_role("heading", name="input/topic")).to_be_visible()
    expect(detail.locator(".in-a del").first).to_have_text("an")
    expect(detail.locator(".in-b ins").first).to_have_text("ool")


def test_a_comparison_is_whole_by_keyboard(server: Served, page: Page) -> None:
    """n goes to the next difference, arrows from pair to pair, Enter opens a fold; the address says where one is."""
    page.goto(f"{server.base}/compare?a=one&b=two")
    page.get_by_role("row", selected=True).focus()
    page.keyboard.press("n")
    expect(page.get_by_role("row", selected=True)).to_contain_text("claude")
    assert re.search(r"at=\d+", page.url)
    page.keyboard.press("Home")
    expect(page.get_by_role("row", name="8 identical steps")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("look_5")).to_be_visible()


def test_sessions_that_are_the_same_say_so(server: Served, page: Page) -> None:
    """Two sessions without a difference say that there is none."""
    page.goto(f"{server.base}/compare?a=one&b=same")
    expect(page.get_by_text("no difference")).to_be_visible()


def test_a_session_that_is_not_there_is_named(server: Served, page: Page) -> None:
    """A comparison with a session that is not there says which, and what to do."""
    page.goto(f"{server.base}/compare?a=one&b=nowhere")
    expect(page.get_by_text("nowhere")).to_be_visible()
