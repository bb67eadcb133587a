"""The process that runs a run, as its line has it: whether it lives, and how it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

from otel_agent_journal.sessions.runs import Run
from otel_agent_journal.spool.processes import process_of, still_runs


def this_process() -> dict[str, Any]:
    """Return what a line says of the process that we are in."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "process": process_of(os.getpid())}


def is_gone(run: Run) -> bool | None:
    """Tell whether the process of a run has ended; None where that cannot be told from here."""
    alive = still_runs(run.process, run.pid, run.host)
    return None if alive is None else not alive


def stop_group(run: Run) -> bool:
    """Send SIGTERM to the processes of a run on this machine; tell whether they were there to be told."""
    if run.pid <= 0 or still_runs(run.process, run.pid, run.host) is not True:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(run.pid) == run.pid:  # it leads its own group, as those do that we have started
            os.killpg(run.pid, signal.SIGTERM)
            return True
    return False
