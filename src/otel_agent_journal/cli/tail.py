"""`agent-journal tail`: events as they arrive, of one session or of all. Never skips one, however late it comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from heapq import nlargest
from typing import TYPE_CHECKING, Final, TypeVar

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.readable import NS_PER_S
from otel_agent_journal.errors import SessionNotFound, StoreUnreachable

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.reading.put_by_others import OthersEvents

Result = TypeVar("Result")

LAST: Final = 10  # events shown first when all sessions are followed, as tail(1) does
POLL_S: Final = 0.1
WOKEN_POLL_S: Final = 1.0  # where the store says when to look
AWAY_POLL_S: Final = 1.0  # where it cannot be reached
ADOPT_EVERY_S: Final = 5.0  # how often spools of processes that died meanwhile are looked for
SCANNED: Final = 10_000  # events; a journal of no more is read whole for its last ones


@click.command("tail", short_help="Print events as they arrive, of one session or of all.")
@click.argument("session", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as events arrive, until Ctrl-C.")
@click.option(
    "-n",
    "last",
    type=click.IntRange(min=0),
    metavar="N",
    help="Begin with the last N events. Default: all of a SESSION, else 10.",
)
@common_options
@pass_invocation
def command(invocation: Invocation, session: str | None, follow: bool, last: int | None) -> None:
    """Print events as they arrive, of one session or of all.

    With a session come the events of the traces that are part of it, from the moment on that it is known that they
    are. With -f a journal or a SESSION that is not there yet is waited for, and so is a store that cannot be reached.
    """
    from otel_agent_journal.cli.lines import print_events

    output = invocation.output()
    journal, came = _journal(invocation, follow)
    session_id = _session(journal, session, follow) if session else None
    if last is None and session is None and not came:
        last = LAST
    print_events(output, arriving(output, journal, session_id, last, forever=follow), sessions=session is None)


def arriving(
    output: Output,
    journal: Journal,
    session_id: str | None,
    last: int | None,
    *,
    forever: bool,
    scanned: int = SCANNED,
) -> Iterator[JournalEvent]:
    """Yield the last events, all where `last` is None, then those that arrive; flushes before it waits."""
    from otel_agent_journal.reading.following import Followed

    def begin() -> tuple[Followed, list[JournalEvent]]:
        followed = Followed(journal.store, session_id)
        if last is None:
            return followed, []
        parts = followed.known_parts()
        cursor, found = last_events(journal, session_id, last, followed.others, scanned=0 if parts else scanned)
        followed.go_to(cursor, parts)
        return followed, found

    followed, first = _reached(begin, wait=forever)
    shown = {event.key for event in first}
    yield from first
    output.flush()
    adopted_s = time.monotonic()
    while True:
        found, more = _reached(followed.look, wait=forever)
        yield from (event for event in found if event.key not in shown)
        output.flush()
        if more or not (forever or followed.at_end):
            continue
        if not forever:
            return
        _pause(journal)
        if time.monotonic() - adopted_s > ADOPT_EVERY_S:
            journal.take_in_dead()
            adopted_s = time.monotonic()


def _pause(journal: Journal) -> None:
    """Wait until it is time to look again."""
    from otel_agent_journal.store.protocol import Wakes

    if isinstance(journal.store, Wakes):
        journal.store.wait(WOKEN_POLL_S)
    else:
        time.sleep(POLL_S)


def last_events(
    journal: Journal, session_id: str | None, last: int, others: OthersEvents, *, scanned: int = SCANNED
) -> tuple[str | None, list[JournalEvent]]:
    """Return the last events there are and a cursor from which everything else follows, those perhaps once more.

    A store of up to `scanned` events is read whole; of a larger one the last by time are found from its heads. What
    `others` have put there is had as well afterwards.
    """
    if not last:
        tip = journal.store.tip()
        deque(others.woven(()), maxlen=0)
        return tip, []
    cursor: str | None = None
    kept: deque[JournalEvent] = deque(maxlen=last)
    for _ in range(0, scanned, 1000):
        page = journal.store.follow(cursor, session_id=session_id, limit=1000)
        cursor = page.cursor
        kept.extend(others.woven(page.events))
        if not page.events:
            return cursor, list(kept)
    cursor = journal.store.tip()
    deque(others.woven(()), maxlen=0)
    return cursor, _latest(journal, session_id, last)


def _latest(journal: Journal, session_id: str | None, last: int) -> list[JournalEvent]:
    """Return the events of the latest time, found by going back from the end of each session updated last."""
    from otel_agent_journal.store.protocol import SessionFilter
    from otel_agent_journal.store.rules import current_sessions

    found: list[JournalEvent] = []
    heads = (
        [journal.exact(session_id) or journal.session(session_id)]
        if session_id
        else current_sessions(journal.store, SessionFilter(limit=last))
    )
    for head, recent in journal.each(lambda head: (head, _end_of(journal, head, last)), heads):
        if len(found) == last and head.updated_ns < found[-1].timestamp_ns:
            break  # heads come latest first, so no later one has anything newer
        found = nlargest(last, [*found, *recent], key=lambda event: (event.timestamp_ns, event.event_id))
    return found[::-1]


def _end_of(journal: Journal, head: SessionHead, last: int) -> deque[JournalEvent]:
    """Return the last events of a session, reading as little as it takes."""
    from otel_agent_journal.store.linked import read_whole

    reach_ns = NS_PER_S
    while True:
        after = max(0, head.updated_ns - reach_ns), ""
        recent = deque(read_whole(journal.store, head.session_id, after, head=head), maxlen=last)
        if len(recent) == last or head.updated_ns - reach_ns < head.started_ns:
            return recent
        reach_ns *= 8


def _journal(invocation: Invocation, wait: bool) -> tuple[Journal, bool]:
    """Return the journal, and whether it came into being while we waited."""
    from otel_agent_journal.cli.contract import note

    said = False
    while True:
        try:
            return invocation.journal(), said
        except StoreUnreachable as error:
            if not wait:
                raise
            if not said:
                note(f"waiting: {error}")
                said = True
            time.sleep(POLL_S)


def _session(journal: Journal, text: str, wait: bool) -> str:
    """Return the id of the session meant; one that is waited for is meant by its whole id."""
    from otel_agent_journal.cli.contract import note
    from otel_agent_journal.reading.journal import AmbiguousSession

    try:
        return _reached(lambda: journal.session(text).session_id, wait=wait)
    except AmbiguousSession:
        raise
    except SessionNotFound:
        if not wait:
            raise
    note(f"waiting for session {text}")
    while _reached(lambda: journal.exact(text), wait=True) is None:
        time.sleep(POLL_S)
    return text


def _reached(call: Callable[[], Result], *, wait: bool) -> Result:
    """Return what a call to the store does; where it is to `wait`, one that cannot be reached is called again."""
    from otel_agent_journal.cli.contract import note

    said = False
    while True:
        try:
            return call()
        except StoreUnreachable as error:
            if not wait:
                raise
            if not said:
                note(f"waiting: {error}")
                said = True
            time.sleep(AWAY_POLL_S)
