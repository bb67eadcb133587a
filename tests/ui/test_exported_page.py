"""A session as one file: opened from a disk, in a Chromium that may ask for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.server.one_file import write_page
from otel_agent_journal.store.memory import MemoryStore
from tests.server.served import keep
from tests.ui.conftest import OpenPage
from tests.ui.journals import a_session

NAME = "reading/7 <script>alert(1)</script>"


@pytest.fixture
def file(tmp_path: Path, viewer: None) -> Path:
    """A session that failed, exported."""
    store = MemoryStore()
    keep(store, a_session(NAME, 600, fails="KeyError", says="</script><b>bold</b>"))
    journal = Journal(store, tmp_path / "spool")
    file = tmp_path / "session.html"
    with file.open("w", encoding="utf-8") as out:
        write_page(journal, journal.session(NAME), out.write)
    return file


def test_it_opens_offline(file: Path, open_page: OpenPage) -> None:
    """Tree, detail of a step, conversation and events are there; nothing is asked of a network or of the disk."""
    page = open_page("", url=file.as_uri(), offline=True)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    rows = page.locator('[role="treegrid"] [role="row"][data-step-id]')
    expect(rows).to_have_count(5)
    rows.filter(has_text="fetch_page").click()
    expect(page.get_by_text("the archive did not answer").first).to_be_visible()
    page.get_by_role("tab", name="Conversation").click()
    expect(page.get_by_text("let me look").first).to_be_visible()
    page.get_by_role("tablist", name="What is shown").get_by_role("tab", name="Events").click()
    expect(page.get_by_text("TOOL_ERROR").first).to_be_visible()
    assert requests == []
    assert page.locator("b", has_text="bold").count() == 0


def test_a_link_into_it_leads_there(file: Path, open_page: OpenPage) -> None:
    """What is looked at stands behind the # of its address: that opens the same again."""
    page = open_page("", url=file.as_uri(), offline=True)
    page.locator('[role="treegrid"] [role="row"][data-step-id]').filter(has_text="fetch_page").click()
    page.wait_for_function("location.hash.includes('step=')")
    again: Page = open_page("", url=page.url, offline=True)
    expect(again.locator('[role="row"][aria-selected="true"]')).to_contain_text("fetch_page")


def test_its_policy_admits_nothing_else(file: Path) -> None:
    """The page's own policy names its one script and its style by their hashes, and forbids every request."""
    text = file.read_text(encoding="utf-8")
    policy = text.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy
