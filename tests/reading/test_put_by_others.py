"""Events that others put into a store, woven into those that are followed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.reading import put_by_others
from otel_agent_journal.reading.put_by_others import LATE_NS, OthersEvents
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import an_event

LATE_MS = LATE_NS // 1_000_000


class Shared(MemoryStore):
    """A store into which others put events, too."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[JournalEvent] = []
        self.looks: list[int | None] = []

    def put_by_others(self, session_id: str, since_ns: int | None = None) -> Iterator[JournalEvent]:
        """Yield what is in `others`."""
        self.looks.append(since_ns)
        wanted = (event for event in self.others if event.session_id == session_id)
        yield from sorted(
            (event for event in wanted if since_ns is None or event.timestamp_ns >= since_ns), key=lambda it: it.key
        )


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Shared:
    """A shared store that is looked into each time."""
    monkeypatch.setattr(put_by_others, "EVERY_S", 0.0)
    return Shared()


def test_in_order_of_time(store: Shared) -> None:
    """Each is given before the first followed event of a later time, the rest where nothing more was followed."""
    store.others = [an_event(3), an_event(1), an_event(12), an_event(2, session_id="s2")]
    others = OthersEvents(store, "s1")
    assert list(others.woven([an_event(2), an_event(10), an_event(4)])) == [
        an_event(1),
        an_event(2),
        an_event(3),
        an_event(10),
        an_event(4),
    ]
    assert list(others.woven([an_event(11)])) == [an_event(11)]
    assert list(others.woven([])) == [an_event(12)]


def test_each_once(store: Shared) -> None:
    """One that was given is not given again, whatever else comes; up to a minute late is not too late."""
    others = OthersEvents(store, "s1")
    store.others.append(an_event(LATE_MS))
    assert list(others.woven([])) == [an_event(LATE_MS)]
    assert list(others.woven([an_event(LATE_MS + 9)])) == [an_event(LATE_MS + 9)]
    store.others += [an_event(9), an_event(LATE_MS + 3)]
    assert list(others.woven([])) == [an_event(9), an_event(LATE_MS + 3)]
    assert list(others.woven([])) == []
    store.others.append(an_event(8))
    assert list(others.woven([])) == [], "over a minute late"
    assert list(others.woven([an_event(3 * LATE_MS)])) == [an_event(3 * LATE_MS)]
    store.others.append(an_event(3 * LATE_MS - 1))
    assert list(others.woven([])) == [an_event(3 * LATE_MS - 1)]


def test_a_clock_ahead_hides_nothing(store: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of tomorrow does not make those of today late."""
    monkeypatch.setattr(put_by_others.time, "time_ns", lambda: an_event(5).timestamp_ns)
    others = OthersEvents(store, "s1")
    assert list(others.woven([an_event(10 * LATE_MS)])) == [an_event(10 * LATE_MS)]
    store.others.append(an_event(6))
    assert list(others.woven([])) == [an_event(6)]


def test_not_looked_for_more_than_once_a_second() -> None:
    """A look costs what reading the last minute costs."""
    store = Shared()
    others = OthersEvents(store, "s1")
    for _ in range(100):
        assert list(others.woven([])) == []
    assert store.looks == [None]


def test_a_quiet_session_is_not_read_anew_each_time(store: Shared) -> None:
    """Where nothing was followed and nobody else puts anything, looks begin with the session's last minute, too."""
    store.append([an_event(1), an_event(3 * LATE_MS)])
    others = OthersEvents(store, "s1")
    for _ in range(4):
        assert list(others.woven([])) == []
    assert store.looks == [None, None, *[an_event(2 * LATE_MS).timestamp_ns] * 2]
    store.others.append(an_event(2 * LATE_MS + 1))
    assert list(others.woven([])) == store.others


def test_a_session_without_events_is_looked_for_from_its_beginning(store: Shared) -> None:
    """Whatever the time of its first event is: clocks differ."""
    others = OthersEvents(store, "s1")
    for _ in range(3):
        assert list(others.woven([])) == []
    store.others.append(an_event(1))
    assert list(others.woven([])) == store.others


@pytest.mark.parametrize(("store", "session_id"), [(Shared(), None), (MemoryStore(), "s1")])
def test_nothing_to_look_for(store: MemoryStore, session_id: str | None) -> None:
    """All sessions together, and a store that gives everything by `follow`, are only followed."""
    others = OthersEvents(store, session_id)
    assert list(others.woven([an_event(2), an_event(1)])) == [an_event(2), an_event(1)]
    assert list(others.woven([])) == []
    assert not getattr(store, "looks", [])
