"""Watching one run from its own process: that it lives is said; it is stopped when asked to, or when its time is up."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Final, Self

from otel_agent_journal.errors import JournalError
from otel_agent_journal.projections.head import CANCELLED
from otel_agent_journal.sessions.notices import HEARTBEAT_S, Notices
from otel_agent_journal.sessions.queue import Lines
from otel_agent_journal.sessions.runs import Run
from otel_agent_journal.threads import Condition, Thread, start_thread

TIMEOUT: Final = "TIMEOUT"
GRACE_S: Final = 10.0  # between SIGTERM and SIGKILL
_LOOK_S: Final = 2.0  # for a cancel that came in elsewhere
_SAY_S: Final = 15.0
_RESERVE_S: Final = 3.0  # of a deadline, for the last word


class Watch:
    """Watches a run within its block. `reason`: why it was stopped, where it was.

    Args:
        lines: of the store.
        session_id: the session.
        run: as it was started.
        timeout_s: of the agent.
        deadline: by `time.monotonic`, by which all must be over.
        notices: for the heartbeats of a task that waits.
    """

    def __init__(
        self,
        lines: Lines,
        session_id: str,
        run: Run,
        *,
        timeout_s: float | None,
        deadline: float | None,
        notices: Notices,
    ) -> None:
        self.reason: str | None = CANCELLED if run.cancel else None
        self._lines = lines
        self._session_id = session_id
        self._run = run
        self._notices = notices
        self._wake = Condition()
        self._over = False
        self._pid: int | None = None
        self._kill_at: float | None = None
        self._began = time.monotonic()
        left = None if deadline is None else max(0.0, deadline - self._began - _RESERVE_S)
        allowed = [one for one in (timeout_s, left) if one is not None]
        self.allowed_s = min(allowed, default=0.0)
        self._until = self._began + self.allowed_s if allowed else None
        self._say_at = self._began + _SAY_S
        self._beat_at = self._began + HEARTBEAT_S
        self._before: Any = None
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        """Begin. SIGTERM, which stops the agent, does not end this process."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._terminated)
        self._thread = start_thread(self._work)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Watch no more."""
        with self._wake:
            self._over = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(GRACE_S)
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def started(self, pid: int) -> None:
        """Say which process the agent is."""
        self._pid, self._kill_at = pid, None
        self._look()  # it may have been cancelled while it came up
        if self.reason is not None:
            self._stop(self.reason)

    def ended(self) -> None:
        """Say that the agent's process has ended, and look once more why."""
        self._pid = None
        self._look()

    def _terminated(self, _number: int, _frame: FrameType | None) -> None:
        if self._pid is None:
            self._look()

    def _work(self) -> None:
        while True:
            with self._wake:
                if not self._over:
                    self._wake.wait(self._pause())
                if self._over:
                    return
            now = time.monotonic()
            if self._kill_at is not None and now >= self._kill_at:
                self._signal(signal.SIGKILL)
            if self._until is not None and now >= self._until and self.reason is None:
                self._stop(TIMEOUT)
            self._look()
            if self._run.task_token is not None and now >= self._beat_at:
                self._beat_at = now + HEARTBEAT_S
                self._notices.heartbeat(self._run.task_token)

    def _pause(self) -> float:
        ends = [one for one in (self._kill_at, self._until if self.reason is None else None) if one is not None]
        return max(0.01, min([_LOOK_S, *(end - time.monotonic() for end in ends)]))

    def _look(self) -> None:
        """Look whether it is to be cancelled; say now and then that it lives."""
        with contextlib.suppress(JournalError, OSError):  # the store is away: the agent need not notice
            if time.monotonic() >= self._say_at:
                self._say_at = time.monotonic() + _SAY_S
                run = self._lines.seen(self._session_id, self._run.run, time.time_ns())
            else:
                line = self._lines.get(self._session_id)
                run = None if line is None else line.find(self._run.run)
            if run is not None and run.cancel and self.reason is None:
                self._stop(CANCELLED)

    def _stop(self, reason: str) -> None:
        self.reason = reason
        if self._pid is not None:
            self._kill_at = time.monotonic() + GRACE_S
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
