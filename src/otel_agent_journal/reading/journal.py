"""A journal as readers see it: the spools of dead writers taken in first, sessions by id and prefix, read whole.

Knows no terminal. Heads come out judged: a session whose process has gone silent is INTERRUPTED here, whatever its
stored head still says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice, starmap
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from otel_agent_journal.errors import SessionNotFound
from otel_agent_journal.event import END_TYPES, START_TYPES, ErrorInfo, JournalEvent, kind_of
from otel_agent_journal.projections.about import REPLAY_OF
from otel_agent_journal.projections.cost import NO_CALLS, Billed, Cost, Rates
from otel_agent_journal.projections.head import ERROR, INTERRUPTED, PROCESSING, SessionHead
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.paid import own_costs
from otel_agent_journal.projections.spent import NONE_SPENT
from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.projections.verdict import judged, silent_writers
from otel_agent_journal.reading.blobs import Blobs
from otel_agent_journal.reading.endings import deciding_event
from otel_agent_journal.reading.own_sessions import is_own
from otel_agent_journal.reading.prices import PriceList, Prices
from otel_agent_journal.spool.survey import survey
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.rules import current, current_sessions, whole_of
from otel_agent_journal.threads import side_by_side

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")

_SPARE: Final = 4  # sessions beyond a limit that are listed with it, in place of ours
_MAX_NAMED: Final = 5  # candidates that an error names
_MAX_LISTED: Final = 50  # sessions whose ids begin so that are looked at: the replays of one may be among them
_LOOK_EVERY_S: Final = 0.02  # while others take in
_SECOND_NS: Final = 1_000_000_000
_RECENT_NS: Final = 600 * _SECOND_NS  # how far before its last event a running step is looked for in a listing


class AmbiguousSession(SessionNotFound):
    """Several sessions have an id that begins so."""


class Journal:
    """An open store and its spool. `clock` returns UTC nanoseconds.

    Args:
        store: the store; it is closed with the journal.
        spool: the folder of its spool on this machine.
        take_in: delivers what dead writers left in the spool; what cannot be delivered now is left for the next reader.
        note: takes a line that readers should see beside what they asked for.
        prices: opens what calls are billed at, when that is first asked for; without, nobody knows.
    """

    def __init__(
        self,
        store: JournalStore,
        spool: Path,
        *,
        take_in: Callable[[], object] = lambda: None,
        note: Callable[[str], object] = lambda line: None,
        prices: Callable[[], Prices] | None = None,
    ) -> None:
        self.store = store
        self.spool = spool
        self.clock = time.time_ns
        self._take_in = take_in
        self._note = note
        self._open_prices = prices
        self._blobs = Blobs(store)

    @cached_property
    def prices(self) -> Prices:
        """What calls are billed at. Raises `ConfigError` where the user's own prices are malformed."""
        return Prices((), PriceList(None)) if self._open_prices is None else self._open_prices()

    def price(self, billed: Billed) -> Rates | None:
        """Return what a call is billed at; None where nobody knows."""
        return self.prices(billed)

    def cost(self, head: SessionHead) -> Cost:
        """Return what a session's calls cost, by its head."""
        spent = head.about.spent
        return spent.cost(self.price) if spent != NONE_SPENT else NO_CALLS

    def costs(self, tree: StepTree) -> dict[str, Cost]:
        """Return what the attempts of a session cost themselves, by their keys."""
        return own_costs(tree, self.price)

    def close(self) -> None:
        """Close the store, and keep what was looked up of prices."""
        if "prices" in self.__dict__:
            self.prices.listed.keep()
        self.store.close()

    def take_in_dead(self, *, patience_s: float = 0.0) -> bool:
        """Deliver what dead writers left in the spool; return whether nobody else is at it any more.

        Args:
            patience_s: to wait for others that are at it, the drain of this very process among them.
        """
        deadline = time.monotonic() + patience_s
        while True:
            folders = survey(self.spool).folders
            if any(folder.is_left for folder in folders):  # or whoever was at it let go of it
                self._take_in()
                folders = survey(self.spool).folders
            if not any(folder.is_taken_in for folder in folders):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_EVERY_S)

    def heads(
        self, wanted: SessionFilter, tags: Collection[str] = (), labels: Collection[tuple[str, str]] = ()
    ) -> Iterator[SessionHead]:
        """Yield the judged heads of agents' sessions, the latest updated first; filters apply to the status as judged.

        Our own (`own_sessions`) are left out, but where they are asked for by the beginning of their id.

        Args:
            wanted: what the store filters by.
            tags: what each must have: see `About.has`.
            labels: names and values that its metadata must have, `user` and `tenant` among them.
        """
        statuses = wanted.statuses
        asked = statuses
        if INTERRUPTED in statuses and PROCESSING not in statuses:
            asked = (*statuses, PROCESSING)
        exact = (PROCESSING not in asked or not asked) and not tags and not labels
        stored = msgspec.structs.replace(wanted, statuses=asked, limit=wanted.limit if exact else None)
        now_ns, waiting = self.clock(), self.waiting()
        found = (judged(head, now_ns, waiting_writers=waiting) for head in self._of_agents(stored))
        chosen = (head for head in found if not statuses or head.status in statuses)
        told = (head for head in chosen if all(map(head.about.has, tags)))
        yield from islice((head for head in told if all(starmap(head.about.says, labels))), wanted.limit)

    def _of_agents(self, wanted: SessionFilter) -> Iterator[SessionHead]:
        """Yield the sessions that are wanted, without ours: where few will do, a few more are listed for these."""
        if wanted.id_prefix:
            yield from current_sessions(self.store, wanted)
            return
        seen: set[str] = set()
        if wanted.limit is not None:
            limit = wanted.limit + _SPARE
            for head in current_sessions(self.store, msgspec.structs.replace(wanted, limit=limit)):
                seen.add(head.session_id)
                if not is_own(head.session_id):
                    yield head
            if len(seen) < limit:
                return
        for head in current_sessions(self.store, msgspec.structs.replace(wanted, limit=None)):
            if head.session_id not in seen and not is_own(head.session_id):
                yield head

    def each(self, work: Callable[[_Given], _Result], given: Iterable[_Given]) -> Iterator[_Result]:
        """Yield what `work` returns for each of several, in their order: side by side where the store is read so.

        Raises:
            StoreUnreachable: and other errors of the store, in the turn of the one that met it.
        """
        return side_by_side(work, given, self.store.capabilities.threads)

    def running(self, agent: str | None = None) -> Iterator[SessionHead]:
        """Yield the heads of the sessions that are under way as far as their events say, however silent: not judged."""
        return self._of_agents(SessionFilter(statuses=(PROCESSING,), agent=agent))

    def waiting(self) -> frozenset[str]:
        """Return the writers of whose events some still wait in the spool."""
        return survey(self.spool).waiting_writers

    def silent(self, head: SessionHead) -> tuple[str, ...]:
        """Return the writers of a head that have an open step and have gone silent."""
        return silent_writers(head, self.clock(), waiting_writers=self.waiting())

    def newest(self) -> SessionHead | None:
        """Return the session updated last, or None in an empty journal."""
        return next(self._of_agents(SessionFilter(limit=1)), None)

    def events(
        self, session_id: str, head: SessionHead | None = None, *, after: tuple[int, str] | None = None
    ) -> Iterator[JournalEvent]:
        """Yield the events of a session and of its parts, in the session's order.

        Args:
            session_id: the session.
            head: its head, where it is at hand.
            after: the position, time and id, behind which they are wanted.
        """
        return read_whole(self.store, session_id, after, head=head)

    def tree(
        self,
        head: SessionHead,
        *,
        in_full: str | None = None,
        taken: Callable[[JournalEvent], JournalEvent] = outline,
    ) -> StepTree:
        """Return a session's step tree; steps of writers gone silent are interrupted in it.

        Args:
            head: the session's.
            in_full: the id of the step of which all that was taken, given and noted is wanted; of others it is left
                out as they are read, so that a session's content is never in memory.
            taken: what of their events is kept.
        """
        events = read_whole(self.store, head.session_id, head=head)
        shown = (event if event.step_id is not None and event.step_id == in_full else taken(event) for event in events)
        return fold_steps(shown, lost_writers=self.silent(head))

    def judged(self, head: SessionHead) -> SessionHead:
        """Return a head as it should be shown now."""
        return judged(head, self.clock(), waiting_writers=self.waiting())

    def error_of(self, head: SessionHead) -> ErrorInfo | None:
        """Return why a session failed, where that made its status."""
        event = deciding_event(self.store, head) if head.status == ERROR else None
        return None if event is None else event.error

    def session(self, text: str) -> SessionHead:
        """Return the head, not judged, of the session with this id, or of the only one whose id begins so.

        Of a trace that is part of a session it is the session's, and that is said. Costs a listing only where no
        session has this very id.

        Raises:
            SessionNotFound: none does, or several do: then it names them.
        """
        exact = self.exact(text)
        return self._near(text) if exact is None else self._whole(exact)

    def _near(self, text: str) -> SessionHead:
        near = _without_replays(self._beginning_so(text)) if text else []
        if len(near) == 1:
            return near[0]
        if near:
            named = ", ".join(map(self._told, near[:_MAX_NAMED]))
            more = f"{len(near)} candidates" if len(near) <= _MAX_NAMED else f"more than {_MAX_NAMED} candidates"
            raise AmbiguousSession(
                text, f"{more}: {named}{', …' if len(near) > _MAX_NAMED else ''}; give more of the id"
            )
        newest = self.newest()
        hint = f"the newest is {newest.session_id}; " if newest else "the journal is empty; "
        raise SessionNotFound(text, f"{hint}agent-journal ls lists them all")

    def _told(self, head: SessionHead) -> str:
        """Return a session as one of several: its id, status, and when it was last updated."""
        judged = self.judged(head)
        moment = datetime.fromtimestamp(judged.updated_ns // _SECOND_NS, tz=UTC).astimezone()
        return f"{head.session_id} ({judged.status}, {moment:%Y-%m-%d %H:%M:%S})"

    def _beginning_so(self, prefix: str) -> list[SessionHead]:
        """Return sessions whose ids begin so; where there are none, those of the parts whose ids do."""
        wanted = SessionFilter(id_prefix=prefix, limit=_MAX_LISTED)
        near = list(current_sessions(self.store, wanted))
        if near:
            return near
        parts = current_sessions(self.store, msgspec.structs.replace(wanted, parts=True))
        return list({whole.session_id: whole for whole in map(self._whole, parts)}.values())

    def _whole(self, head: SessionHead) -> SessionHead:
        whole = whole_of(self.store, head)
        if whole is not head:
            self._note(f"{head.session_id} is part of session {whole.session_id}")
        return whole

    def exact(self, session_id: str) -> SessionHead | None:
        """Return the head of the session with this id as its events have it now, not judged; None where it has none."""
        return current(self.store, session_id)

    def session_and_step(self, text: str) -> tuple[SessionHead, str | None]:
        """Return the session, and what of a step is named behind `/` or `@`. Session ids may hold these themselves.

        An exact id counts before the beginning of another one, a longer reading before a shorter one.

        Raises:
            SessionNotFound: no reading of `text` names a session.
        """
        places = [place for place, letter in enumerate(text) if letter in "/@" and place]
        readings = [(text, None), *((text[:place], text[place + 1 :] or None) for place in reversed(places))]
        for session_id, step in readings:
            exact = self.exact(session_id)
            if exact is not None:
                return self._whole(exact), step
        failed = SessionNotFound(text, "")
        for session_id, step in readings:
            try:
                return self._near(session_id), step
            except SessionNotFound as error:
                failed = error
        raise failed

    def running_step(self, head: SessionHead) -> str | None:
        """Return kind and name of the step that began last of those open, None where none is found.

        Goes back from the session's last event only as far as it must, so that a listing stays quick.
        """
        reach_ns = _SECOND_NS
        while True:
            open_steps: dict[str | None, str] = {}
            after = max(0, head.updated_ns - reach_ns), ""
            for event in read_whole(self.store, head.session_id, after, head=head):
                if event.type in START_TYPES:
                    open_steps[event.step_id] = f"{(kind_of(event.type) or '').lower()} {event.name or ''}".strip()
                elif event.type in END_TYPES:
                    open_steps.pop(event.step_id, None)
            if open_steps:
                return next(reversed(open_steps.values()))
            if head.updated_ns - reach_ns < head.started_ns or reach_ns > _RECENT_NS:
                return None
            reach_ns *= 8

    def resolved(self, session_id: str, value: Any) -> Any:
        """Return a value with every blob reference in it replaced by what it refers to, where that is kept."""
        return self._blobs.resolved(session_id, value)

    def without_media(self, session_id: str, value: Any) -> Any:
        """Return a value with blob references replaced but those to media, which people are told of, not shown."""
        return self._blobs.resolved(session_id, value, media=False)

    def blob(self, session_id: str, digest: str) -> bytes | None:
        """Return a value that a session or a part of it keeps apart, as JSON text, or None where it is not there."""
        return self._blobs.get(session_id, digest)


def _without_replays(heads: list[SessionHead]) -> list[SessionHead]:
    """Return those that are no replays of one of them; a replay begins with the id of what it is of."""
    there = {head.session_id for head in heads}
    return [head for head in heads if head.about.labels.get(REPLAY_OF) not in there]


def has_dead(spool: Path) -> bool:
    """Tell whether a spool holds something of a writer that is gone, whether or not somebody takes it in."""
    return any(folder.is_left or folder.is_taken_in for folder in survey(spool).folders)
