"""What fires stands above the numbers, whoever watches; what alerts say is text."""

from __future__ import annotations

from playwright.sync_api import expect

from otel_agent_journal.alerts.book import Book
from otel_agent_journal.alerts.state import FIRING, RESOLVED, Alert
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from tests.server.served import TOKEN, served
from tests.ui.conftest import OpenPage
from tests.ui.journals import a_dozen


def an_alert(rule: str, *, state: str = FIRING, severity: str = "warning", **labels: str) -> Alert:
    return Alert(
        rule=rule,
        labels=labels,
        severity=severity,
        summary=f"<b>{rule}</b> holds",
        state=state,
        began_ns=EPOCH_2026_NS,
        changed_ns=EPOCH_2026_NS,
        checked_ns=EPOCH_2026_NS,
    )


def test_what_fires_is_seen_first(open_page: OpenPage) -> None:
    """The three that have fired longest, with what they are about; what is over is not shown."""
    store = a_dozen()
    (session_id, *_) = sorted(head.session_id for head in store.sessions())
    book = Book(store)
    for rule in ("b", "c", "d"):
        assert book.put(an_alert(rule, agent="x"))
    assert book.put(an_alert("a", severity="critical", session_id=session_id))
    assert book.put(an_alert("over", state=RESOLVED))
    with served(store) as server:
        page = open_page(f"/?token={TOKEN}", url=server.base)
        strip = page.get_by_role("region", name="Alerts that fire")
        expect(strip.get_by_role("listitem")).to_have_count(3)
        expect(strip).to_contain_text("<b>a</b> holds")
        expect(strip).to_contain_text("critical")
        expect(strip).to_contain_text("and 1 more")
        expect(strip).not_to_contain_text("over")
        strip.get_by_role("link").click()
        page.wait_for_url(f"**/sessions/{session_id}")
        page.goto("about:blank")  # before the server goes


def test_nothing_is_said_of_no_alerts(open_page: OpenPage) -> None:
    """The place is the numbers'."""
    with served(a_dozen()) as server:
        page = open_page(f"/?token={TOKEN}", url=server.base)
        page.wait_for_selector(".big")
        expect(page.get_by_role("region", name="Alerts that fire")).to_have_count(0)
        page.goto("about:blank")
