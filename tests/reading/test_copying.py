"""Copying from store to store: whatever fails on the way, and whoever writes meanwhile, each event is there once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from otel_agent_journal.errors import ConflictError, EventTooLarge, StoreUnreachable, UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.reading.comparing import compare_session
from otel_agent_journal.reading.copying import PAGE_EVENTS, CopiedPage, StoreCopy, blobs_of
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Blob, Capabilities, Page
from otel_agent_journal.store.rules import current, is_prunable
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events

SESSIONS = ("s1", "s2", "s3")
MINUTE_NS = 60 * 10**9


def seeded(count: int = 700) -> MemoryStore:
    """Return a journal of three sessions, each with events, context and a head."""
    store = MemoryStore()
    for session_id in SESSIONS:
        store.append(events(count, session_id=session_id))
        made = context_events(60, instance_id=f"instance of {session_id}", session_id=session_id)
        store.append_context(f"instance of {session_id}", 0, made)
        store.write_head(head_of(fold(store.read(session_id)), session_id))
    return store


def once(call: Callable[[], Any]) -> Any:
    """Make a call, and not again."""
    return call()


def again_and_again(call: Callable[[], Any]) -> Any:
    """Make a call until it succeeds."""
    for _ in range(200):
        try:
            return call()
        except StoreUnreachable:
            continue
    raise AssertionError("it never succeeded")


def copied(source: MemoryStore, target: MemoryStore, cursor: str | None = None, **options: Any) -> list[CopiedPage]:
    """Copy all there is, heads too; return the pages."""
    copy = StoreCopy(source, target, insist=options.get("insist", once))
    pages = list(copy.events(cursor))
    copy.heads(source.sessions())
    return pages


def differences(source: MemoryStore, target: MemoryStore) -> list[str]:
    """Return what differs, of all sessions."""
    return [one.check for name in SESSIONS for one in compare_session(source, target, name).differences]


class Failing(MemoryStore):
    """Of its calls some fail, half of those after the write was applied."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def append(self, events: Sequence[JournalEvent]) -> None:
        part = events[: self._random.randrange(len(events) + 1)]
        self._perhaps(lambda: super(Failing, self).append(part))
        arrived = super().append(events)
        self._perhaps(lambda: None)
        return arrived

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        self._perhaps(lambda: None)
        super().append_context(instance_id, expected_seq, events)
        self._perhaps(lambda: None)

    def write_head(self, head: SessionHead) -> SessionHead | None:
        self._perhaps(lambda: None)
        written = super().write_head(head)
        self._perhaps(lambda: None)
        return written

    def _perhaps(self, before: Callable[[], Any]) -> None:
        if self._random.random() < 0.3:
            before()
            raise StoreUnreachable("gone for a moment")


@pytest.mark.parametrize("seed", range(5))
def test_a_target_that_fails_gets_each_event_once(seed: int) -> None:
    """Calls that fail, before they were applied, halfway or after, are made again and double nothing."""
    source, target = seeded(), Failing(seed)
    pages = copied(source, target, insist=again_and_again)
    assert sum(page.events for page in pages) == 3 * 760
    assert differences(source, target) == []
    assert target.info().events == source.info().events


@pytest.mark.parametrize("pages", [0, 1, 3])
def test_a_copy_goes_on_from_any_page(pages: int) -> None:
    """Broken off after a page, and gone on from its cursor or one before it, the copy is whole."""
    source, target = seeded(), MemoryStore()
    begun = StoreCopy(source, target, insist=once).events(None)
    cursors: list[str | None] = [None, *(next(begun).cursor for _ in range(pages))]
    for cursor in (cursors[-1], cursors[0]):
        copied(source, target, cursor)
        assert differences(source, target) == []
        assert target.info().events == source.info().events


def test_a_page_is_given_when_it_is_in_the_target() -> None:
    """Whoever keeps the cursor of a page may trust that everything before it is there."""
    source, target = seeded(), MemoryStore()
    total = 0
    for page in StoreCopy(source, target, insist=once).events(None):
        total += page.events
        assert target.info().events == total
        assert page.events <= PAGE_EVENTS


class Shared(MemoryStore):
    """A store that others put events into, too: `read` has them, `follow` does not."""

    def __init__(self, others: Sequence[JournalEvent]) -> None:
        super().__init__()
        self._others = others

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        assert after is None
        yield from sorted([*super().read(session_id), *self.put_by_others(session_id)], key=lambda event: event.key)

    def put_by_others(self, session_id: str, since_ns: int | None = None) -> Iterator[JournalEvent]:
        yield from (event for event in self._others if event.session_id == session_id)


@pytest.mark.parametrize("seed", range(3))
def test_what_others_put_into_the_source(seed: int) -> None:
    """Events that `follow` does not give are copied by session, with their values, whatever fails."""
    digest = "d" * 32
    others = events(PAGE_EVENTS + 9, first=5000)
    others[3] = msgspec.structs.replace(others[3], details={"input": {"$blob": digest}})
    source, target = Shared(others), Failing(seed)
    source.append(events(5))
    source.put_blob("s1", digest, b"{}")
    copied(source, target, insist=again_and_again)
    assert len(differences(source, target)) > 0
    copy = StoreCopy(source, target, insist=again_and_again)
    found = copy.put_by_others("s1")
    assert (found.events, found.blobs, found.too_large) == (len(others), 1, ())
    assert copy.put_by_others("s1").events == len(others)
    assert differences(source, target) == []
    assert target.get_blob("s1", digest) == b"{}"
    assert StoreCopy(target, source, insist=once).put_by_others("s1").events == 0, "a store that is followed for all"


class Backwards(MemoryStore):
    """Gives the events of each page in another order than they came in."""

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        page = super().follow(cursor, session_id=session_id, limit=limit)
        return Page(tuple(reversed(page.events)), page.cursor)


def test_sequences_are_right_whatever_the_order_of_arrival() -> None:
    """A source that gives an instance's later events first, or in several pages, makes no gap in the copy."""
    source, target = Backwards(), MemoryStore()
    made = context_events(1_300)
    for start in range(0, 1_300, 10):
        source.append_context("i1", start, made[start : start + 10])
    latest = source.follow(None, limit=900).cursor
    copied(source, target, latest)
    assert list(target.read_context("i1")) == made
    copied(source, target)
    assert list(target.read_context("i1")) == made
    assert target.info().events == 1_300


def test_another_sequence_in_the_target_is_a_conflict() -> None:
    """Where the target's instance has other events at those numbers, the first is named and nothing is added."""
    source, target = MemoryStore(), MemoryStore()
    source.append_context("i1", 0, context_events(10))
    target.append_context("i1", 0, context_events(3, text="another"))
    with pytest.raises(ConflictError):
        copied(source, target)
    other = MemoryStore()
    other.append_context("i1", 0, [msgspec.structs.replace(one, event_id="f" * 32) for one in context_events(1)])
    with pytest.raises(ConflictError):
        copied(source, other)
    assert (target.info().events, other.info().events) == (3, 1)


class Small(MemoryStore):
    """Takes no event with much in it, and no values kept apart."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(blobs=False)

    def append(self, events: Sequence[JournalEvent]) -> None:
        for event in events:
            if event.name == "large":
                raise EventTooLarge(event.event_id, 10_000, 1_000)
        super().append(events)


def test_an_event_that_the_target_cannot_take_is_left_out_and_named() -> None:
    """One event too large does not keep the others from being copied."""
    source, target = MemoryStore(), Small()
    source.append([*events(5), an_event(7, name="large"), an_event(8, name="large")])
    (page,) = copied(source, target)
    assert len(page.too_large) == 2
    assert target.info().events == 5
    assert [one.check for one in compare_session(source, target, "s1").differences] == ["missing", "missing"]


def test_values_kept_apart_need_a_target_that_can() -> None:
    """They are refused by name, and not left behind in silence; one that the source lost is no reason to stop."""
    source = MemoryStore()
    source.append([an_event(details={"output": {"$blob": "a" * 32}})])
    copied(source, Small())
    source.put_blob("s1", "a" * 32, b"1")
    with pytest.raises(UnsupportedByStore, match="blobs"):
        copied(source, Small())


def test_values_are_there_before_the_events_that_name_them() -> None:
    """A reader of the target never finds a reference to a value that is still to come."""

    class Watched(MemoryStore):
        def append(self, events: Sequence[JournalEvent]) -> None:
            for event in events:
                assert all(self.get_blob(event.session_id, digest) for digest in blobs_of(event.details))
            super().append(events)

    source = MemoryStore()
    nested = {"messages": [{"content": {"$blob": "a" * 32, "media": ["b" * 32]}}], "note": {"$blob": 3}}
    assert list(blobs_of(nested)) == ["a" * 32, "b" * 32]
    source.put_blob("s1", "a" * 32, b"1")
    source.put_blob("s1", "b" * 32, b"2", "image/png")
    source.append([an_event(details=nested)])
    (page,) = copied(source, target := Watched())
    assert page.blobs == 2
    assert target.get_blobs("s1", ["a" * 32, "b" * 32]) == {"a" * 32: Blob(b"1"), "b" * 32: Blob(b"2", "image/png")}
    assert not compare_session(source, target, "s1").differences


def test_a_value_of_another_type_is_a_difference() -> None:
    """Not the bytes alone of a value kept apart must be the same."""
    source, target = MemoryStore(), MemoryStore()
    for store, media_type in ((source, "image/png"), (target, "image/gif")):
        store.put_blob("s1", "a" * 32, b"1", media_type)
        store.append([an_event(details={"output": {"$blob": "a" * 32}})])
    (difference,) = compare_session(source, target, "s1").differences
    assert difference.check == "blob"


def test_heads_of_sessions_in_progress_are_those_of_the_copied_events() -> None:
    """A head that already speaks of events which came after the copy is not copied: it is made from what is there."""
    source, target = MemoryStore(), MemoryStore()
    source.append(events(10))
    ahead = msgspec.structs.replace(head_of(fold(events(20)), "s1"), status="PROCESSING", writers={"w": 7})
    source.write_head(ahead)
    copied(source, target)
    head = target.head("s1")
    assert head is not None
    assert (head.events, head.writers["w"]) == (10, 7)


def test_heads_that_are_there() -> None:
    """Repeating a copy writes no head, and that of the target's own larger session is its own."""
    source, target = seeded(5), MemoryStore()
    copied(source, target)
    before = list(target.sessions())
    copied(source, target)
    assert list(target.sessions()) == before
    target.append([an_event(900, session_id="s1", type="TOOL_ERROR", step_id="5" * 32)])
    own = current(target, "s1")
    copied(source, target)
    head = target.head("s1")
    assert head is not None
    assert own is not None
    assert head.errors == own.errors == source.head("s1").errors + 1


class Contended(MemoryStore):
    """Somebody else writes each head first, a few times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def write_head(self, head: SessionHead) -> SessionHead | None:
        if self.times:
            self.times -= 1
            super().write_head(msgspec.structs.replace(head, steps=99, snapshot=b"", cursor=None))
            return None
        return super().write_head(head)


@pytest.mark.parametrize("times", [1, 4])
def test_heads_that_others_write_too(times: int) -> None:
    """Losing to another writer is tried again, from what that one has written."""
    source, target = MemoryStore(), Contended(times)
    source.append(events(3))
    source.write_head(head_of(fold(events(3)), "s1"))
    copied(source, target)
    head = target.head("s1")
    assert head is not None
    assert (head.steps, head.events) == (0, 3)


def test_what_differs_is_named_by_its_kind_alone() -> None:
    """An event too many, or too few, in the middle does not make its neighbours differ."""
    source, target = MemoryStore(), MemoryStore()
    source.append(events(20))
    target.append([*events(8), *events(11, first=9), an_event(5, event_id="f" * 32)])
    found = compare_session(source, target, "s1").differences
    assert [(one.check, one.event_id) for one in found] == [("extra", "f" * 32), ("missing", events(9)[8].event_id)]


def test_comparing_keeps_nothing_in_memory() -> None:
    """Both sides are read side by side: neither stream is ahead of the other by more than one event."""
    taken: list[str] = []

    class Told(MemoryStore):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
            for event in super().read(session_id, after):
                taken.append(self.name)
                yield event

    source, target = Told("source"), Told("target")
    source.append(events(50))
    target.append(events(50))
    assert compare_session(source, target, "s1").events == 50
    for end in range(2 * 50):
        assert abs(taken[:end].count("source") - taken[:end].count("target")) <= 1


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"updated_ns": 99}, True),
        ({"updated_ns": 100}, False),
        ({"updated_ns": 0, "status": "PROCESSING", "open_writers": ()}, True),
        ({"status": "PROCESSING", "open_writers": ("w",), "writers": {"w": 100}}, False),
        ({"status": "PROCESSING", "open_writers": ("w",), "writers": {"w": 100 - MINUTE_NS}}, False),
        ({"status": "PROCESSING", "open_writers": ("w",), "writers": {"w": 99 - MINUTE_NS}}, True),
        ({"status": "PROCESSING", "open_writers": ("w", "v"), "writers": {"w": 99 - MINUTE_NS, "v": 100}}, False),
        ({"status": "PROCESSING", "open_writers": ("w",), "writers": {"v": 500}}, True),
        ({"status": "PROCESSING", "open_writers": ("w",), "writers": {}, "updated_ns": 99}, False),
        ({"status": "COMPLETED", "open_writers": ("w",), "writers": {"w": 500}}, True),
    ],
)
def test_which_sessions_are_pruned(head: dict[str, Any], expected: bool) -> None:
    """Those last updated before the limit, unless in progress with a writer heard of since, or in the minute before."""
    fields = {"updated_ns": 98 - MINUTE_NS, "status": "COMPLETED", **head}
    assert is_prunable(a_head(**fields), 100) is expected
