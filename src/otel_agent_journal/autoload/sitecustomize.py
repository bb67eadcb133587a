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


def _is_first(what: str) -> bool:
    """Leave a word for `run`, and tell whether no other Python of the program has left it before."""
    try:
        folder = os.environ["AGENT_JOURNAL_ANNOUNCE"]
        os.close(os.open(os.path.join(folder, what), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except (KeyError, OSError):
        return False
    return True


def _start() -> None:
    try:
        from otel_agent_journal.forks import is_main_interpreter

        if not is_main_interpreter():
            return
        from otel_agent_journal.bootstrap.autostart import start
    except ImportError as error:
        if _is_first("announced"):
            print(  # noqa: T201 - the user's terminal
                f"agent-journal: this Python is not journaled: {sys.executable} cannot import otel_agent_journal"
                f" ({error}); install it there: {sys.executable} -m pip install otel-agent-journal",
                file=sys.stderr,
            )
        return
    start(_is_first)


_step_aside()
_is_first("reached")
_start()
