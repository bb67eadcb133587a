"""The thread that says every 15 seconds that this process is alive, and looks after its spool in between.

A reader that finds an open step whose writer has been silent for 60 seconds calls it interrupted; a writer whose
drainer is gone for 5 seconds drains itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from otel_agent_journal import forks
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.threads import Bell, start_thread

_log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 15.0
WATCH_S: Final = 1.0
ORPHANED_S: Final = 5.0


class Heartbeat:
    """Beats for a recorder until it is stopped; a daemon, started again in a forked child.

    Args:
        recorder: this process's.
        look_after: called every `WATCH_S`.
        is_drained: tells whether another process drains this one's spool; None where this one drains itself.
        drain_here: called once, when nobody has for `ORPHANED_S` while something was under way.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        look_after: Callable[[], object] = lambda: None,
        is_drained: Callable[[], bool] | None = None,
        drain_here: Callable[[], None] = lambda: None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._recorder = recorder
        self._look_after = look_after
        self._is_drained = is_drained
        self._drain_here = drain_here
        self._heartbeat_s = heartbeat_s
        self._stopped = False
        self.after_fork()
        forks.join(self, forks.Place.THREADS)

    def after_fork(self) -> None:
        """Begin, here and in a forked child."""
        self._bell = Bell()  # rung when it is to stop
        self._alone_since: float | None = None
        if not self._stopped:
            start_thread(self._run)

    def stop(self) -> None:
        """Beat no more."""
        forks.leave(self)
        self._stopped = True
        self._bell.ring()

    def _run(self) -> None:
        beat_at = time.monotonic() + self._heartbeat_s
        while not self._bell.wait(min(WATCH_S, self._heartbeat_s)):
            try:
                now = time.monotonic()
                self._look_after()
                if now >= beat_at:
                    beat_at = now + self._heartbeat_s
                    self._recorder.heartbeat()
                if self._is_drained is not None and self._recorder.open_roots():
                    self._look_for_drainer(self._is_drained, now)
            except Exception:  # noqa: BLE001 - the one boundary
                _log.warning("the heartbeat failed", exc_info=True)

    def _look_for_drainer(self, is_drained: Callable[[], bool], now: float) -> None:
        if is_drained():
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= ORPHANED_S:
            self._is_drained = None
            self._drain_here()
