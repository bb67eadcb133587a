"""The rules of heads and their listing that are the same for every backend that decides them itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from otel_agent_journal.projections.head import PROCESSING, SessionHead
from otel_agent_journal.store.protocol import SessionFilter

# A writer that was heard of so short a time before the limit may still be alive: heartbeats come every 15 s, and
# readers take a writer for gone after 60 s.
_ALIVE_NS: Final = 60 * 1_000_000_000


def merged_writers(stored: SessionHead | None, head: SessionHead) -> dict[str, int]:
    """Return when each writer of either head was last seen, the later time of each."""
    writers = dict(stored.writers) if stored else {}
    for writer, last_seen_ns in head.writers.items():
        writers[writer] = max(last_seen_ns, writers.get(writer, last_seen_ns))
    return writers


def is_wanted(head: SessionHead, wanted: SessionFilter) -> bool:
    """Tell whether a listing wants this head."""
    return (
        (not wanted.statuses or head.status in wanted.statuses)
        and (wanted.agent is None or head.agent == wanted.agent)
        and (wanted.since_ns is None or head.updated_ns >= wanted.since_ns)
        and (wanted.until_ns is None or head.updated_ns <= wanted.until_ns)
        and (wanted.id_prefix is None or head.session_id.startswith(wanted.id_prefix))
        and (wanted.parts or head.part_of is None)
    )


def old_sessions(older_than_ns: int) -> SessionFilter:
    """Return what to list for a prune."""
    return SessionFilter(until_ns=older_than_ns - 1, parts=True)


def prunable(
    listed: Iterable[SessionHead], older_than_ns: int, head: Callable[[str], SessionHead | None]
) -> Iterator[SessionHead]:
    """Yield those of the sessions listed that may be deleted; a part goes with its session, never before it.

    Args:
        head: returns the head of the session that one is part of: None where that is gone.
    """
    for one in listed:
        whole = None if one.part_of is None else head(one.part_of)
        if is_prunable(one, older_than_ns) and (whole is None or is_prunable(whole, older_than_ns)):
            yield one


def is_prunable(head: SessionHead, older_than_ns: int) -> bool:
    """Tell whether a session may be deleted: last updated before that time, and nobody is at work in it.

    A step may take days without an event, so of a session in PROCESSING no writer with an open step may have been
    heard of since, nor in the minute before.
    """
    if head.updated_ns >= older_than_ns:
        return False
    alive_ns = older_than_ns - _ALIVE_NS
    seen_ns = (head.writers.get(writer, head.updated_ns) for writer in head.open_writers)
    return head.status != PROCESSING or all(last_seen_ns < alive_ns for last_seen_ns in seen_ns)
