"""Which session the spans of a trace belong to."""

from __future__ import annotations

from typing import Any

from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.mapping.trace_sessions import TraceSessions, links

TRACE = "1" * 32


def span(**attributes: Any) -> SpanRecord:
    """Return a span of the trace."""
    return SpanRecord(trace_id=TRACE, span_id="2" * 16, name="a span", start_ns=1, attributes=attributes)


def test_links_are_told_once_unless_asked_for_again() -> None:
    """In process once is enough; a receiver, which may read a request twice, tells them with each."""
    sessions = TraceSessions()
    assert list(sessions.links([TRACE])) == []
    assert sessions.session(span(), 1) == TRACE
    assert list(sessions.links([TRACE], again=False)) == []
    sessions.name(TRACE, "s", 2)
    told = list(sessions.links([TRACE], again=False))
    assert [fact.session_id for fact in told] == ["s", TRACE]
    assert told == list(links("s", TRACE, 2))
    assert list(sessions.links([TRACE], again=False)) == []
    assert list(sessions.links([TRACE, TRACE])) == told


def test_the_first_name_counts_from_when_it_was_heard() -> None:
    """What is read again, as of before, is kept where it was kept then."""
    sessions = TraceSessions()
    sessions.name(TRACE, None, 1)
    sessions.name(TRACE, "first", 2)
    sessions.name(TRACE, "second", 3)
    assert sessions.session(span(), 1) == TRACE
    assert sessions.session(span(), 2) == "first"
    assert sessions.session(span(**{"session.id": "own"}), 2) == "own"
