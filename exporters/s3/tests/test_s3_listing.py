"""What a listing of sessions costs: of the latest few, a page of a few."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from exporters.s3.tests.wire import Send, Wire
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.testing.builders import a_head
from otel_agent_journal_s3 import S3Store

SLOT_NS = 10 * 10**9


def test_the_latest_few_cost_a_page_of_a_few(store: S3Store, wire: Wire) -> None:
    """To list the latest ones of many sessions a few places are asked for, and the heads of these alone."""
    for number in range(60):
        store.write_head(a_head(f"s{number}", updated_ns=number * SLOT_NS, status="COMPLETED", open_writers=()))
    pages: list[int] = []

    def looked(request: Any, send: Send) -> Any:
        if "list-type" in request.url:
            pages.append(int(parse_qs(urlsplit(request.url).query)["max-keys"][0]))
        return send(request)

    wire.fault = looked
    wire.requests.clear()
    assert [head.session_id for head in store.sessions(SessionFilter(limit=1))] == ["s59"]
    assert (pages, wire.requests["GET"]) == ([21], 1)
    pages.clear()
    latest = [f"s{number}" for number in reversed(range(20, 60))]
    assert [head.session_id for head in store.sessions(SessionFilter(limit=40))] == latest
    assert pages == [60]
    pages.clear()
    assert len(list(store.sessions(SessionFilter(limit=100)))) == 60
    assert max(pages) <= 480
