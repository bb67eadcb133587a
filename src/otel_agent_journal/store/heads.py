"""The rules of heads and their listing that are the same for every backend that decides them itself. Pure."""

from __future__ import annotations

from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import SessionFilter


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
    )
