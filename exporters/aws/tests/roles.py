"""What roles do at any store on AWS, through its port."""

from __future__ import annotations

from typing import Any

from otel_agent_journal.store.protocol import Document, SessionFilter, of_session
from otel_agent_journal.store.rules import current_sessions
from otel_agent_journal.testing.builders import context_events

LARGE = b"x" * 600_000


def write_beside(store: Any) -> None:
    """Write what agents write beside events: context, values, documents."""
    store.append_context("i1", 0, context_events(3, instance_id="i1"))
    store.append_context("i1", 3, context_events(1, instance_id="i1", first=3))
    store.append_context("i1", 3, context_events(1, instance_id="i1", first=3))  # again: read back
    store.put_blob("s1", "a" * 32, LARGE)
    store.put_blob("s1", "b" * 32, b"1")
    assert store.get_blob("s1", "a" * 32) == LARGE
    for scope in ("sinks", of_session("s1")):
        written = store.put_document(Document(scope=scope, name="n", data=b"1"))
        assert written is not None
        assert store.put_document(written) is not None
        assert not store.delete_document(scope, "n", written.version)


def read(store: Any) -> None:
    """Do what the command line does without writing, and find what is there."""
    assert list(store.read("s1"))
    assert list(store.read_context("i1"))
    assert list(store.instances("s1")) == ["i1"]
    assert store.follow(None).events
    assert store.follow(None, session_id="s1").events
    assert list(store.sessions(SessionFilter(agent="agent")))
    assert list(current_sessions(store))
    assert list(store.unsettled())
    assert list(store.documents("sinks"))
    found = (store.tip(), store.tip("s1"), store.head("s1"), store.get_document("sinks", "n"), store.context_tip("i1"))
    assert None not in found
    assert store.get_blob("s1", "a" * 32) == LARGE
    assert store.get_blob("s1", "nowhere") is None
    assert store.info().backend
