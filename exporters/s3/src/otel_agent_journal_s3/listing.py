"""The listing of sessions, newest first: an object for each, its *place*, whose name says what it is listed by.

Below `listing/`, in slots of ten seconds, the newest first, as `parts.written` has them:

    {slot}/{status}/{agent}/{key}/{by}
    {slot}/{status}/{agent}/{key}/{by}.{version}.{updated}.{end}   of a session that has ended: all of a brief head

A head names its place. That is written before the head, and deleted after the head was written over; so a head that is
there has its place there, and what a crash leaves over is named by no head, and passed over.

Of a session that has ended nobody needs to fetch the head while its place is *sure*: it has one byte. It gets that once
the head is put, under the condition that nobody has touched it since it was written, and whoever is to write over the
head takes it away before: two bytes are a doubt. So while a place is sure, the head that is there is the one that names
it, or that session is just being deleted. `by` is random: a name is used once. See docs/adr/0037.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from otel_agent_journal.codec import valid_text
from otel_agent_journal.projections.head import ENDED, SessionHead
from otel_agent_journal.store.keys import session_of
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal_s3.layout import Layout, key_of
from otel_agent_journal_s3.objects import Bucket
from otel_agent_journal_s3.parts import in_parts, number_in, written
from otel_agent_journal_s3.passing import Passing
from otel_agent_journal_s3.segments import cursor_of, place_of_cursor

PART: Final = "PART"  # in place of the status of a session that is part of another
_NOBODY: Final = "~nobody"  # which no agent's key is
_AGENT_BYTES: Final = 120  # of an agent's key: all names together are bounded
_SLOT_NS: Final = 10 * 10**9
_LAST_SLOT: Final = 10**11 - 1
_SURE: Final = b"\n"
_DOUBT: Final = b"\n\n"
_BY: Final = 8  # characters of a head's `by`


class Place(NamedTuple):
    """A place: its name below `listing/`, and what that says. `key` is the session's, `agent` the agent's.

    `head`: what it says of a session that has ended. `is_sure`: that there is no need to fetch more.
    """

    name: str
    slot: int
    status: str
    agent: str
    key: str
    head: SessionHead | None = None
    is_sure: bool = False


def slot_of(updated_ns: int) -> int:
    """Return the slot of a time."""
    return max(0, min(updated_ns // _SLOT_NS, _LAST_SLOT))


def _written(slot: int) -> str:
    return written(_LAST_SLOT - slot)


def _agent_key(agent: str | None) -> str:
    """Return how an agent's name stands in that of a place; one that is long is hashed."""
    return _NOBODY if agent is None else key_of(agent, _AGENT_BYTES)


def name_of(key: str, head: SessionHead, by: str) -> str:
    """Return the name of the place of a head. `by` tells this attempt to write it from all others."""
    said = by[:_BY]
    if _says_all(key, head):
        place = place_of_cursor(head.cursor or "")
        said = f"{said}.{head.version}.{head.updated_ns}.{place[0] if place else ''}"
    return f"{_above(key, head)}/{said}"


def place_of(name: str, size_bytes: int = 0) -> Place | None:
    """Return what the name of a place says; None for what somebody else put there."""
    words, slot = name.split("/"), number_in(name)
    if len(words) != 6 or slot is None:
        return None
    _, _, status, agent, key, said = words
    by, *more = said.split(".")
    if len(by) != _BY or len(more) not in (0, 3) or not all(one.isdecimal() for one in more[:2]):
        return None
    place = Place(name, _LAST_SLOT - slot, status, agent, key)
    if not more:
        return place
    head = _head_of(place, int(more[0]), int(more[1]), more[2])
    return place._replace(head=head, is_sure=head is not None and size_bytes == len(_SURE))


def stays(name: str, key: str, head: SessionHead) -> bool:
    """Tell whether a head that is to be written may have the place of the one before."""
    before = place_of(name)
    return (
        before is not None
        and before.head is None
        and not _says_all(key, head)
        and name.rpartition("/")[0] == _above(key, head)
    )


def _above(key: str, head: SessionHead) -> str:
    status = key_of(head.status) if head.part_of is None else PART
    return f"{_written(slot_of(head.updated_ns))}/{status}/{_agent_key(head.agent)}/{key}"


def _says_all(key: str, head: SessionHead) -> bool:
    """Tell whether a name says of a session what a brief head does: one that has ended, and stands alone."""
    place = place_of_cursor(head.cursor or "")
    return (
        head.status in ENDED
        and not (head.part_of or head.parts or head.forks)
        and head.updated_ns >= 0
        and session_of(key) is not None
        and (head.agent is None or session_of(_agent_key(head.agent)) is not None)
        and (head.cursor is None or (place is not None and head.cursor == cursor_of(key, place[0])))
    )


def _head_of(place: Place, version: int, updated_ns: int, end: str) -> SessionHead | None:
    session_id = session_of(place.key)
    if session_id is None or (end and not end.isdecimal()):
        return None
    return SessionHead(
        session_id=session_id,
        status=place.status,
        agent=session_of(place.agent),
        updated_ns=updated_ns,
        version=version,
        cursor=cursor_of(place.key, int(end)) if end else None,
    )


class Listing:
    """The places of a store."""

    def __init__(self, bucket: Bucket, layout: Layout, passing: Passing) -> None:
        self._bucket = bucket
        self._layout = layout
        self._passing = passing

    def put(self, name: str) -> str:
        """Write a place that no head names yet; return its ETag."""
        return self._passing.make(self.path(name)).etag

    def make_sure(self, name: str, etag: str) -> None:
        """Say that the head that names a place was put, unless somebody has touched the place since."""
        place = place_of(name)
        if place is not None and place.head is not None:
            self._passing.replace(self.path(name), _SURE, etag)

    def doubt(self, name: str) -> bool:
        """Say that the head that names a place may be written over from now on; tell whether that had to be said."""
        place = place_of(name)
        if place is None or place.head is None:
            return False
        self._passing.replace(self.path(name), _DOUBT)
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Delete places."""
        paths = [self.path(name) for name in names]
        if paths:
            self._passing.delete(paths)

    def has(self, name: str) -> bool:
        """Tell whether a place is there."""
        return self._bucket.etag(self.path(name)) is not None

    def path(self, name: str) -> str:
        """Return the name of a place's object."""
        return self._layout.listing + name

    def places(self, wanted: SessionFilter, oldest: int | None, passed: set[str], few: int | None) -> Iterator[Place]:
        """Yield the places that may be wanted, the newest slot first, down to a slot, but for those passed already.

        Of whom a `few` may be enough they are asked for first.
        """
        after = "" if wanted.until_ns is None else self.path(_written(slot_of(wanted.until_ns)) + "/")
        least = max(oldest or 0, 0 if wanted.since_ns is None else slot_of(wanted.since_ns))
        may_be_wanted = _may_be_wanted(wanted)
        listing = self._layout.listing
        if few is None:
            items = in_parts(self._bucket, listing, after, self.path(_written(least - 1)))
        else:
            items = self._bucket.list(listing, after, few)
        for item in items:
            place = place_of(item.name.removeprefix(listing), item.size_bytes)
            if place is None or place.name in passed:
                continue
            if place.slot < least:
                return
            if may_be_wanted(place):
                yield place


def _may_be_wanted(wanted: SessionFilter) -> Callable[[Place], bool]:
    """Return what tells whether a listing may want the head that names a place."""
    statuses = {key_of(status) for status in wanted.statuses}
    agent = None if wanted.agent is None else _agent_key(wanted.agent)
    prefix = valid_text(wanted.id_prefix or "")

    def may_be(place: Place) -> bool:
        if place.status == PART:
            chosen = wanted.parts
        else:
            chosen = not statuses or place.status in statuses
        session_id = session_of(place.key) if prefix else None
        return (
            chosen and (agent is None or place.agent == agent) and (session_id is None or session_id.startswith(prefix))
        )

    return may_be


def keys_of(names: Iterable[str], prefix: str) -> Iterator[str]:
    """Yield of some names below a prefix the keys of the sessions that they list for themselves."""
    for name in names:
        place = place_of(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if place is not None and place.status != PART:
            yield place.key
