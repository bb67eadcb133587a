"""Raw events: who reads on is told of what arrives, in the session and its parts, and pays for nothing else."""

from __future__ import annotations

import json

import msgspec

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.memory import MemoryStore
from tests.projections import told
from tests.server.served import served
from tests.server.test_streams import a_run, keep

PATH = f"/api/sessions/{told.SESSION}/events"


class Counting(MemoryStore):
    """Counts the events that it gives to who follows."""

    given = 0

    def follow(self, cursor=None, *, session_id=None, limit=None):
        page = super().follow(cursor, **{"session_id": session_id} | ({} if limit is None else {"limit": limit}))
        self.given += len(page.events)
        return page


def test_reading_on_costs_what_arrives() -> None:
    """A reader that comes back to a long session gets the next event, and the session is neither read nor folded."""
    store = Counting()
    events = a_run(1000)
    keep(store, events[:-1])
    with served(store) as server:
        with server.stream(PATH) as messages:
            last = [next(messages) for _ in events[:-1]][-1]
        store.given = 0
        with server.stream(PATH, **{"Last-Event-ID": last["id"]}) as messages:
            store.append(events[-1:])
            message = next(messages)
        assert json.loads(message["data"])["event_id"] == events[-1].event_id
        assert store.given < 1000  # a page or two: a cursor says how many of its page one has had
        assert server.app.hub.loaded(told.SESSION) is None


def test_a_trace_that_is_linked_later_is_read_as_well() -> None:
    """What its own events were before that comes, too."""
    store = MemoryStore()
    keep(store, a_run(1))
    of_trace = [msgspec.structs.replace(event, session_id="trace") for event in a_run(2, first=500)]
    store.append(of_trace)
    link = told.said("SESSION_LINKED", 900, session=told.SESSION, trace="trace")
    had: list[str] = []
    with served(store) as server, server.stream(PATH) as messages:
        had += [json.loads(next(messages)["data"])["event_id"] for _ in a_run(1)]
        store.append([link])
        had += [json.loads(next(messages)["data"])["event_id"] for _ in (link, *of_trace)]
        later: JournalEvent = msgspec.structs.replace(told.end("root", 500, 990), session_id="trace")
        store.append([later])
        assert json.loads(next(messages)["data"])["event_id"] == later.event_id
    assert sorted(had) == sorted(event.event_id for event in (*a_run(1), link, *of_trace))
