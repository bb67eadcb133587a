"""Waiting for a child that stands in our place: every signal that we are sent reaches it, none ends us before it.

All signals are blocked and waited for, not caught: so one says who sent it, none interrupts anything, and a fault of
our own still ends us. What a terminal sends goes to the child by itself, being sent to all in its group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Generator
from typing import Any, Final

_ALL: Final = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
_STOPS: Final = frozenset((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))
_LOOK_S: Final = 0.5  # at the child, whatever signals say
_BY_KEYS: Final = frozenset((signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP))


@contextlib.contextmanager
def held_signals() -> Generator[dict[str, Any]]:
    """Keep all signals for `wait_for_child`; yields what the child is to be started with. Of the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield {}
        return
    child = signal.signal(signal.SIGCHLD, _note)  # one that is ignored, as by default, may not be waited for
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        yield {"preexec_fn": lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)}
    finally:
        while signal.sigpending() & _ALL:  # they came too late for the child, and are not meant for us
            signal.sigwait(_ALL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if child is None else child)


def wait_for_child(child: subprocess.Popen[Any]) -> int:
    """Hand on each signal until the child has ended; return its code as `Popen.wait` does. Within `held_signals`."""
    if threading.current_thread() is not threading.main_thread():
        return child.wait()
    stopping = False
    while (code := child.poll()) is None:
        number, from_outside = _next_signal()
        if number is None or number == signal.SIGCHLD:
            if stopping and _is_stopped(child.pid):  # so are we then, for the shell that asked for it
                os.kill(os.getpid(), signal.SIGSTOP)
                stopping = False
        else:
            stopping = number in _STOPS or (stopping and number != signal.SIGCONT)
            if from_outside:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    child.send_signal(number)
    return code


def _note(_number: int, _frame: object) -> None:
    """Do nothing."""


def _next_signal() -> tuple[int | None, bool]:
    """Wait for a signal for a while; return it, if one came, and whether the child does not get it by itself.

    Not for ever: a thread that was there before us holds no signals, and may be given the one that tells of the child.
    """
    if not hasattr(signal, "sigwaitinfo"):  # as on macOS
        number = signal.sigwait(_ALL)
        return number, not (number in _BY_KEYS and os.isatty(0))
    info = signal.sigtimedwait(_ALL, _LOOK_S)
    if info is None:
        return None, False
    by_kernel = info.si_code > 0  # siginfo.h: what processes send has none, or a negative one
    return info.si_signo, info.si_pid != os.getpid() and (not by_kernel or info.si_signo == signal.SIGHUP)


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError, AttributeError):
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None
    return False
