"""What looks after the lines of a store: starts what waits, settles what was lost, tells who asked.

Any number of processes may do so at once: each step is taken by one of them, since a line is replaced only by who has
seen it as it is. It starts runs as processes of their own, which outlive it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.sessions.notices import Notices
from otel_agent_journal.sessions.processes import is_gone
from otel_agent_journal.sessions.queue import KEPT_KEYS_NS
from otel_agent_journal.sessions.runs import CLAIMED, ENDED, QUEUED, STARTED, Line, Run
from otel_agent_journal.sessions.service import SessionService
from otel_agent_journal.threads import Condition, Thread, start_thread

_log = logging.getLogger(__name__)

DEFAULT_MAX_RUNS: Final = 16
SILENT_NS: Final = 120 * 1_000_000_000  # of a process on another machine; it says every 15 s that it is there
_SHORTEST_LOOK_S: Final = 0.5  # between two looks at the store, where something is under way
_LONGEST_LOOK_S: Final = 3.0
_FORGET_EVERY_S: Final = 3600.0

Launch = Callable[[str, Run, str], "subprocess.Popen[bytes]"]
"""Starts a process for a run of a session under a claim."""


class Dispatcher:
    """Looks after the lines of one service, from a thread of its own once it is started.

    Args:
        service: whose store it is.
        launch: starts the process of a run.
        notices: tells who asked.
        max_runs: processes of this one that may run at once; the others wait in the store.
    """

    def __init__(
        self, service: SessionService, launch: Launch, notices: Notices, *, max_runs: int = DEFAULT_MAX_RUNS
    ) -> None:
        self._service = service
        self._launch = launch
        self._notices = notices
        self._max_runs = max_runs
        self._name = os.urandom(8).hex()
        self.running: list[Thread] = []  # each waits for a process that was started here
        self._thread: Thread | None = None
        self._wake = Condition()
        self._asked: list[str] = []  # sessions that something was submitted to here
        self._stopping = False
        self._forget_at = time.monotonic() + _FORGET_EVERY_S

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._wake:
            if self._thread is None and not self._stopping:
                self._thread = start_thread(self._work)

    def submitted(self, session_id: str, _run: str) -> None:
        """Look at a session at once."""
        with self._wake:
            self._asked.append(session_id)
            self._wake.notify_all()
        self.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Look no more. What runs goes on; the next that looks after this store settles it."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def look(self) -> bool:
        """Look once at every line; tell whether anything is under way."""
        under_way = False
        for line in self._service.lines.all():
            under_way = True
            try:
                self.look_at(line)
            except StoreUnreachable:
                raise
            except Exception as error:  # noqa: BLE001 - of one session, which must not keep the others waiting
                _log.warning("session_id=<%s>, reason=<%s> | could not be looked after", line.session_id, error)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_EVERY_S
            self._service.lines.forget_keys(time.time_ns() - KEPT_KEYS_NS)
        return under_way

    def look_at(self, line: Line) -> None:
        """Do what is to be done about one session."""
        for run in line.runs:
            if run.state == ENDED:
                self._notices.tell(line.session_id, run)
        run = line.active[0] if line.active else None
        if run is None:
            return
        if run.state == STARTED:
            self._look_after(line.session_id, run)
        elif run.state == QUEUED or (run.state == CLAIMED and run.until_ns < time.time_ns()):
            self._begin(line.session_id, run)

    def _begin(self, session_id: str, run: Run) -> None:
        self.running = [one for one in self.running if one.is_alive()]
        if len(self.running) >= self._max_runs or run.agent not in self._service.agents:
            return
        claimed = self._service.lines.claim(session_id, run.run, f"{self._name}:{time.time_ns()}", time.time_ns())
        if claimed is not None and claimed.claim is not None:
            process = self._launch(session_id, claimed, claimed.claim)
            waiting = start_thread(partial(self._wait_for, process, session_id, claimed.run))
            if waiting is not None:
                self.running.append(waiting)

    def _wait_for(self, process: subprocess.Popen[bytes], session_id: str, run_id: str) -> None:
        """Wait until a process has ended, so that nothing of it is left, and look then what comes next."""
        process.wait()
        self.submitted(session_id, run_id)

    def _look_after(self, session_id: str, run: Run) -> None:
        gone = is_gone(run)
        if gone is None:
            gone = time.time_ns() - max(run.seen_ns, run.at_ns) > SILENT_NS
        if gone:
            self._service.give_up(session_id, run)

    def _work(self) -> None:
        pause = _SHORTEST_LOOK_S
        look_at = 0.0
        while not self._stopping:
            try:
                for session_id in self._taken():
                    line = self._service.lines.get(session_id)
                    if line is not None:
                        self.look_at(line)
                        pause = _SHORTEST_LOOK_S
                if time.monotonic() >= look_at:
                    pause = _SHORTEST_LOOK_S if self.look() else min(pause * 1.5, _LONGEST_LOOK_S)
                    look_at = time.monotonic() + pause
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                _log.warning("reason=<%s> | the session API could not look after its runs", error)
                look_at = time.monotonic() + _LONGEST_LOOK_S
            with self._wake:
                if not self._asked and not self._stopping:
                    self._wake.wait(max(0.0, look_at - time.monotonic()))

    def _taken(self) -> list[str]:
        with self._wake:
            asked, self._asked = self._asked, []
            return asked
