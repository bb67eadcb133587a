"""Sessions are found by what they cost: by their very id alone, and several side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.errors import SessionNotFound, StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.reading.journal import AmbiguousSession, Journal
from otel_agent_journal.spool.home import DRAIN_LOCK
from otel_agent_journal.spool.locks import FileLock, is_held
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import current_sessions
from otel_agent_journal.testing.builders import a_head, an_event, events
from tests.clock import by_the_clock, in_time
from tests.projections.test_links import link
from tests.reading.counting import CountingStore
from tests.spool.spooling import die, eventually, new_writer, started

SIDE_BY_SIDE = 4


def a_journal(*session_ids: str) -> tuple[Journal, CountingStore]:
    """Return a journal of settled sessions, and its store."""
    store = CountingStore()
    for session_id in session_ids:
        store.append(events(1, session_id=session_id))
        tip = store.tip(session_id)
        store.write_head(a_head(session_id, status="COMPLETED", open_writers=(), cursor=tip))
    store.looked_up.clear()
    return Journal(store, Path("no-spool")), store


@pytest.mark.parametrize(
    ("text", "found", "looked_up"),
    [
        ("a", ("a", None), ["a"]),
        ("a/step", ("a", "step"), ["a/step", "a"]),
        ("a/", ("a", None), ["a/", "a"]),
        ("team/a/b/step/of", ("team/a/b", "step/of"), ["team/a/b/step/of", "team/a/b/step", "team/a/b"]),
        ("team/a", ("team/a", None), ["team/a"]),
    ],
)
def test_an_exact_id_is_found_without_a_listing(text: str, found: tuple[str, str | None], looked_up: list[str]) -> None:
    """A session named by its id is looked up by it, in all readings of the slashes, the longest first."""
    journal, store = a_journal("a", "a-b", "team/a", "team/a/b", "team/a/b/steps")
    head, step = journal.session_and_step(text)
    assert (head.session_id, step) == found
    assert list(dict.fromkeys(store.looked_up)) == looked_up
    assert store.listings == 0


def test_an_exact_id_counts_before_the_beginning_of_another() -> None:
    """What could be a step of this session or the beginning of another one is the former."""
    journal, store = a_journal("run", "run/search-7")
    head, step = journal.session_and_step("run/search")
    assert (head.session_id, step, store.listings) == ("run", "search", 0)


def test_the_beginning_of_an_id_takes_a_listing() -> None:
    """Where no session has the very id, the only one that begins so is meant, with or without a step behind it."""
    journal, store = a_journal("run-1", "walk-1", "walk-2")
    assert journal.session_and_step("run")[0].session_id == "run-1"
    assert [journal.session_and_step("run/search")[part] for part in (1,)] == ["search"]
    assert store.listings > 0
    with pytest.raises(AmbiguousSession, match="2 candidates: walk"):
        journal.session_and_step("walk/search")
    with pytest.raises(SessionNotFound, match="no session matches 'swim'; the newest is"):
        journal.session_and_step("swim/search")


def test_replays_leave_the_short_id_to_what_they_are_of() -> None:
    """The beginning of an id names the session, however often it was replayed; a replay that is left alone is named."""
    journal, store = a_journal("run-1")
    for number in range(1, 9):
        name, replay = f"run-1~replay-{number}", {"verdict": "SAME", "session": "run-1"}
        store.append([msgspec.structs.replace(events(1, session_id=name)[0], details={"replay": replay})])
    assert journal.session("ru").session_id == "run-1"
    assert journal.session("run-1~replay-8").session_id == "run-1~replay-8"
    store.append(events(1, session_id="run-2"))
    with pytest.raises(AmbiguousSession, match=r"2 candidates: run-1 [^~]*, run-2 "):
        journal.session("run")
    with pytest.raises(AmbiguousSession, match="more than 5 candidates"):
        journal.session("run-1~")


class Meeting(CountingStore):
    """A store where each head is given once as many look for one at the same time."""

    def __init__(self, fails: str = "") -> None:
        super().__init__(threads=SIDE_BY_SIDE)
        self._all_there = threading.Barrier(SIDE_BY_SIDE)
        self._fails = fails
        self.meets = False

    def head(self, session_id: str) -> SessionHead | None:
        if self.meets:
            self._all_there.wait(timeout=10)
        if session_id == self._fails:
            raise StoreUnreachable(f"{session_id} cannot be read")
        return super().head(session_id)


def unsettled(store: CountingStore, count: int) -> list[str]:
    """Keep so many sessions without a head; return them, the latest updated first."""
    for number in range(count):
        store.append([an_event(number, session_id=f"s{number}")])
    return [f"s{number}" for number in reversed(range(count))]


def test_unsettled_sessions_are_read_side_by_side() -> None:
    """As many at a time as the store says are looked behind, and they come in the order of a listing."""
    store = Meeting()
    expected = unsettled(store, 3 * SIDE_BY_SIDE)
    store.meets = True
    found = [head.session_id for head in current_sessions(store, SessionFilter(limit=5))]
    assert found == expected[:5]


def test_what_one_of_many_meets_is_raised() -> None:
    """An error of the store while one of the sessions is read is the listing's."""
    store = Meeting(fails="s2")
    unsettled(store, 6)
    with pytest.raises(StoreUnreachable, match="s2 cannot be read"):
        list(current_sessions(store))


def test_what_comes_for_a_part_is_its_sessions() -> None:
    """The session of an unsettled part is looked at, too, and once."""
    store = CountingStore(threads=SIDE_BY_SIDE)
    parts = ["ab" * 16, "cd" * 16]
    linked: list[JournalEvent] = []
    for number, part in enumerate(parts):
        linked += [link("chat", part, "chat", number), link("chat", part, part, number)]
    store.append(linked)
    assert [head.session_id for head in current_sessions(store)] == ["chat"]
    assert sorted(head.session_id for head in current_sessions(store, SessionFilter(parts=True))) == [*parts, "chat"]


class HeldStore(MemoryStore):
    """Takes events once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def append(self, events: Iterable[JournalEvent]) -> None:
        """Append."""
        assert self.let.wait(20)
        super().append(events)


@by_the_clock
def test_what_another_takes_in_is_waited_for(tmp_path: Path) -> None:
    """What a dead process left may be under way by another's hand: a reader that has patience finds it."""
    writer, store = new_writer(tmp_path), HeldStore()
    writer.append(started(1, "cut"))
    die(writer)
    another = threading.Thread(target=Drain(tmp_path, store).drain_once)
    another.start()
    eventually(lambda: is_held(writer.folder / DRAIN_LOCK))
    journal = Journal(store, tmp_path, take_in=lambda: pytest.fail("another is at it"))
    began_s = time.monotonic()
    assert not journal.take_in_dead()
    assert not journal.take_in_dead(patience_s=0.1)
    in_time(time.monotonic() - began_s, 5)
    assert journal.exact("cut") is None
    threading.Timer(0.2, store.let.set).start()
    assert journal.take_in_dead(patience_s=20)
    assert journal.session("cut").session_id == "cut"
    another.join(20)


def test_what_another_lets_go_of_is_taken_in(tmp_path: Path) -> None:
    """Where who was at it dies as well, a reader that has patience takes it in itself."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(started(1, "cut"))
    die(writer)
    held = FileLock.take(writer.folder / DRAIN_LOCK)
    assert held is not None
    threading.Timer(0.2, held.close).start()
    journal = Journal(store, tmp_path, take_in=Drain(tmp_path, store).drain_once)
    journal.take_in_dead(patience_s=20)
    assert journal.session("cut").session_id == "cut"
