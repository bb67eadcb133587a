"""The one thread of a server that follows the store, however many browsers look: sessions that are open, and the list.

Store and folds are used here alone; readers wait for a room to be loaded and are told what changes. A session that
nobody looks at any more is let go of after a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from otel_agent_journal.errors import JournalError, SessionNotFound, StoreError, StoreUnreachable
from otel_agent_journal.projections.links import part_of
from otel_agent_journal.server.comparing import Comparisons
from otel_agent_journal.server.dashboard import Board
from otel_agent_journal.server.ears import Ear
from otel_agent_journal.server.feeds import Frame
from otel_agent_journal.server.live_list import LiveList
from otel_agent_journal.server.rooms import Room, encode
from otel_agent_journal.server.wire import Delayed
from otel_agent_journal.store.protocol import Wakes

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

_log = logging.getLogger("otel_agent_journal.server")

POLL_S: Final = 0.05  # where the store does not say when to look
WAIT_S: Final = 0.2  # where it does: how long a session that is asked for may wait for it
QUIET_POLL_S: Final = 1.0  # of a session of which nothing comes
RUNNING_POLL_S: Final = 0.25  # of one in which something runs
QUIET_SHARE: Final = 20  # a session is looked at again after this part of the time that it was quiet
PUBLISH_S: Final = 0.04  # between two tellings of one session: a burst is told together
JUDGE_S: Final = 3.0
ADOPT_S: Final = 5.0
AWAY_S: Final = 1.0
KEPT_S: Final = 60.0  # a session that nobody looks at
MOST_UNWATCHED: Final = 16
LOAD_S: Final = 120.0


class Hub:
    """Sessions that are looked at.

    Args:
        open_journal: opens the journal that the thread follows with.
    """

    def __init__(self, open_journal: Callable[[], Journal]) -> None:
        self._open = open_journal
        self.board = Board(open_journal)
        self.comparisons = Comparisons()
        self._rooms: dict[str, Room] = {}
        self._ears: dict[str, Ear] = {}
        self._lock = threading.Lock()
        self._nudge = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._journal: Journal | None = None
        self._list: LiveList | None = None
        self._looked: dict[str, float] = {}
        self._published: dict[str, float] = {}
        self._judged: dict[str, float] = {}
        self._away = False

    def start(self) -> None:
        """Open the journal and begin to follow. Raises what opening it raises."""
        self._journal = self._open()
        self._list = LiveList(self._journal, self.loaded)
        self._thread = threading.Thread(target=self._run, name="agent-journal-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and every stream, and let go of who waits."""
        with self._lock:
            self._ending.set()
            rooms, ears = list(self._rooms.values()), list(self._ears.values())
        self._nudge.set()
        for one in (*rooms, *ears):
            one.readers.close()
        for room in rooms:
            room.loaded.set()
        for ear in ears:
            ear.ready.set()
        if self._list is not None:
            self._list.close()
        if self._thread is not None:
            self._thread.join(10)
        self.board.close()

    @property
    def ending(self) -> bool:
        """Whether it was closed."""
        return self._ending.is_set()

    def _check_open(self) -> None:
        if self._ending.is_set():
            raise StoreUnreachable("this server is ending; ask again once it is back")

    @property
    def watched(self) -> bool:
        """Whether any stream is open."""
        listed = self._list is not None and self._list.watched
        read = any(ear.readers for ear in list(self._ears.values()))
        return listed or read or any(room.watched for room in list(self._rooms.values()))

    @property
    def listed(self) -> LiveList:
        """The list of sessions."""
        assert self._list is not None
        return self._list

    def loaded(self, session_id: str) -> Room | None:
        """Return a session's room where there is one that is whole."""
        room = self._rooms.get(session_id)
        return room if room is not None and room.loaded.is_set() else None

    def room(self, session_id: str, within: tuple[str, ...] = ()) -> Room:
        """Return a session's room, loaded; of a trace that is part of one, that session's. Waits: not for the loop.

        Args:
            session_id: the session.
            within: the traces that led to it.

        Raises:
            SessionNotFound: nothing is known of it.
            StoreUnreachable: it could not be read in time, or the server is ending.
        """
        with self._lock:
            self._check_open()
            room = self._rooms.get(session_id)
            if room is None:
                assert self._journal is not None
                room = self._rooms[session_id] = Room(session_id, self._journal)
            room.used_s = time.monotonic()
        self._nudge.set()
        if not room.loaded.wait(LOAD_S):
            raise StoreUnreachable(f"session {session_id} could not be read within {LOAD_S:g} s; retry")
        self._check_open()
        if room.broken is not None:
            raise room.broken
        if not room.is_known:
            raise SessionNotFound(session_id, "agent-journal ls lists them all")
        whole = part_of(room.fold.status.links, session_id)
        return room if whole is None or whole in within else self.room(whole, (*within, session_id))

    def ear(self, session_id: str) -> Ear:
        """Return what hears of new events of a session, from now on. Waits: not for the loop.

        Raises:
            StoreUnreachable: it could not be begun in time, or the server is ending.
        """
        with self._lock:
            self._check_open()
            ear = self._ears.get(session_id)
            if ear is None:
                assert self._journal is not None
                ear = self._ears[session_id] = Ear(session_id, self._journal.store)
            ear.used_s = time.monotonic()
        self._nudge.set()
        if not ear.ready.wait(LOAD_S):
            raise StoreUnreachable(f"session {session_id} could not be followed within {LOAD_S:g} s; retry")
        self._check_open()
        return ear

    # --- the thread ---

    def _run(self) -> None:
        assert self._journal is not None
        adopted_s = -ADOPT_S
        try:
            while not self._ending.is_set():
                busy = self._round()
                now = time.monotonic()
                if now - adopted_s > ADOPT_S:
                    adopted_s = now
                    self._safely(self._journal.take_in_dead)
                    self._let_go(now)
                if not busy:
                    self._pause()
        finally:
            self._journal.close()

    def _round(self) -> bool:
        busy = False
        now = time.monotonic()
        with self._lock:
            rooms, ears = list(self._rooms.values()), list(self._ears.values())
        for ear in ears:
            if ear.is_due(now) and self._safely(lambda ear=ear: self._hear(ear)):
                busy = True
        for room in rooms:
            looked_s = self._looked.get(room.session_id)
            # Asked anew in each round: who begins to look at a quiet session does not wait.
            is_due = looked_s is None or now - looked_s >= _pause_of(room, now)
            if is_due and self._safely(lambda room=room: self._look(room), room):
                busy = True
        if self._list is not None and self._list.watched:
            self._safely(self._list.look)
        return busy

    def _hear(self, ear: Ear) -> bool:
        """Listen for a session; where it cannot be followed its readers are let go, and may come again."""
        try:
            return ear.look()
        except StoreUnreachable:
            raise
        except Exception:
            with self._lock:
                self._ears.pop(ear.session_id, None)
            ear.ready.set()
            ear.readers.close()
            raise

    def _look(self, room: Room) -> bool:
        more = room.look()
        now = time.monotonic()
        name = room.session_id
        if now - self._judged.get(name, 0.0) > JUDGE_S and room.loaded.is_set():
            self._judged[name] = now
            if room.fold.running:
                room.judge()
        if not more or now - self._published.get(name, 0.0) > PUBLISH_S:
            self._published[name] = now
            room.publish()
        if more:
            self._looked.pop(name, None)
        else:
            self._looked[name] = now
        return more

    def _safely(self, work: Callable[[], object], room: Room | None = None) -> bool:
        """Do something with the store, of a room or of all; where it is away, say so to all, and wait."""
        try:
            result = bool(work())
        except StoreUnreachable as error:
            if not self._away:
                self._away = True
                self._tell(Delayed(delayed_s=0.0, why=str(error)))
                _log.warning("error=<%s> | store cannot be followed, will be tried again", error)
            self._ending.wait(AWAY_S)
            return False
        except Exception as error:  # noqa: BLE001 - one session that cannot be folded must not end all
            _log.exception("session_id=<%s> | could not be followed", "all" if room is None else room.session_id)
            if room is None:
                self._ending.wait(AWAY_S)
            else:
                self._give_up(room, error)
            return False
        if self._away:
            self._away = False
            self._tell(Delayed())
        return result

    def _give_up(self, room: Room, error: Exception) -> None:
        """Tell those that wait for a session, or look at it, that it cannot be read; who asks again begins anew."""
        room.broken = error if isinstance(error, JournalError) else StoreError(f"{type(error).__name__}: {error}")
        room.loaded.set()
        with self._lock:
            self._forget(room)

    def _forget(self, room: Room) -> None:
        room.readers.close()  # also who comes to it only now: he asks again, and begins anew
        self._rooms.pop(room.session_id, None)
        for kept in (self._looked, self._published, self._judged):
            kept.pop(room.session_id, None)

    def _tell(self, message: Delayed) -> None:
        frame = Frame("delayed", encode(message))
        for room in list(self._rooms.values()):
            for feed in room.readers:
                feed.put([frame])

    def _pause(self) -> None:
        assert self._journal is not None
        followed = bool(self._rooms or self._ears)
        if isinstance(self._journal.store, Wakes) and followed:
            self._journal.store.wait(WAIT_S)
        else:
            self._nudge.wait(POLL_S if followed or (self._list and self._list.watched) else QUIET_POLL_S)
        self._nudge.clear()

    def _let_go(self, now: float) -> None:
        """Forget the sessions that nobody has looked at for a while, of the others those beyond a number."""
        with self._lock:
            for ear in list(self._ears.values()):
                if not ear.readers and now - ear.used_s > ADOPT_S:
                    ear.readers.close()
                    del self._ears[ear.session_id]
            idle = sorted((room for room in self._rooms.values() if not room.watched), key=lambda room: -room.used_s)
            for place, room in enumerate(idle):
                if now - room.used_s > KEPT_S or (place >= MOST_UNWATCHED and room.loaded.is_set()):
                    self._forget(room)


def _pause_of(room: Room, now: float) -> float:
    """Return how long to let a session be: the longer nothing has come of it, up to a bound; less where it runs."""
    if not room.watched:
        return QUIET_POLL_S
    longest = RUNNING_POLL_S if room.fold.running else QUIET_POLL_S
    return min(longest, max(PUBLISH_S, (now - room.arrived_s) / QUIET_SHARE))
