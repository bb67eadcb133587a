"""How sessions are related: which traces are part of one (SESSION_LINKED), and which were forked from it.

Each is said in the one and in the other.

A trace whose session was not known is a session of its own, under the trace's id; once a span names the session, both
are told. A link is believed of the two alone that it is about, and followed in one hop: from a session to its traces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_agent_journal.event import SESSION_FORKED, SESSION_LINKED, JournalEvent

MAX_LISTED: Final = 1000  # parts, and forks, that a head names, some 36 bytes each; a DynamoDB item has 400 KB

Links = Mapping[tuple[str, str], int]  # session and trace, or base and fork, and when it was said


def link_of(event: JournalEvent) -> tuple[str, str] | None:
    """Return the session and the trace that an event links, None where it links nothing."""
    if event.type != SESSION_LINKED:
        return None
    session_id, trace_id = event.details.get("session"), event.details.get("trace")
    if not isinstance(session_id, str) or not isinstance(trace_id, str) or session_id == trace_id:
        return None
    return (session_id, trace_id) if event.session_id in (session_id, trace_id) else None


def fork_of(event: JournalEvent) -> tuple[str, str] | None:
    """Return the session that was forked and the one that was made of it, where an event says so."""
    if event.type != SESSION_FORKED:
        return None
    base, fork = event.details.get("base"), event.details.get("fork")
    if not isinstance(base, str) or not isinstance(fork, str) or base == fork:
        return None
    return (base, fork) if event.session_id in (base, fork) else None


def forks_of(forks: Links, session_id: str) -> tuple[str, ...]:
    """Return the sessions that were forked from one."""
    return tuple(sorted(fork for base, fork in forks if base == session_id))


def forked_from(forks: Links, session_id: str) -> str | None:
    """Return the session that one was forked from: the first that it was said of."""
    return min(((at, base) for (base, fork), at in forks.items() if fork == session_id), default=(0, None))[1]


def part_named_by(event: JournalEvent) -> str | None:
    """Return the trace that an event makes part of its session."""
    link = link_of(event)
    return link[1] if link is not None and link[0] == event.session_id else None


def parts_of(links: Links, session_id: str) -> tuple[str, ...]:
    """Return the traces that are part of a session."""
    return tuple(sorted(trace_id for session, trace_id in links if session == session_id))


def wholes_of(links: Links, trace_id: str) -> tuple[str, ...]:
    """Return the sessions that say a trace is part of them: the first that did, first."""
    return tuple(
        session for _, session in sorted((at, session) for (session, one), at in links.items() if one == trace_id)
    )


def part_of(links: Links, session_id: str) -> str | None:
    """Return the session that this one is part of; one that has parts itself is part of none."""
    return None if parts_of(links, session_id) else next(iter(wholes_of(links, session_id)), None)
