"""The head of a session: what a listing shows of it, cached beside its events.

A head is a cache of `status.py`'s fold and always equals a replay. Stores keep it, the drain writes it, and
readers judge it against the time they read it at. This module holds the data alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

PENDING: Final = "PENDING"
PROCESSING: Final = "PROCESSING"
COMPLETED: Final = "COMPLETED"
ERROR: Final = "ERROR"
INTERRUPTED: Final = "INTERRUPTED"
STATUSES: Final = (PENDING, PROCESSING, COMPLETED, ERROR, INTERRUPTED)

KILLED: Final = "killed"
LOST: Final = "lost"
CANCELLED: Final = "cancelled"
AWAITING_INPUT: Final = "awaiting_input"
REASONS: Final = (KILLED, LOST, CANCELLED, AWAITING_INPUT)


class SessionHead(msgspec.Struct, frozen=True, kw_only=True):
    """One session at a glance.

    Times are UTC nanoseconds, 0 where not known. `steps` counts distinct step ids, `errors` attempts that ended in
    error. `writers` maps each writer to when it was last seen; `open_writers` are those with a step still open.
    `part_of` is the session that a linked trace belongs to, `parts` are the traces that belong to this one, the first
    `links.MAX_LISTED` of them: their events are counted here. `version` is the store's: a head is written only over the
    version it was read at (0: there was none).
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
    version: int = 0
