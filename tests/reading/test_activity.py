"""What happened lately in many sessions: read once, whole, and within bounds."""

from __future__ import annotations

from itertools import count

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.reading.activity import Activity
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Page
from otel_agent_journal.store.rules import current_sessions
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.query.journals import Counted, a_session, keep

HOUR_NS = 3_600 * 10**9
FOREVER = 1e9


class CountedPages(Counted):
    """A store that notes, too, how many events `follow` gave."""

    def __init__(self) -> None:
        super().__init__()
        self.followed = 0

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        page = super().follow(cursor, session_id=session_id, limit=limit)
        self.followed += len(page.events)
        return page


def heads(store: MemoryStore) -> list[SessionHead]:
    return list(current_sessions(store))


def known(activity: Activity, store: MemoryStore, since_ns: int = 0) -> dict[str, int]:
    """How many events from a time on are known of each session."""
    return {
        head.session_id: sum(at_ns >= since_ns for times in facts.times.values() for at_ns in times)
        for head, facts in activity.known(heads(store))
    }


def stored(store: MemoryStore) -> dict[str, int]:
    return {head.session_id: head.events for head in heads(store)}


def test_a_session_is_read_once_and_then_what_arrives() -> None:
    """A refresh reads of sessions that are known what arrived of them, and of those that did not change nothing."""
    store = CountedPages()
    for number in range(6):
        keep(store, a_session(number).events)
    activity = Activity(store)
    assert activity.refresh(heads(store), 0, at_once_s=FOREVER) == 0
    assert known(activity, store) == stored(store)
    listed = heads(store)
    store.forget()
    store.followed = 0
    activity.refresh(listed, 0, at_once_s=FOREVER)
    assert (store.events_read, store.followed) == (0, 0)
    late = JournalBuilder("s1", writer="late", clock=SteppingClock(EPOCH_2026_NS))
    late.end(late.start("TOOL", "late"))
    keep(store, late.events)
    listed = heads(store)
    store.forget()
    store.followed = 0
    activity.refresh(listed, 0, at_once_s=FOREVER)
    assert (store.events_read, store.followed) == (0, len(late.events))
    assert known(activity, store) == stored(store)


def test_what_began_long_before_is_read_from_the_time_on() -> None:
    """Of a session that began before the time that is asked about only what came since is read."""
    store = Counted()
    clock = SteppingClock(EPOCH_2026_NS, step_ns=HOUR_NS)
    long = JournalBuilder("long", clock=clock)
    root = long.start("AGENT", "researcher")
    for number in range(40):
        long.end(long.start("TOOL", f"t{number}", parent=root))
    keep(store, long.events)
    store.forget()
    since_ns = EPOCH_2026_NS + 70 * HOUR_NS
    activity = Activity(store)
    assert activity.refresh(heads(store), since_ns, at_once_s=FOREVER) == since_ns
    assert known(activity, store) == {"long": 11}
    assert [len(facts.tools) for _, facts in activity.known(heads(store))] == [6]
    assert activity.refresh(heads(store), 0, at_once_s=FOREVER) == 0
    assert known(activity, store) == stored(store)


def test_each_refresh_knows_more_however_little_time_there_is() -> None:
    """Where no time is left at all, a refresh still reads on; what it says to know from a time on, it knows whole."""
    store = MemoryStore()
    for number in range(30):
        keep(store, a_session(number).events)
    clock = count(step=1000)
    activity = Activity(store, monotonic=lambda: float(next(clock)))
    since = [activity.refresh(heads(store), 0, at_once_s=0.0) for _ in range(60)]
    assert since == sorted(since, reverse=True)
    assert since[-1] == 0
    assert known(activity, store) == stored(store)


def test_what_is_known_is_bounded() -> None:
    """More events than may be kept are not: those of the sessions that changed last are, and that is said."""
    store = MemoryStore()
    for number in range(30):
        keep(store, a_session(number).events)
    activity = Activity(store, max_events=100)
    for number in range(31, 34):
        since_ns = activity.refresh(heads(store), 0, at_once_s=FOREVER)
        assert since_ns > EPOCH_2026_NS
        assert 80 < sum(known(activity, store).values()) <= 100
        keep(store, a_session(number).events)
    since_ns = activity.refresh(heads(store), 0, at_once_s=FOREVER)
    whole = {head.session_id: head.events for head in heads(store) if head.updated_ns >= since_ns}
    assert {one: events for one, events in known(activity, store, since_ns).items() if one in whole} == whole
    others: list[JournalEvent] = a_session(40).events
    keep(store, others)
    assert activity.refresh([head for head in heads(store) if head.session_id == "s40"], 0, at_once_s=FOREVER) == 0
