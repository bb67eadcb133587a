"""The head of a session: what a listing shows of it, cached beside its events.

A head is a cache and an index, never evidence: it says up to where it is folded (`cursor`), and has what is needed to
fold on from there (`snapshot`), so that whoever judges a session takes the head and what is behind it. Stores keep it,
the drain writes it. This module holds the data alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from heapq import nlargest
from typing import Final

import msgspec

from otel_agent_journal.projections.about import NOTHING, About

PENDING: Final = "PENDING"
PROCESSING: Final = "PROCESSING"
COMPLETED: Final = "COMPLETED"
ERROR: Final = "ERROR"
INTERRUPTED: Final = "INTERRUPTED"
ENDED: Final = (COMPLETED, ERROR, INTERRUPTED)
STATUSES: Final = (PENDING, PROCESSING, *ENDED)

KILLED: Final = "killed"
LOST: Final = "lost"
CANCELLED: Final = "cancelled"
AWAITING_INPUT: Final = "awaiting_input"
REASONS: Final = (KILLED, LOST, CANCELLED, AWAITING_INPUT)

# What a head lists is bounded, since a session may go on for years: some 60 bytes each, and a DynamoDB item has 400 KB.
MAX_WRITERS: Final = 100
MAX_OPEN_WRITERS: Final = 500


class SessionHead(msgspec.Struct, frozen=True, kw_only=True):
    """One session at a glance.

    Times are UTC nanoseconds, 0 where not known. `steps` counts distinct step ids, `errors` attempts that ended in
    error. `writers` maps writers to when they were last seen: the latest `MAX_WRITERS`, and those with a step still
    open, which `open_writers` are (of more than `MAX_OPEN_WRITERS` those seen first and last).
    `part_of` is the session that a linked trace belongs to, `parts` are the traces that belong to this one, the first
    `links.MAX_LISTED` of them: their events are counted here. `forked_from` is the session that this one was forked
    from, `forks` are the first `links.MAX_LISTED` that were forked from it. `about` is whose it is, and which processes
    wrote it. `version` is the store's: a head is written
    only over the version it was read at (0: there was none). `cursor` is that of `JournalStore.follow` for this session
    after the last event that was folded, `snapshot` what `projections.snapshot` makes of the fold; of a session with
    parts, or where it would be too large, there is none.
    """

    session_id: str
    status: str = PENDING
    reason: str | None = None
    agent: str | None = None
    stage: str | None = None
    progress: float | None = None
    events: int = 0
    steps: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    started_ns: int = 0
    updated_ns: int = 0
    ended_ns: int | None = None
    writers: Mapping[str, int] = {}
    open_writers: tuple[str, ...] = ()
    part_of: str | None = None
    parts: tuple[str, ...] = ()
    forked_from: str | None = None
    forks: tuple[str, ...] = ()
    about: About = NOTHING
    version: int = 0
    cursor: str | None = None
    snapshot: bytes = b""


def bounded_writers(writers: Mapping[str, int], open_writers: Collection[str]) -> dict[str, int]:
    """Return of the writers of a head those that it names, in order of their ids."""
    if len(writers) > MAX_WRITERS:
        latest = nlargest(MAX_WRITERS, writers, key=lambda writer: (writers[writer], writer))
        writers = {writer: writers[writer] for writer in {*latest, *open_writers} if writer in writers}
    return dict(sorted(writers.items()))


def bounded_open_writers(open_writers: Collection[str], writers: Mapping[str, int]) -> tuple[str, ...]:
    """Return of the writers with an open step those that a head names, in order of their ids."""
    if len(open_writers) > MAX_OPEN_WRITERS:
        by_time = sorted(open_writers, key=lambda writer: (writers.get(writer, 0), writer))
        half = MAX_OPEN_WRITERS // 2
        open_writers = (*by_time[:half], *by_time[-half:])
    return tuple(sorted(open_writers))
