"""Do two stores hold the same of a session? Events by key and body, sequences, blobs and the head.

What a store says of itself counts for nothing here: every digest is made anew from what is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, digest
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.reading.copying import blobs_of
from otel_agent_journal.store.protocol import BlobStore, JournalStore
from otel_agent_journal.store.rules import current, fold_from_beginning, same_head

CHECKS: Final = {
    "missing": "an event is not in the copy",
    "extra": "an event is in the copy alone, or there twice",
    "changed": "an event has another content in the copy",
    "sequence": "an agent instance's sequence is another one in the copy",
    "blob": "a value kept apart is not in the copy, or another one",
    "head": "the copy's head is neither the original's nor what its events amount to",
}
_NAMED: Final = 10  # differences of one kind in one session; more are counted
_BLOBS_TOGETHER: Final = 16  # in one call: a large one is a megabyte


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a session that is not the same in both stores. `check` is one of CHECKS."""

    session_id: str
    check: str
    event_id: str | None
    detail: str


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A session as both stores hold it: how many events the first has, and what is different in the second."""

    events: int
    differences: tuple[Difference, ...]


def compare_session(source: JournalStore, target: JournalStore, session_id: str) -> Compared:
    """Compare what two stores hold of a session, of any length: neither side is kept in memory.

    Raises:
        StoreUnreachable: and other errors of the stores.
    """
    found = _Found(session_id)
    instances: dict[str, None] = {}
    blobs: dict[str, str] = {}
    events = 0
    for ours, theirs in _pairs(source.read(session_id), target.read(session_id)):
        event = ours or theirs
        if event is None:
            continue
        if event.instance_id is not None and event.seq is not None:
            instances[event.instance_id] = None
        if ours is None:
            found.add("extra", event.event_id, f"{event.type} is in the copy alone, or twice")
            continue
        events += 1
        for name in blobs_of(ours.details):
            blobs.setdefault(name, ours.event_id)
        if theirs is None:
            found.add("missing", event.event_id, f"{event.type} is not in the copy")
        elif digest(ours) != digest(theirs):
            found.add("changed", event.event_id, f"{event.type} has another content in the copy")
    for instance_id in instances:
        _compare_instance(source, target, instance_id, found)
    if blobs:
        _compare_blobs(source, target, blobs, found)
    if not found.differences:
        _compare_head(source, target, session_id, found)
    return Compared(events=events, differences=found.all())


class _Found:
    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self._counts: dict[str, int] = {}
        self.differences: list[Difference] = []

    def add(self, check: str, event_id: str | None, detail: str) -> None:
        count = self._counts[check] = self._counts.get(check, 0) + 1
        if count <= _NAMED:
            self.differences.append(
                Difference(session_id=self.session_id, check=check, event_id=event_id, detail=detail)
            )

    def all(self) -> tuple[Difference, ...]:
        more = [
            Difference(session_id=self.session_id, check=check, event_id=None, detail=f"{count - _NAMED:,} more")
            for check, count in self._counts.items()
            if count > _NAMED
        ]
        return (*self.differences, *more)


def _pairs(
    ours: Iterable[JournalEvent], theirs: Iterable[JournalEvent]
) -> Iterator[tuple[JournalEvent | None, JournalEvent | None]]:
    """Yield the events of two ordered streams by key, None where the other has none of that key."""
    left, right = iter(ours), iter(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key < other.key):
            yield one, None
            one = next(left, None)
        elif one is None or other.key < one.key:
            yield None, other
            other = next(right, None)
        else:
            yield one, other
            one, other = next(left, None), next(right, None)


def _compare_instance(source: JournalStore, target: JournalStore, instance_id: str, found: _Found) -> None:
    ours = [(event.seq, event.event_id) for event in source.read_context(instance_id)]
    theirs = [(event.seq, event.event_id) for event in target.read_context(instance_id)]
    if ours != theirs:
        detail = f"instance {instance_id} has {len(ours):,} numbered events, {len(theirs):,} in the copy"
        found.add("sequence", None, detail if len(ours) != len(theirs) else f"instance {instance_id}: others, or moved")


def _compare_blobs(source: JournalStore, target: JournalStore, blobs: dict[str, str], found: _Found) -> None:
    names = list(blobs)
    for start in range(0, len(names), _BLOBS_TOGETHER):
        some = names[start : start + _BLOBS_TOGETHER]
        kept, copied = _kept(source, found.session_id, some), _kept(target, found.session_id, some)
        for name, one in kept.items():
            if name not in copied:
                found.add("blob", blobs[name], f"{name} is not in the copy")
            elif copied[name] != one:
                found.add("blob", blobs[name], f"{name} is another value in the copy")


def _kept(store: Any, session_id: str, names: list[str]) -> dict[str, tuple[str, str]]:
    """Return digest and media type of the values that a store keeps apart, by their names."""
    if not isinstance(store, BlobStore):
        return {}
    found = store.get_blobs(session_id, names)
    hashed = {name: blake2b(blob.data, digest_size=DIGEST_BYTES).hexdigest() for name, blob in found.items()}
    return {name: (hashed[name], blob.media_type) for name, blob in found.items()}


def _compare_head(source: JournalStore, target: JournalStore, session_id: str, found: _Found) -> None:
    """Compare what both would say of the session now: a head that lags says nothing false."""
    ours = current(source, session_id) if source.capabilities.heads else None
    if ours is None or not target.capabilities.heads:
        return
    theirs = current(target, session_id)
    if theirs is None:
        found.add("head", None, "the copy has no head")
        return
    replayed = fold_from_beginning(target, session_id).head(session_id)
    if not same_head(ours, theirs) and not same_head(theirs, replayed):
        found.add("head", None, "the copy's head is neither the original's nor what its events amount to")
