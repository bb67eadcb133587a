"""How far behind each sink is, as readers say it: what a store has behind its cursor, and since when.

Counting reads what was not sent: at most `COUNTED` events of a sink, for a prune `WAITING`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from otel_agent_journal.masking import masked
from otel_agent_journal.sinks.places import Place, Places, name_of
from otel_agent_journal.store.protocol import JournalStore

COUNTED: Final = 10_000
WAITING: Final = 1_000_000
_PAGE: Final = 1000


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How a sink stands. Times are UTC nanoseconds, 0 where there was none.

    `behind`: events that it was not sent, or did not take; with `or_more` at least so many. `oldest_ns`: when the
    oldest counted of them happened. `begun`: it was ever sent anything. `held_by`: the machine and process that sends
    to it now. `error`: why it takes nothing now.
    """

    name: str
    sink: str
    begun: bool = True
    behind: int = 0
    or_more: bool = False
    oldest_ns: int = 0
    sent: int = 0
    sent_ns: int = 0
    withheld: int = 0
    error: str | None = None
    error_ns: int = 0
    held_by: str | None = None

    def seconds(self, now_ns: int) -> float:
        """Return how long ago the oldest event happened that it was not sent; 0 where there is none."""
        return max(0, now_ns - self.oldest_ns) / 1e9 if self.oldest_ns else 0.0


def lags(store: JournalStore, urls: Iterable[str], now_ns: int, *, of_others: bool = True) -> list[Lag]:
    """Return how the sinks of these URLs stand, and with `of_others` those that others send this store's events to.

    Raises:
        UnsupportedByStore: the store keeps no documents, or cannot be read.
        StoreUnreachable: and other errors of the store.
    """
    places = Places(store)
    wanted = {name_of(url): masked(url) for url in urls}
    known = {place.name: place for place in places.all()}
    names = [*wanted, *(name for name in known if of_others and name not in wanted)]
    return [_lag(store, name, known.get(name), wanted.get(name, ""), now_ns) for name in names]


def waiting_sessions(store: JournalStore) -> frozenset[str] | None:
    """Return the sessions of which some sink lacks something; None where one is over `WAITING` events behind.

    Raises:
        UnsupportedByStore: the store keeps no documents, or cannot be read.
    """
    found: set[str] = set()
    for place in Places(store).all():
        cursor, count = place.cursor, 0
        while (page := store.follow(cursor, limit=_PAGE)).events:
            found.update(event.session_id for event in page.events)
            cursor, count = page.cursor, count + len(page.events)
            if count > WAITING:
                return None
    return frozenset(found)


def _lag(store: JournalStore, name: str, place: Place | None, url: str, now_ns: int) -> Lag:
    behind, cursor = 0, None if place is None else place.cursor
    oldest: int | None = None
    more = True
    while more and behind < COUNTED:
        page = store.follow(cursor, limit=_PAGE)
        for event in page.events:
            oldest = event.timestamp_ns if oldest is None else min(oldest, event.timestamp_ns)
        behind, cursor, more = behind + len(page.events), page.cursor, bool(page.events)
    oldest_ns = oldest or 0
    if place is None:
        return Lag(name=name, sink=url, begun=False, behind=behind, or_more=more, oldest_ns=oldest_ns)
    holder = place.holder if place.is_held(now_ns) else None
    return Lag(
        name=name,
        sink=place.url,
        behind=behind,
        or_more=more,
        oldest_ns=oldest_ns,
        sent=place.sent,
        sent_ns=place.sent_ns,
        withheld=place.withheld,
        error=place.error,
        error_ns=place.error_ns,
        held_by=None if holder is None else f"{holder.host}, process {holder.pid}",
    )
