"""Sends what arrives in a store on to one sink, from a thread of its own, with a store and a cursor of its own.

It follows the store, behind the drain: what it has not sent the store keeps, so that neither an agent, nor the drain,
nor another sink waits for it, and a sink that is away for a month takes no room in any spool. The cursor moves when all
before it was taken: killed at any moment, it sends a little again and leaves nothing out.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Final

import msgspec

from otel_agent_journal import forks
from otel_agent_journal.errors import JournalError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.sinks.places import Place, Places, holder_here, name_of
from otel_agent_journal.sinks.port import Sink
from otel_agent_journal.sinks.registry import NOW, START
from otel_agent_journal.sinks.transfer import Transfer
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.threads import Changes, Thread, start_thread
from otel_agent_journal.uninstrumented import uninstrumented

_log = logging.getLogger("otel_agent_journal.sinks")

PAGE: Final = 500  # events that are held at a time
LINGER_S: Final = 0.2  # after a call of `poke`, for company
IDLE_S: Final = 2.0  # between looks where nobody pokes: other machines write to the store, too
AWAY_S: Final = 5.0  # between tries while the store is away
_OTHERS_TURN: Final = 5  # times as long between looks, while it is another's turn
SAVE_S: Final = 1.0  # between writes of the cursor, while there is more to send
RENEW_S: Final = 10.0  # of a turn, well before it runs out
_NO_END_S: Final = 1e9
FAILING_S: Final = 1.0  # for which a stop goes on with a sink that is known to take nothing


class ShipStats(msgspec.Struct, frozen=True, kw_only=True):
    """What a shipper has done, and knows. Counts are of events.

    `pending`: read, and not taken yet. `oldest_ns`: when the oldest of these happened. `caught_up`: there was no more
    at the last look. `held_by_other`: somebody else sends to this sink. `last_error` stays, `is_failing` says whether
    it still holds.
    """

    sink: str
    sent: int = 0
    withheld: int = 0
    failures: int = 0
    pending: int = 0
    oldest_ns: int = 0
    caught_up: bool = False
    held_by_other: bool = False
    is_failing: bool = False
    last_error: str | None = None


class Shipper:
    """Sends to one sink, in a thread (`start`) or at once (`ship_once`). Nothing public raises but `ship_once`.

    Args:
        url: the sink's, as it was given.
        sink: it, opened.
        store: opens a store of the shipper's own.
        begin: where a sink begins that was never sent anything: `START` or `NOW`.
        clock: UTC nanoseconds.
        idle_s: between looks where nobody pokes.
    """

    def __init__(
        self,
        url: str,
        sink: Sink,
        store: Callable[[], JournalStore],
        *,
        begin: str = START,
        clock: Callable[[], int] = time.time_ns,
        idle_s: float = IDLE_S,
    ) -> None:
        self._name = name_of(url)
        self._sink = sink
        self._open = store
        self._begin = begin
        self._clock = clock
        self._idle_s = idle_s
        self._reset()
        forks.join(self, forks.Place.DELIVERY)

    def _reset(self) -> None:
        self._changes = Changes()
        self._thread: Thread | None = None
        self._transfer = Transfer(self._sink, wait=self._wait)
        self._store: JournalStore | None = None
        self._places: Places | None = None
        self._place: Place | None = None
        self._counted = (0, 0)  # of what was sent and withheld, that is in the place
        self._cursor: str | None = None
        self._page: tuple[JournalEvent, ...] = ()
        self._saved_at = self._moved_at = float("-inf")
        self._poked = self._seen = 0
        self._stop_at = float("inf")
        self._failing_s = FAILING_S
        self._moved_sent = 0
        self._caught_up = self._held_by_other = self._is_done = False
        self._store_error: str | None = None
        self._failing_at = float("inf")
        self._said: str | None = None

    def after_fork(self) -> None:
        """Become, in a forked child, a shipper that was never started."""
        self._reset()

    # --- in a thread ---

    def start(self) -> None:
        """Send in a daemon thread from now on. Does nothing where it runs already."""
        if self._thread is None or not self._thread.is_alive():
            self._stop_at = float("inf")
            self._thread = start_thread(self._run)

    def poke(self) -> None:
        """Say that something was appended. Never waits."""
        self._poked += 1
        self._changes.tell()

    def close(self, timeout_s: float) -> ShipStats:
        """Send what is there, within `timeout_s`, and end; return how it stands.

        Gives up earlier on a sink that is known to take nothing. May be called twice.
        """
        thread = self._thread
        self.end(timeout_s)
        if thread is not None and not thread.is_current:
            thread.join(timeout_s + FAILING_S)
        return self.stats

    def end(self, timeout_s: float) -> None:
        """Have it end as `close` does, without waiting for that."""
        now = time.monotonic()
        self._moved_at = max(self._moved_at, now)
        self._stop_at = min(self._stop_at, now + timeout_s)
        self._changes.tell()

    @property
    def stats(self) -> ShipStats:
        """How it stands."""
        transfer, page = self._transfer, self._page
        pending = transfer.pending
        return ShipStats(
            sink=self._sink.url,
            sent=transfer.sent,
            withheld=transfer.withheld,
            failures=transfer.failures,
            pending=pending,
            oldest_ns=min((event.timestamp_ns for event in page), default=0) if pending else 0,
            caught_up=self._caught_up,
            held_by_other=self._held_by_other,
            is_failing=transfer.is_failing or self._store_error is not None,
            last_error=self._store_error or transfer.last_error,
        )

    @uninstrumented()
    def _run(self) -> None:
        while True:
            self._seen = self._poked
            try:
                pause_s = self._step()
            except JournalError as error:
                self._store_error, self._caught_up, pause_s = str(error), False, AWAY_S
            except Exception as error:  # noqa: BLE001 - whatever it was, the store has the events and the agent goes on
                self._store_error, self._caught_up, pause_s = f"{type(error).__name__}: {error}", False, AWAY_S
            self._say(amid_page=False)
            if self._is_over(pause_s):
                break
            if pause_s:
                self._changes.wait_until(self._is_due, pause_s)
                self._changes.wait_until(self._is_stopping, LINGER_S if self._poked != self._seen else 0.0)
        self._end()

    def _say(self, *, amid_page: bool) -> None:
        """Log why nothing is taken: amid a page once that lasts, each reason once, and again once it was well."""
        why = self._store_error or (self._transfer.last_error if self._transfer.is_failing else None)
        now = time.monotonic()
        if why is None:
            self._failing_at, self._said = float("inf"), None
            return
        self._failing_at = min(self._failing_at, now)
        if why != self._said and (not amid_page or now >= self._failing_at + FAILING_S):
            _log.warning("sink=<%s>, error=<%s> | events wait in the store", self._sink.url, why)
            self._said = why

    def _is_stopping(self) -> bool:
        return self._stop_at != float("inf")

    def _is_due(self) -> bool:
        is_waiting = self._held_by_other or self._store_error is not None
        return self._is_stopping() or (self._poked != self._seen and not is_waiting)

    def _is_over(self, pause_s: float) -> bool:
        """Tell whether to end: asked to, and all is sent, or cannot be, or the time is up."""
        if not self._is_stopping():
            return False
        return self._is_done or self._held_by_other or self._store_error is not None or self._gives_up()

    def _gives_up(self) -> bool:
        now = time.monotonic()
        is_stuck = self._is_stopping() and self._transfer.is_failing and now >= self._moved_at + self._failing_s
        return now >= self._stop_at or is_stuck

    def _wait(self, seconds: float) -> bool:
        """Wait between two requests, as `Transfer` does; return whether to go on."""
        end = time.monotonic() + seconds
        if self._transfer.sent != self._moved_sent:
            self._moved_sent, self._moved_at = self._transfer.sent, time.monotonic()
        self._say(amid_page=True)
        while True:
            self._keep_turn()
            left = end - time.monotonic()
            if not self._is_ours() or self._gives_up():
                return False
            if left <= 0:
                return True
            stopping = self._is_stopping()
            left = min(left, RENEW_S, self._stop_at - time.monotonic(), self._failing_s if stopping else left)
            self._changes.wait_until(lambda was=stopping: self._is_stopping() != was, left)

    def _keep_turn(self) -> None:
        """Renew the turn amid a page, and have it said at once where the sink takes nothing."""
        place = self._place
        if place is None:
            return
        is_news = self._transfer.is_failing and place.error is None
        if is_news or time.monotonic() >= self._saved_at + RENEW_S:
            try:
                self._write(place, release=False)
            except JournalError:
                self._saved_at = time.monotonic()  # the store's trouble; the page goes on

    # --- at once ---

    @uninstrumented()
    def ship_once(self, *, patience_s: float, progress: Callable[[int], object] = lambda _sent: None) -> ShipStats:
        """Send everything that is there, in this thread, and return how it stands.

        Args:
            patience_s: how long a sink that takes nothing is tried.
            progress: called with how many events were sent by now.

        Raises:
            StoreError: the store cannot be read.
        """
        self._moved_at = time.monotonic()
        self._stop_at, self._failing_s = self._moved_at + _NO_END_S, patience_s
        try:
            while not (self._is_done or self._held_by_other or self._gives_up()):
                self._step()
                progress(self._transfer.sent)
        finally:
            self._end()
        return self.stats

    # --- one step ---

    def _step(self) -> float:
        """Send a page; return the seconds until it is worth looking again, 0 where there may be more."""
        if not self._is_ours() and not self._took_turn():
            return _OTHERS_TURN * self._idle_s
        store, is_last_look = self._store, self._is_stopping()
        assert store is not None
        page = store.follow(self._cursor, limit=PAGE)
        self._store_error, self._page = None, page.events
        self._caught_up = not page.events
        if page.events and not self._transfer.bring(page.events):
            self._save(now=True)
            return 0.0
        self._cursor, self._page = page.cursor, ()
        self._is_done = self._caught_up and is_last_look
        self._save(now=False)
        return self._idle_s if self._caught_up else 0.0

    def _took_turn(self) -> bool:
        if self._places is None:
            self._store = self._open()
            self._places = Places(self._store)
        known = self._places.get(self._name)
        now_ns = self._clock()
        if known is not None and known.is_held(now_ns):
            self._held_by_other, self._store_error = True, None
            return False
        if known is None:
            assert self._store is not None
            begin = self._store.tip() if self._begin == NOW else None
            known = Place(name=self._name, url=self._sink.url, cursor=begin, began_ns=now_ns)
        holder = holder_here(os.urandom(8).hex(), now_ns)
        self._place = self._places.put(msgspec.structs.replace(known, url=self._sink.url, holder=holder))
        self._held_by_other = self._place is None
        if self._place is None:
            return False
        self._cursor, self._saved_at, self._store_error = self._place.cursor, time.monotonic(), None
        return True

    def _is_ours(self) -> bool:
        return self._place is not None

    def _save(self, *, now: bool) -> None:
        """Write the cursor, where it has moved, and not too often."""
        place = self._place
        if place is None:
            return
        waited_s = time.monotonic() - self._saved_at
        is_news = self._cursor != place.cursor or place.error is not None
        if now or waited_s >= RENEW_S or (is_news and (waited_s >= SAVE_S or self._caught_up)):
            self._write(place, release=False)

    def _write(self, place: Place | None, *, release: bool) -> None:
        if place is None or self._places is None:
            return
        now_ns, transfer = self._clock(), self._transfer
        sent, withheld = transfer.sent - self._counted[0], transfer.withheld - self._counted[1]
        moved = self._cursor != place.cursor
        holder = place.holder
        error = transfer.last_error if transfer.is_failing else None
        written = msgspec.structs.replace(
            place,
            cursor=self._cursor,
            sent=place.sent + sent,
            sent_ns=now_ns if sent or moved else place.sent_ns,
            withheld=place.withheld + withheld,
            error=error,
            error_ns=0 if error is None else now_ns if place.error is None else place.error_ns,
            holder=None if release or holder is None else holder_here(holder.token, now_ns),
        )
        self._place = self._places.put(written)  # None: somebody else took the turn, and has the last word
        self._counted = (transfer.sent, transfer.withheld)
        self._saved_at = time.monotonic()

    def _end(self) -> None:
        """Let go: of the turn, the store and the sink. Never raises."""
        for let_go in (self._release, self._close_store, self._sink.close):
            try:
                let_go()
            except Exception:  # noqa: BLE001 - what was not let go runs out
                _log.info("sink=<%s> | not all could be let go", self._sink.url, exc_info=True)

    def _release(self) -> None:
        self._write(self._place, release=True)
        self._place = None

    def _close_store(self) -> None:
        store, self._store, self._places = self._store, None, None
        if store is not None:
            store.close()
