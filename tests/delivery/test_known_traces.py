"""Which session a trace belongs to is known after a restart, and a memory that fails costs nothing but itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.known_traces import FILE, KEPT_S, KnownTraces
from otel_agent_journal.delivery.reception import Reception
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import SpansReceived, encode_fact
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.spool.writer import SpoolWriter
from otel_agent_journal.store.memory import MemoryStore
from tests.receiver.collecting import request

TRACE = "a" * 32


def collected(folder: Path, store: MemoryStore, number: int, session_id: str | None) -> None:
    """Receive and deliver one span, in a process of its own as far as memory goes."""
    traces = KnownTraces(folder)
    reception = Reception(ReceivedSpans(traces=traces), began_ns=0, keep=traces.keep)
    writer = SpoolWriter(folder, writer=f"{number:032x}")
    received = request([(TRACE, f"{number:016x}")], session_id).SerializeToString()
    assert writer.append(encode_fact(SpansReceived(number, received)))
    writer.close()
    Drain(folder, store, reception=lambda: reception).drain_once()
    traces.close()


def types(store: MemoryStore, session_id: str) -> list[str]:
    """Return the types of a session's events, in order of type."""
    return sorted(event.type for event in store.read(session_id))


def test_a_name_that_comes_after_a_restart(tmp_path: Path) -> None:
    """The trace and the session are linked, as without one."""
    store = MemoryStore()
    collected(tmp_path, store, 1, None)
    collected(tmp_path, store, 2, "s1")
    assert types(store, TRACE) == ["MODEL_END", "MODEL_START", "SESSION_LINKED"]
    assert types(store, "s1") == ["MODEL_END", "MODEL_START", "SESSION_LINKED"]


def test_a_span_without_a_name_after_a_restart(tmp_path: Path) -> None:
    """It goes to the session that its trace was said to be of."""
    store = MemoryStore()
    collected(tmp_path, store, 1, "s1")
    collected(tmp_path, store, 2, None)
    assert len(types(store, "s1")) == 4
    assert types(store, TRACE) == []


def links(store: MemoryStore) -> list[JournalEvent]:
    """Return the links of the session."""
    return [event for event in store.read("s1") if event.type == "SESSION_LINKED"]


def test_a_link_is_the_same_however_often_it_is_found(tmp_path: Path) -> None:
    """After each restart, too: one event."""
    store = MemoryStore()
    collected(tmp_path, store, 1, None)
    for number in (2, 3, 4):
        collected(tmp_path, store, number, "s1")
    assert len(links(store)) == 1


def test_what_is_damaged_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And said."""
    (tmp_path / FILE).write_bytes(b"no database " * 1000)
    store = MemoryStore()
    collected(tmp_path, store, 1, None)
    assert "not remembered" in caplog.text
    collected(tmp_path, store, 2, "s1")
    assert len(links(store)) == 1


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Spans are journaled all the same."""
    (tmp_path / FILE).mkdir()
    store = MemoryStore()
    collected(tmp_path, store, 1, "s1")
    assert len(types(store, "s1")) == 2


def test_another_process_holds_the_table(tmp_path: Path) -> None:
    """What is learned meanwhile is written the next time."""
    traces = KnownTraces(tmp_path)
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("BEGIN IMMEDIATE")
    traces.get(TRACE).session_id = "s1"
    traces.get(TRACE).changed = True
    traces.keep()
    other.rollback()
    other.close()
    traces.get(TRACE)
    traces.keep()
    traces.close()
    again = KnownTraces(tmp_path)
    assert again.get(TRACE).session_id == "s1"
    again.close()


def test_memory_is_bounded_and_old_traces_are_forgotten(tmp_path: Path) -> None:
    """What is not held is read again; what nobody heard of for a week is gone."""
    now = 1_000_000.0
    traces = KnownTraces(tmp_path, clock=lambda: now, limit=2)
    for number in range(10):
        trace = traces.get(str(number))
        trace.session_id, trace.changed = f"s{number}", True
        traces.keep()
    assert len(traces._held) == 2
    assert traces.get("0").session_id == "s0"
    now += KEPT_S + 3601
    traces.keep()
    traces.close()
    later = KnownTraces(tmp_path, clock=lambda: now)
    assert later.get("1").session_id is None
    later.close()
