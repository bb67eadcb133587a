"""`agent-journal run --ui`: a program journaled as `run` does it, and a viewer of it beside, in this process.

The link is said before the program starts. The program does not notice: its output and its exit code are its own, and
where the viewer cannot be had it runs all the same. Afterwards the viewer stays as long as somebody looks.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

from otel_agent_journal import terminal
from otel_agent_journal.bootstrap.run import run_agent
from otel_agent_journal.bootstrap.serving import Door, Served, open_server, serving
from otel_agent_journal.config import Settings
from otel_agent_journal.errors import JournalError

_LEFT_S: Final = 3.0  # a page that is loaded anew is gone for a moment
_LOOK_S: Final = 0.2


def run_watched(
    settings: Settings,
    command: Sequence[str],
    *,
    stay: bool | None = None,
    say: Callable[[str], None] | None = None,
    opens: Callable[[str], object] | None = None,
    ended: Callable[[], object] = lambda: None,
    **options: Any,
) -> int:
    """Run a program journaled with a viewer beside it; return the program's exit code.

    Args:
        settings: where to journal.
        command: the program and its arguments.
        stay: whether the viewer stays after the program, until Ctrl-C. None: on a terminal it does; elsewhere it stays
            while a browser shows it.
        say: takes each line for the user; default stderr.
        opens: is given the link, as to open a browser.
        ended: called once the program has ended, before the viewer does.
        options: as `run_agent` takes them.
    """
    say = say or terminal.say
    try:
        with _no_signals():
            served = open_server(settings, Door(), create=True)
    except (JournalError, OSError) as error:
        say(f"agent-journal: there is no viewer: {error}")
        return run_agent(settings, command, say=say, **options)
    link = served.link(settings.session) if settings.session is not None else served.latest
    _say_link(link)
    with contextlib.ExitStack() as held:
        with _no_signals():
            held.enter_context(serving(served))
        if opens is not None:
            opens(link)
        code = run_agent(settings, command, say=say, **options)
        ended()
        with contextlib.suppress(KeyboardInterrupt):
            _stay(served, stay, say)
    return code


def _say_link(link: str) -> None:
    """Say where the viewer is on stderr: as it is, with the token in it, which `terminal.say` would mask."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"agent-journal: watch it at {link}\n")
        sys.stderr.flush()


def _stay(served: Served, stay: bool | None, say: Callable[[str], None]) -> None:
    """Return when nobody looks any more, or it is not to stay; Ctrl-C raises."""
    if stay is None:
        stay = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    if stay:
        say("agent-journal: the viewer stays; Ctrl-C ends it")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while True:
            time.sleep(60)
    left_s = time.monotonic()
    said = False
    while served.app.seen_browser and (served.app.hub.watched or time.monotonic() - left_s < _LEFT_S):
        if served.app.hub.watched:
            left_s = time.monotonic()
            if not said:
                said = True
                say("agent-journal: a browser shows it; the viewer ends with the last page, or by Ctrl-C")
        time.sleep(_LOOK_S)


@contextlib.contextmanager
def _no_signals() -> Generator[None]:
    """Start threads that leave every signal to the main thread: which hands them on to the program."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
