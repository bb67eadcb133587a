"""One round of the drain: every folder in hand read once, delivered, its heads written, then acknowledged.

A record is acknowledged once its events, and the heads that they moved, are in the store; where somebody removed the
store's file meanwhile, it is read and delivered again. A dead writer's folder,
read to its end, gets its open steps interrupted and is removed; while the store cannot list what it left open, it
waits, and no other folder with it. Threads and waiting are `drain`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from otel_agent_journal.delivery.adoption import Adoption
from otel_agent_journal.delivery.batches import Delivery, RefusesAll, reach
from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.delivery.interruptions import interruption_of, sessions_left_open
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import FlushAsked
from otel_agent_journal.projections.head import KILLED, SessionHead
from otel_agent_journal.spool.folder import Position, SpoolFolder
from otel_agent_journal.spool.home import FlushAnswer, WriterInfo
from otel_agent_journal.store.protocol import JournalStore, Vanishes

_log = logging.getLogger("otel_agent_journal.spool")

Forward = Callable[[Sequence[JournalEvent], WriterInfo], None]

READ_BYTES: Final = 1024 * 1024
HEADS_EVERY_S: Final = 1.0  # DESIGN §5: head writes are coalesced to one a second per session
LIST_AGAIN_S: Final = 5.0  # how often a store that cannot list sessions is asked again what a dead writer left open


class Round(NamedTuple):
    """What a round met: how many records, and whether every log was read to its end; neither: some cannot be read."""

    records: int
    caught_up: bool


class Death(NamedTuple):
    """Why a writer is known to be dead, and until when it was seen alive (0: not known)."""

    reason: str = KILLED
    at_ns: int = 0


class Rounds:
    """Go round the folders in hand. Used by one thread at a time."""

    def __init__(
        self,
        store: JournalStore,
        adoption: Adoption,
        delivery: Delivery,
        heads: HeadKeeper,
        forward: Forward | None,
        *,
        read_bytes: int = READ_BYTES,
        spans_pending: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._store = store
        self._adoption = adoption
        self._delivery = delivery
        self._heads = heads
        self._forward = forward
        self._read_bytes = read_bytes
        self._vanishes = store if isinstance(store, Vanishes) else None
        self._incarnation = 0  # of the store, as the first of what is not acknowledged was delivered
        self._reached: dict[str, Position] = {}
        self._asked: dict[str, int] = {}  # of writers that wait for a flush, its number
        self._spans_pending = spans_pending
        self._settled_at = float("-inf")
        self._said_newer: set[str] = set()
        self._said_unreadable: set[str] = set()
        self._unlisted: set[str] = set()  # dead writers of whom it is not known all that they left open
        self._list_at = float("-inf")
        self._said_unlisted = False
        self.asked_at = float("-inf")  # when a writer last waited for a flush
        self.forwarded = 0
        self.forward_failures = 0
        self.interrupted = 0
        self.finished = 0

    def go(self, deaths: dict[str, Death], *, settle: bool, insist: bool = False) -> Round:
        """Deliver what is there now.

        Args:
            deaths: writers known to be dead and why; those that are finished are taken out.
            settle: write heads and acknowledge now, not when they are due.
            insist: once all is delivered, wait for the store to say what dead writers left open; else try it once.

        Raises:
            StoreUnreachable: patience came to its end; what was not acknowledged is read again next time.
        """
        records, caught_up, ended, refused = 0, True, list[SpoolFolder](), None
        for folder in self._adoption:
            if folder.writer in deaths:
                folder.declare_dead()
            try:
                records += self._follow(folder)
                caught_up = caught_up and not folder.has_more
                if not folder.has_more and folder.drained:
                    ended.append(folder)
            except OSError as error:
                caught_up = False
                self._say_unreadable(folder, error)
            except RefusesAll as error:  # what others have left may pass, which tells of the one that was refused
                refused = error
        if refused is not None:
            raise refused
        insist = insist and caught_up
        if not insist and time.monotonic() < self._list_at:
            ended = [folder for folder in ended if folder.writer not in self._unlisted]
        if settle or ended or time.monotonic() - self._settled_at >= HEADS_EVERY_S:
            if not self._settle():
                return Round(records, caught_up=False)
        elif self._heads.has_new:
            self._heads.write_new()
        if self._asked:
            self._answer()
        for folder in sorted(ended, key=lambda folder: not folder.is_closed()):
            self._finish(folder, deaths, insist=insist)
        return Round(records, caught_up)

    def forget(self) -> None:
        """Drop what was read and not acknowledged: the folders go to somebody else."""
        self._reached.clear()
        self._unlisted.clear()
        self._heads.forget()

    def _follow(self, folder: SpoolFolder) -> int:
        damaged = folder.corrupt
        records = folder.read(self._read_bytes)
        if folder.corrupt > damaged:
            _log.warning("writer=<%s>, places=<%d> | spool is damaged", folder.writer, folder.corrupt - damaged)
        if not records:
            self._leave_to_newer(folder)
            return 0
        writer = folder.writer
        try:
            if not self._reached:
                self._incarnation = self._incarnation_now()
            for piece in folder.take_damaged():
                self._delivery.set_aside_record(piece, writer, "damaged in the spool")
            facts = self._delivery.decode((payload for _, payload in records), writer)
            asked = [fact.number for fact in facts if isinstance(fact, FlushAsked)]
            events, heartbeats = self._delivery.deliver(facts, writer)
            for of_writer, heartbeat in heartbeats:
                self._heads.heard(of_writer, heartbeat.timestamp_ns, heartbeat.sessions)
        except BaseException:  # what was read and not delivered must never be acknowledged
            self._reached.pop(writer, None)
            folder.rewind()
            raise
        self._tell(events, folder.info)
        self._reached[writer] = records[-1][0]
        if asked:
            self._asked[writer] = asked[-1]
            self._settled_at = float("-inf")  # somebody waits for it
            self.asked_at = time.monotonic()
        return len(records)

    def _settle(self) -> bool:
        """Write heads and acknowledge; return whether what was delivered was still in the store then."""
        if self._reached and not self._is_there():
            return False
        self._heads.write()
        if self._reached and not self._is_there():
            return False
        self._settled_at = time.monotonic()
        for writer, position in self._reached.items():
            folder = self._adoption.get(writer)
            if folder is not None:
                folder.acknowledge(position)
        self._reached.clear()
        return True

    def _is_there(self) -> bool:
        """Tell whether the store still has what was delivered and not acknowledged; else that is read again."""
        if self._incarnation_now() == self._incarnation:
            return True
        _log.info(
            "store=<%s> | was removed, or opened anew; what was not acknowledged is delivered again", self._store.url
        )
        for writer in self._reached:
            folder = self._adoption.get(writer)
            if folder is not None:
                folder.rewind()
            self._asked.pop(writer, None)
        self._reached.clear()
        self._heads.forget()
        return False

    def _incarnation_now(self) -> int:
        store = self._vanishes
        return 0 if store is None else self._delivery.insist(lambda: reach(store.incarnation))

    def _answer(self) -> None:
        """Tell writers that wait for a flush how many spans are not at the backend yet, until none are."""
        for writer, number in list(self._asked.items()):
            spans = self._spans_pending()
            folder = self._adoption.get(writer)
            if folder is not None:
                folder.answer(FlushAnswer(number, spans))
            if folder is None or not spans:
                del self._asked[writer]

    def _finish(self, folder: SpoolFolder, deaths: dict[str, Death], *, insist: bool) -> None:
        # A folder that somebody deleted proves nobody dead: its writer makes another, and may have by now.
        deleted = not self._adoption.holds(folder)
        if not folder.is_closed() and (not deleted or folder.writer in deaths):
            heads = _by_session(self._heads.left_open(folder.writer))
            listed = self._list(folder.writer, heads, insist=insist)
            self._interrupt(folder, deaths.get(folder.writer, Death()), heads)
            if not listed:
                self._unlisted.add(folder.writer)
                return
        self._unlisted.discard(folder.writer)
        deaths.pop(folder.writer, None)
        removed = not self._adoption.holds(folder) or (folder.finished and folder.remove())
        # A segment that the writer was just making ready may have shown up: then it is taken again.
        self._adoption.release(folder, leave_alone=not removed and folder.drained)
        self.finished += 1

    def _list(self, writer: str, heads: dict[str, SessionHead], *, insist: bool) -> bool:
        """Add the heads that the store lists; return whether it does. Raises StoreUnreachable where it insists."""

        def add() -> None:
            heads.update(_by_session(sessions_left_open(self._store, writer)))

        if not insist and time.monotonic() < self._list_at:
            return False
        try:
            if insist:
                self._delivery.insist(lambda: reach(add))
            else:
                add()
        except Exception as error:
            if insist and isinstance(error, StoreUnreachable):
                raise
            self._list_at = time.monotonic() + LIST_AGAIN_S
            self._say_unlisted(error)
            return False
        self._list_at, self._said_unlisted = float("-inf"), False
        return True

    def _interrupt(self, folder: SpoolFolder, death: Death, heads: dict[str, SessionHead]) -> None:
        writer, reason, alive_ns = folder.writer, death.reason, max(death.at_ns, folder.alive_ns)
        events = [interruption_of(head, writer, reason, alive_ns) for head in heads.values()]
        if not events:
            return
        self._delivery.append(events)
        self._heads.write()
        self._tell(events, folder.info)
        self.interrupted += len(events)
        _log.info("writer=<%s>, sessions=<%d>, reason=<%s> | writer died with steps open", writer, len(events), reason)

    def _tell(self, events: Sequence[JournalEvent], info: WriterInfo) -> None:
        if self._forward is None or not events:
            return
        try:
            self._forward(events, info)
            self.forwarded += len(events)
        except Exception:  # noqa: BLE001 - forwarding never holds up the journal
            self.forward_failures += 1
            _log.debug("writer=<%s> | forwarding failed", info.writer, exc_info=True)

    def _say_unreadable(self, folder: SpoolFolder, error: OSError) -> None:
        if folder.writer not in self._said_unreadable:
            self._said_unreadable.add(folder.writer)
            _log.warning("writer=<%s>, error=<%s> | spool cannot be read now, and is kept", folder.writer, error)

    def _say_unlisted(self, error: Exception) -> None:
        if not self._said_unlisted:
            self._said_unlisted = True
            _log.warning(
                "store=<%s>, error=<%s> | sessions cannot be listed; what a dead writer left open is interrupted later",
                self._store.url,
                error,
            )

    def _leave_to_newer(self, folder: SpoolFolder) -> None:
        if folder.from_newer and folder.writer not in self._said_newer:
            self._said_newer.add(folder.writer)
            _log.warning(
                "writer=<%s> | its spool was written by a newer version of this package and is left untouched:"
                " pip install --upgrade otel-agent-journal",
                folder.writer,
            )


def _by_session(heads: Iterable[SessionHead]) -> dict[str, SessionHead]:
    return {head.session_id: head for head in heads}
