"""A journal of many sessions, and what readers and an operator ask of it: for its counts, and for the benchmark.

Sessions are of ten events, one a minute, the newest first: an agent and four tools. They are written as drains do it, a
thousand events at a time, each head with the cursor that it is folded up to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.projections.status import fold
from otel_agent_journal.query import query
from otel_agent_journal.reading.following import Followed
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.rules import Folded, prune
from otel_agent_journal.threads import side_by_side

EACH: Final = 10  # events of a session
AGENTS: Final = ("researcher", "writer", "reviewer", "planner")
_AT_A_TIME: Final = 100  # sessions
_MINUTE_NS: Final = 60 * 10**9
_MS: Final = 10**6


def session_id_of(number: int) -> str:
    """Return the id of a session, 0 the newest."""
    return f"session-{derived_id(str(number))[:12]}"


def events_of(number: int, now_ns: int) -> list[JournalEvent]:
    """Return the events of a session; every tenth failed."""
    session_id, at_ns = session_id_of(number), now_ns - (number + 1) * _MINUTE_NS
    root, outcome = derived_id(f"{session_id}:root"), "ok" if number % 10 else "error"

    def event(place: int, kind: str, step: str, **fields: Any) -> JournalEvent:
        return JournalEvent(
            session_id=session_id,
            event_id=derived_id(f"{session_id}:{place}"),
            type=kind,
            timestamp_ns=at_ns + place * _MS,
            writer="w" * 32,
            step_id=step,
            attempt=1,
            **fields,
        )

    made = [event(0, "AGENT_START", root, name=AGENTS[number % len(AGENTS)], details={"input": "a question"})]
    for place in range(1, EACH - 1, 2):
        step = derived_id(f"{session_id}:step {place}")
        common = {"name": "search", "parent_step_id": root}
        made.append(event(place, "TOOL_START", step, details={"input": {"page": place}}, **common))
        made.append(
            event(place + 1, "TOOL_END", step, outcome="ok", duration_ns=_MS, details={"output": "x"}, **common)
        )
    usage = Usage(input_tokens=100, output_tokens=20)
    made.append(event(EACH - 1, "AGENT_END", root, outcome=outcome, duration_ns=9 * _MS, usage=usage))
    return made


def fill(store: JournalStore, first: int, last: int, now_ns: int) -> None:
    """Write sessions `first` to `last`, the latter excluded."""
    for start in range(first, last, _AT_A_TIME):
        sessions = {number: events_of(number, now_ns) for number in range(start, min(start + _AT_A_TIME, last))}
        arrived = store.append([event for events in sessions.values() for event in events]) or {}

        def settle(number: int) -> None:
            session_id = session_id_of(number)
            folded = Folded(fold(sessions[number]), arrived[session_id].cursor)  # noqa: B023 - done before the next
            assert store.write_head(folded.head(session_id)) is not None

        for _ in side_by_side(settle, sessions, store.capabilities.threads):
            pass


class Asked(NamedTuple):
    """Something that is asked of a journal: what it is called, and how; what is returned says that it was answered."""

    name: str
    ask: Callable[[], Any]


def questions(store: JournalStore, spool: Path, session_id: str, waited_for: Callable[[str], Any]) -> Iterator[Asked]:
    """Yield what is asked of one session, and of the latest: what costs the same however many others there are.

    Args:
        store: the store, opened as readers do.
        spool: an empty folder.
        session_id: one of the sessions.
        waited_for: waits for a session, by a store of its own.
    """
    journal = Journal(store, spool)

    def show() -> int:
        head = journal.exact(session_id)
        assert head is not None
        return len(journal.tree(head).steps)

    def tail() -> int:
        followed, count = Followed(store, session_id), 0
        while not followed.at_end:
            count += len(followed.look()[0])
        return count

    def latest(more: str = "", *, count: int = 20) -> int:
        return len(rows(store, f"SELECT session_id FROM sessions {more} ORDER BY updated_at DESC LIMIT {count}"))

    yield Asked("ls", lambda: len(list(journal.heads(SessionFilter(limit=50)))))
    yield Asked("status", lambda: journal.session(session_id).status)
    yield Asked("show", show)
    yield Asked("tail", tail)
    yield Asked("wait_for", lambda: waited_for(session_id))
    yield Asked("query: the latest 20", latest)
    yield Asked("query: the latest 5 that failed", lambda: latest("WHERE status = 'ERROR'", count=5))


def rows(store: JournalStore, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(query(store, sql, timeout_s=3600)) as result:
        return list(result.rows())


def of_all(store: JournalStore, now_ns: int, count: int) -> Iterator[Asked]:
    """Yield what is asked of many sessions. The tenth that is oldest is pruned."""
    day_ns = now_ns - min(1440, count // 10) * _MINUTE_NS
    failed = f"SELECT session_id, agent FROM sessions WHERE status = 'ERROR' AND updated_ns >= {day_ns}"
    oldest_ns = now_ns - (count - count // 10) * _MINUTE_NS
    yield Asked("query by status and time", lambda: len(rows(store, failed)))
    yield Asked("counts by agent", lambda: rows(store, "SELECT agent, count(*) FROM sessions GROUP BY agent"))
    yield Asked("prune, dry run", lambda: prune(store, oldest_ns, dry_run=True))
    yield Asked("prune", lambda: prune(store, oldest_ns))


def took(ask: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that it takes, and the answer."""
    began = time.monotonic()
    answer = ask()
    return time.monotonic() - began, answer
