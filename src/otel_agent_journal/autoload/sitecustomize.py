"""Runs as every Python under `agent-journal run` starts: journals it, then runs the `sitecustomize` it stands before.

Imported by the interpreter itself, so it must never fail, and leaves this folder off `sys.path`.
"""

import contextlib
import importlib
import os
import sys


def _step_aside() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    ours = sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ImportError):
        importlib.import_module("sitecustomize")  # the one that we stand before
    if ours is not None:
        sys.modules.setdefault("sitecustomize", ours)  # the interpreter looks for what it has just imported


def _mark_reached() -> None:
    mark = os.environ.get("AGENT_JOURNAL_ANNOUNCE")
    if mark:
        with contextlib.suppress(OSError):
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT, 0o600))


def _start() -> None:
    try:
        from otel_agent_journal.bootstrap.autostart import start
    except ImportError as error:
        if os.environ.pop("AGENT_JOURNAL_ANNOUNCE", None):
            print(  # noqa: T201 - the user's terminal
                f"agent-journal: this Python is not journaled: {sys.executable} cannot import otel_agent_journal"
                f" ({error}); install it there: {sys.executable} -m pip install otel-agent-journal",
                file=sys.stderr,
            )
        return
    start()


_step_aside()
_mark_reached()
_start()
