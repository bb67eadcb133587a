"""The thread that says every 15 seconds that this process is alive, and looks whether its spool is still drained.

A reader that finds an open step whose writer has been silent for 60 seconds calls it interrupted; a writer whose
drainer is gone for 5 seconds drains itself.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Final

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
        is_drained: tells whether another process drains this one's spool; None where this one drains itself.
        drain_here: called once, when nobody has for `ORPHANED_S`.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        is_drained: Callable[[], bool] | None = None,
        drain_here: Callable[[], None] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._recorder = recorder
        self._is_drained = is_drained
        self._drain_here = drain_here
        self._heartbeat_s = heartbeat_s
        self._stopped = False
        self._start()
        os.register_at_fork(after_in_child=self._after_fork)

    def _start(self) -> None:
        self._bell = Bell()  # rung when it is to stop
        start_thread("agent-journal-heartbeat", self._run)

    def _after_fork(self) -> None:
        if not self._stopped:
            self._start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped = True
        self._bell.ring()

    def _run(self) -> None:
        watching = self._is_drained is not None
        beat_at = time.monotonic() + self._heartbeat_s
        alone_since: float | None = None
        while not self._bell.wait(WATCH_S if watching else self._heartbeat_s):
            now = time.monotonic()
            try:
                if now >= beat_at or not watching:
                    beat_at = now + self._heartbeat_s
                    self._recorder.heartbeat()
                if watching and self._is_drained is not None and self._recorder.open_roots():
                    if self._is_drained():
                        alone_since = None
                    elif alone_since is None:
                        alone_since = now
                    elif now - alone_since >= ORPHANED_S:
                        watching = False
                        if self._drain_here is not None:
                            self._drain_here()
            except Exception:  # noqa: BLE001 - the one boundary
                _log.warning("the heartbeat failed", exc_info=True)
