"""The list of sessions: pages of it, and what changes in it while somebody looks."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec

from otel_agent_journal.projections.head import (
    AWAITING_INPUT,
    COMPLETED,
    ERROR,
    INTERRUPTED,
    PENDING,
    PROCESSING,
    REASONS,
    SessionHead,
)
from otel_agent_journal.reading.gists import LONGEST, gist_of
from otel_agent_journal.server.feeds import Feed, Frame
from otel_agent_journal.server.rows import cut, of_head
from otel_agent_journal.server.wire import Resync, SessionRow, Sessions
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import SessionFilter

if TYPE_CHECKING:
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.rooms import Room

LOOK_S: Final = 0.5
LIVE_S: Final = 3.0  # between two looks at all that run: a writer goes silent without an event
BACK_NS: Final = 60 * 1_000_000_000
MOST_LISTED: Final = 500
MOST_COUNTED: Final = 1000
MOST_SEARCHED: Final = 5000
REMEMBERED: Final = 2000
_LAST: Final = 20  # events of a session's last moment
_AFTER_ANY_ID: Final = "~"
DEFAULT_PAGE: Final = 50


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions a list shows.

    `states`: statuses, and reasons of an interruption. `begun_ns`: only those that had begun by then. `among`: only
    those of these ids.
    """

    states: tuple[str, ...] = ()
    agent: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    begun_ns: int | None = None
    text: str | None = None
    least_usd: float | None = None
    among: frozenset[str] | None = None

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses that a session in one of these states has."""
        return tuple(dict.fromkeys(INTERRUPTED if one in REASONS else one for one in self.states))

    def has(self, head: SessionHead, cost: Callable[[SessionHead], Cost]) -> bool:
        """Tell whether a session that the store's own filters leave is one of them."""
        return (
            (not self.states or head.status in self.states or head.reason in self.states)
            and (self.begun_ns is None or head.started_ns <= self.begun_ns)
            and (self.among is None or head.session_id in self.among)
            and (not self.text or _has(head, self.text))
            and (self.least_usd is None or (cost(head).usd or 0.0) >= self.least_usd > 0 or self.least_usd == 0)
        )

    @property
    def labels(self) -> list[tuple[str, str]]:
        """The labels that are asked for."""
        return [("user", self.user)] if self.user else []

    def takes(self, row: SessionRow) -> bool:
        """Tell whether a session that changed is one of them, whatever its status is."""
        names = [tag.partition("=") for tag in self.tags]
        return (
            (self.agent is None or row.agent == self.agent)
            and (self.user is None or row.user == self.user)
            and all(
                tag + equals + value in row.tags or (row.labels.get(tag) == value if equals else tag in row.labels)
                for tag, equals, value in names
            )
        )


def page_of(journal: Journal, wanted: Wanted, cursor: str | None, limit: int, room: Rooms) -> Sessions:
    """Return a page of the list."""
    after = _position(cursor)
    until_ns = wanted.until_ns if after is None else min(after[0], wanted.until_ns or after[0])
    asked = SessionFilter(statuses=wanted.statuses, agent=wanted.agent, since_ns=wanted.since_ns, until_ns=until_ns)
    heads = journal.heads(asked, wanted.tags, wanted.labels)
    if after is not None:
        heads = (head for head in heads if (-head.updated_ns, head.session_id) > (-after[0], after[1]))
    found: list[SessionHead] = []
    more: SessionHead | None = None
    for looked, head in enumerate(heads, start=1):
        if wanted.has(head, journal.cost):
            found.append(head)
        if len(found) > limit or looked >= MOST_SEARCHED:
            more = found[limit - 1] if len(found) > limit else head
            break
    return Sessions(
        sessions=tuple(journal.each(lambda head: row_of(journal, head, room), found[:limit])),
        cursor=None if more is None else _cursor(more),
        counts=counts_of(journal, wanted) if after is None else {},
    )


Rooms = Callable[[str], "Room | None"]


def counts_of(journal: Journal, wanted: Wanted) -> dict[str, int]:
    """Return how many sessions have each status, of the latest thousand."""
    asked = SessionFilter(agent=wanted.agent, since_ns=wanted.since_ns, until_ns=wanted.until_ns, limit=MOST_COUNTED)
    return dict(Counter(head.status for head in journal.heads(asked, wanted.tags, wanted.labels)))


def _has(head: SessionHead, text: str) -> bool:
    low = text.lower()
    said = (head.session_id, head.agent or "", *head.about.tags, *head.about.labels.values())
    return any(low in one.lower() for one in said)


def _cursor(head: SessionHead) -> str:
    return base64.urlsafe_b64encode(f"{head.updated_ns}:{head.session_id}".encode()).decode().rstrip("=")


def _position(cursor: str | None) -> tuple[int, str] | None:
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        updated, _, session_id = text.partition(":")
        return int(updated), session_id
    except ValueError:
        return None


def row_of(journal: Journal, head: SessionHead, room: Rooms) -> SessionRow:
    """Return a session as the list shows it. Costs little: what runs is read back from its last event."""
    known = room(head.session_id)
    if known is not None:
        return known.row()
    doing = last = None
    if head.status == PROCESSING:
        doing = _doing(head, journal.running_step(head))
    elif head.status == ERROR and (error := journal.error_of(head)) is not None:
        last = cut(" ".join(f"{error.type}: {error.message[:LONGEST]}".split()), LONGEST)
    elif head.status == COMPLETED or (head.status == INTERRUPTED and head.reason == AWAITING_INPUT):
        doing = "awaiting input" if head.reason == AWAITING_INPUT else None
        last = _last_words(journal, head)
    return of_head(head, journal.cost(head), doing=doing, last=last)


def _last_words(journal: Journal, head: SessionHead) -> str | None:
    """Return what the last events of a session gave, or asked for: one short read."""
    if head.updated_ns <= 0:
        return None
    events = read_whole(journal.store, head.session_id, (head.updated_ns - 1, _AFTER_ANY_ID), head=head)
    said = [words for event in islice(events, _LAST) if (words := gist_of(event))]
    return cut(said[-1], LONGEST) if said else None


def _doing(head: SessionHead, running: str | None) -> str | None:
    if not running:
        return None
    kind, _, name = running.partition(" ")
    if kind == "model":
        return f"{cut(head.agent or name, 80)} is thinking…"
    if kind == "tool":
        return f"{cut(name, 80)} is running"
    if kind == "retrieval":
        return f"{cut(name, 80)} is searching"
    return f"in {cut(name, 80)}"


class LiveList:
    """What changes in the list. `look` is called by the thread that follows; all else from any thread."""

    def __init__(self, journal: Journal, room: Rooms) -> None:
        self._journal = journal
        self._room = room
        self._lock = threading.Lock()
        self._feeds: dict[Feed, Wanted] = {}
        self._closed = False
        self._shown: OrderedDict[str, tuple[object, SessionRow, int]] = OrderedDict()
        self._epoch = uuid4().hex[:12]
        self._revision = 0
        self._forgotten = 0
        self._looked_s = 0.0
        self._looked_live_s = 0.0
        self._newest_ns: int | None = None

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return bool(self._feeds)

    def close(self) -> None:
        """End every stream."""
        with self._lock:
            self._closed = True
            for feed in self._feeds:
                feed.close()

    def attach(self, feed: Feed, wanted: Wanted, after: str | None) -> None:
        """Tell a reader from now on, and before that what has changed since it was told last."""
        with self._lock:
            epoch, _, revision = (after or "").partition(".")
            if after is not None:
                known = epoch == self._epoch and revision.isdecimal() and int(revision) >= self._forgotten
                changed = [self._frame(row, at) for _, row, at in self._shown.values() if known and at > int(revision)]
                feed.put(changed if known else [Frame("resync", msgspec.json.encode(Resync()), "list", self._at)])
            self._feeds[feed] = wanted
            if self._closed:
                feed.close()

    def detach(self, feed: Feed) -> None:
        """Tell a reader no longer."""
        with self._lock:
            self._feeds.pop(feed, None)

    @property
    def _at(self) -> str:
        return f"{self._epoch}.{self._revision}"

    def _frame(self, row: SessionRow, revision: int) -> Frame:
        return Frame("session", msgspec.json.encode(row), "list", f"{self._epoch}.{revision}")

    def look(self) -> None:
        """Find what has changed. Raises as the store does."""
        now = time.monotonic()
        if now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        changed: list[tuple[SessionRow, int]] = []
        for head in self._heads(now):
            mark = (head.version, head.updated_ns, head.status, head.reason, head.events, head.stage, head.progress)
            known = self._shown.get(head.session_id)
            room = self._room(head.session_id)
            if known is not None and known[0] == mark and room is None:
                continue
            row = row_of(self._journal, head, self._room)
            with self._lock:
                if known is None or row != known[1]:
                    self._revision += 1
                    changed.append((row, self._revision))
                    self._shown[head.session_id] = (mark, row, self._revision)
                    self._shown.move_to_end(head.session_id)
                    if len(self._shown) > REMEMBERED:
                        _, (_, _, self._forgotten) = self._shown.popitem(last=False)
                else:
                    self._shown[head.session_id] = (mark, row, known[2])
        if changed:
            with self._lock:
                for feed, wanted in self._feeds.items():
                    feed.put([self._frame(row, at) for row, at in changed if wanted.takes(row)])

    def _heads(self, now: float) -> Iterator[SessionHead]:
        """Yield the sessions that may have changed: those with new events, and now and then those that run."""
        if self._newest_ns is None:
            self._newest_ns = self._journal.clock()
        asked = SessionFilter(since_ns=self._newest_ns - BACK_NS, limit=MOST_LISTED)
        seen: Mapping[str, None] = {}
        found: dict[str, None] = {}
        for head in self._journal.heads(asked):
            found[head.session_id] = None
            self._newest_ns = max(self._newest_ns, min(head.updated_ns, self._journal.clock()))
            yield head
        seen = found
        if now - self._looked_live_s > LIVE_S:
            self._looked_live_s = now
            running = [one for one, (_, row, _) in self._shown.items() if row.live and one not in seen]
            for session_id in running[-MOST_LISTED:]:
                head = self._journal.exact(session_id)
                if head is not None:
                    yield self._journal.judged(head)
            for head in self._journal.heads(SessionFilter(statuses=(PROCESSING, PENDING), limit=MOST_LISTED)):
                if head.session_id not in seen:
                    yield head
