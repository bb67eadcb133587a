"""The drain: brings what agents put into the spool to the store, and says which of them died.

It takes folders under their drain lock, one drainer at a time; a live writer's log is followed, a dead one's
finished. A drain that is killed loses nothing: its successor repeats what was not acknowledged, and the store dedupes
it. This module has the thread and the waiting; what happens to records is in `rounds`, `delivery` and `heads`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from otel_agent_journal import forks
from otel_agent_journal.delivered import Delivered
from otel_agent_journal.delivery.adoption import Adoption
from otel_agent_journal.delivery.batches import Delivery
from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.delivery.reception import Reception, new_reception
from otel_agent_journal.delivery.rounds import READ_BYTES, Death, Forward, Round, Rounds
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import KILLED
from otel_agent_journal.projections.request import kept_of
from otel_agent_journal.spool import set_aside
from otel_agent_journal.spool.keeping import KeptFiles
from otel_agent_journal.spool.set_aside import SetAside
from otel_agent_journal.spool.survey import pending_bytes, pending_records, writer_folders
from otel_agent_journal.store.protocol import Arrived, JournalStore
from otel_agent_journal.threads import Changes, RLock, Thread, start_thread
from otel_agent_journal.uninstrumented import uninstrumented

_log = logging.getLogger("otel_agent_journal.spool")

ROUND_UP_S: Final = 5.0
LOOK_EVERY_S: Final = 0.5  # how often new folders, and writers that died, are looked for
# While a writer asks for flushes, each before a response perhaps, it does not wait for the next look.
FLUSHING_POLL_S: Final = 0.002
FLUSHING_S: Final = 1.0
_AFTER_A_FAULT_S: Final = 1.0
# When a stop gives up on a store that takes nothing; the spool keeps the rest.
HUNG_S: Final = 5.0  # and says nothing either
FAILING_S: Final = 1.0  # and is known to fail
_WATCH_S: Final = 0.05


class DrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a drain has done so far. `refused`: by writers, for want of room; `pending_bytes`: still to be delivered."""

    delivered: int = 0
    blobs: int = 0
    retried: int = 0
    set_aside: int = 0
    corrupt: int = 0
    refused: int = 0
    forwarded: int = 0
    forward_failures: int = 0
    interrupted: int = 0
    folders_finished: int = 0
    folders_held_by_others: int = 0
    pending_bytes: int = 0
    last_error: str | None = None


class Drain:
    """Deliver a spool to a store, in a thread of its own (`start`) or at once (`drain_once`).

    Everything public may be called from any thread; the store is used under one lock. Nothing raises into an agent:
    `start`, `stop`, `flush` and `writer_died` never do.

    Args:
        root: the spool.
        store: where events go; the drain does not close it.
        forward: called with events in the order of delivery and their writer. What it raises is counted.
        clock: UTC nanoseconds.
        only_writer: of live writers, follow this one alone.
        adopt_dead: finish the folders of dead writers too.
        poll_s, idle_poll_s: how often a live writer's log is looked at, when it is busy and when nothing comes.
        patience: how tries are repeated while the store cannot be reached.
        reception: makes what reads received OTLP, when there is some.
        read_bytes: about how much of a log is read at a time; a store is written to once for all of it.
        spans_pending: tells how many spans that were forwarded have not arrived, for writers that wait for a flush.
        rounds_up: called every `ROUND_UP_S` in the drain's thread, where the store may be used, once all is delivered.
    """

    def __init__(
        self,
        root: Path,
        store: JournalStore,
        *,
        forward: Forward | None = None,
        clock: Callable[[], int] = time.time_ns,
        only_writer: str | None = None,
        adopt_dead: bool = True,
        poll_s: float = 0.02,
        idle_poll_s: float = 0.2,
        patience: Patience | None = None,
        reception: Callable[[], Reception] = new_reception,
        read_bytes: int = READ_BYTES,
        rounds_up: Callable[[], object] | None = None,
        spans_pending: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.root = Path(root)
        self._poll_s = poll_s
        self._idle_poll_s = idle_poll_s
        self._patience = patience or Patience()
        self._only_writer = only_writer
        self._adoption = Adoption(self.root, only_writer=only_writer, adopt_dead=adopt_dead)
        self._delivery = Delivery(store, SetAside(self.root), self._patience, clock, reception=reception)
        heads = HeadKeeper(store, self._delivery.insist)
        kept = KeptFiles(self.root, store.url)

        def appended(events: Sequence[JournalEvent], arrived: Mapping[str, Arrived]) -> None:
            heads.note(events, arrived)
            for session_id, one in kept_of(events).items():
                kept.add(session_id, one)

        self._delivery.appended = appended
        self._rounds = Rounds(
            store, self._adoption, self._delivery, heads, forward, read_bytes=read_bytes, spans_pending=spans_pending
        )
        self._rounds_up = rounds_up
        self._round_up_at = time.monotonic() + ROUND_UP_S
        self._begin()
        forks.join(self, forks.Place.DELIVERY)

    def _begin(self) -> None:
        self._turn = RLock()
        self._changes = Changes()
        self._thread: Thread | None = None
        self._stopping = self._clean = self._over = False
        self._flush_asked = self._flush_done = 0
        self._deaths: dict[str, Death] = {}
        self._look_at = float("-inf")
        self._stop_at = float("inf")

    # --- in a thread of its own ---

    def start(self) -> None:
        """Drain in a daemon thread from now on. Does nothing where it runs already."""
        if self.is_running:
            return
        self._stopping = self._clean = self._over = False
        self._patience.forever()
        self._thread = start_thread(self._run)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Deliver what is there, for at most `timeout_s`, end the thread and let go of all folders.

        Gives up earlier on a store that takes nothing: after `FAILING_S` where it is known to fail, else after
        `HUNG_S`. Returns whether everything was delivered; what was not stays in the spool. May be called twice.
        """
        moved_at = time.monotonic()
        deadline = moved_at + timeout_s
        thread = self._thread
        self._stop_at = deadline
        self._stopping = True
        self._patience.until(deadline)
        self._changes.tell()
        if thread is None or thread.is_current:
            return True
        count, seen = self._delivery.count, -1
        while thread.is_alive() and time.monotonic() < deadline:
            thread.join(_WATCH_S)
            done = count.events + count.blobs + self._rounds.finished
            if done != seen:
                seen, moved_at = done, time.monotonic()
            elif time.monotonic() - moved_at >= (FAILING_S if count.failing else HUNG_S):
                break
        self._patience.until(time.monotonic())
        thread.join(_WATCH_S)
        return not thread.is_alive() and self._clean

    @property
    def is_running(self) -> bool:
        """Tell whether the thread runs, as after a `stop` that the store did not let end: then it is in use."""
        return self._thread is not None and self._thread.is_alive()

    def flush(self, timeout_s: float = 5.0) -> Delivered:
        """Wait until everything appended before this call is in the store; return how it stands.

        With `only_writer` that one's records count. Of a drain that does not run, nothing is known.
        """
        return Delivered(pending=self._flushed(timeout_s), set_aside=self._set_aside())

    def _flushed(self, timeout_s: float) -> int | None:
        thread, deadline = self._thread, time.monotonic() + timeout_s
        if thread is None or not thread.is_alive() or self._stopping or thread.is_current:
            return None
        asked = self._flush_asked = self._flush_asked + 1
        self._changes.tell()
        self._changes.wait_until(lambda: self._flush_done >= asked or self._over, timeout_s)
        return self._adoption.wait_for_other(deadline) if self._flush_done >= asked else self._pending()

    def _pending(self) -> int | None:
        """Return how many records wait, of those that are ours; at least one, since not all was delivered."""
        writer = self._only_writer
        folders = writer_folders(self.root) if writer is None else [self.root / writer]
        counts = [pending_records(folder) for folder in folders]
        return None if None in counts else max(1, sum(filter(None, counts)))

    def _set_aside(self) -> int | None:
        writer = self._only_writer
        return self._delivery.count.set_aside if writer is None else set_aside.count(self.root, writer)

    def writer_died(self, writer: str, reason: str = KILLED, *, at_ns: int | None = None) -> None:
        """Finish this writer's folder now, whatever its lock says: its parent saw it end.

        Args:
            writer: its id.
            reason: killed or lost.
            at_ns: until when it was seen alive, if that is known.
        """
        self._deaths[writer] = Death(reason, at_ns or 0)
        self._look_at = float("-inf")
        self._changes.tell()

    # --- at once ---

    @uninstrumented()
    def drain_once(
        self, *, patience_s: float = 10.0, progress: Callable[[int, int], None] | None = None
    ) -> DrainReport:
        """Deliver everything that is there, of every folder nobody else drains, and return what was done.

        Args:
            patience_s: how long a store that cannot be reached is waited for.
            progress: called with bytes delivered and bytes in all, now and then.

        Raises:
            StoreUnreachable: the store cannot be reached; the spool keeps the rest.
        """
        total = pending_bytes(self.root) if progress is not None else 0
        with self._turn:
            try:
                done = Round(1, caught_up=False)
                self._patience.until(time.monotonic() + patience_s)
                while done.records and not done.caught_up:
                    try:
                        done = self._round(settle=True, insist=True)
                    except StoreUnreachable:
                        if self._patience.is_over:
                            raise
                        continue
                    self._patience.until(time.monotonic() + patience_s)
                    if progress is not None:
                        progress(total if done.caught_up else max(0, total - pending_bytes(self.root)), total)
            finally:
                if not self._stopping:
                    self._patience.forever()
                if self._thread is None:
                    self._let_go()
        return self.stats

    @property
    def stats(self) -> DrainReport:
        """What was done so far, by this object, and what is left in the spool."""
        count = self._delivery.count
        return DrainReport(
            delivered=count.events,
            blobs=count.blobs,
            retried=count.retried,
            set_aside=count.set_aside,
            corrupt=self._adoption.corrupt,
            refused=self._adoption.refused,
            forwarded=self._rounds.forwarded,
            forward_failures=self._rounds.forward_failures,
            interrupted=self._rounds.interrupted,
            folders_finished=self._rounds.finished,
            folders_held_by_others=self._adoption.held_by_others,
            pending_bytes=pending_bytes(self.root),
            last_error=count.last_error,
        )

    def after_fork(self) -> None:
        """Become, in a forked child, a drain that was never started: thread and folders stay with the parent."""
        self._patience.renew()
        self._let_go()
        self._begin()

    @uninstrumented()
    def _run(self) -> None:
        pause = self._poll_s
        while True:
            asked, stopping = self._flush_asked, self._stopping
            try:
                with self._turn:
                    done = self._round(settle=stopping or asked > self._flush_done, insist=stopping)
                    if done.caught_up and not stopping:
                        self._round_up()
            except StoreUnreachable:
                done = Round(0, caught_up=False)  # patience is over, or what came since is looked at too
                if stopping and self._patience.is_over:
                    break
            except Exception:  # noqa: BLE001 - whatever it was, the spool keeps what it has and the agent goes on
                _log.exception("spool=<%s> | drain failed, and goes on", self.root)
                done = Round(0, caught_up=False)
                self._rest()
            else:
                self._note_flushed(asked, done)
            if stopping and (done.caught_up or not done.records or time.monotonic() >= self._stop_at):
                self._clean = done.caught_up
                break
            pause = self._poll_s if done.records else min(self._idle_poll_s, pause * 1.5)
            if time.monotonic() - self._rounds.asked_at < FLUSHING_S:
                pause = FLUSHING_POLL_S
            if done.caught_up or not done.records:
                self._sleep(pause)
        with self._turn:
            self._let_go()
        self._over = True
        self._changes.tell()

    def _round(self, *, settle: bool, insist: bool = False) -> Round:
        now = time.monotonic()
        if settle or now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._adoption.look(frozenset(self._deaths))
        return self._rounds.go(self._deaths, settle=settle, insist=insist)

    def _round_up(self) -> None:
        now = time.monotonic()
        if self._rounds_up is not None and now >= self._round_up_at:
            self._round_up_at = now + ROUND_UP_S
            self._rounds_up()

    def _note_flushed(self, asked: int, done: Round) -> None:
        if done.caught_up and asked > self._flush_done:
            self._flush_done = asked
            self._changes.tell()

    def _sleep(self, seconds: float) -> None:
        self._changes.wait_until(
            lambda: self._stopping or self._flush_asked != self._flush_done or self._look_at < 0, seconds
        )

    def _rest(self) -> None:
        """Wait after a fault, whoever waits for a flush: trying at once would meet it again."""
        self._changes.wait_until(lambda: self._stopping, _AFTER_A_FAULT_S)

    def _let_go(self) -> None:
        self._rounds.forget()
        self._adoption.let_go()
