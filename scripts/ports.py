"""Ports of loopback for servers that must be told one before they start.

Whoever asks the system for any port gets one of a range of its own, so a port below that range is taken by nobody by
chance. Against others who choose here, each port is locked until the process that chose it ends, however it ends.
A server of ours needs none of this: it binds port 0 and says what it got.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from functools import cache
from pathlib import Path

# Linux hands out 32768 and above, macOS 49152 and above; below 10000 are the ports that servers take by themselves.
_RANGE = range(10_000, 32_000)
_ours: set[int] = set()
_others = itertools.cycle([*_RANGE[os.getpid() % len(_RANGE) :], *_RANGE[: os.getpid() % len(_RANGE)]])


def reserved_port(preferred: int | None = None) -> int:
    """Return a port that nobody listens at, and nobody else will until this process ends.

    Args:
        preferred: the port to return where it can be had.

    Raises:
        RuntimeError: every port is taken.
    """
    wanted = itertools.islice(_others, len(_RANGE))
    for port in wanted if preferred is None else itertools.chain((preferred,), wanted):
        if port not in _ours and _is_locked_by_us(port) and _is_free(port):
            _ours.add(port)
            return port
    raise RuntimeError(f"no port of {_RANGE} is to be had on loopback")


@cache
def _locks() -> int:
    file = Path(tempfile.gettempdir()) / f"agent-journal-ports-{os.getuid()}"
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)


def _is_locked_by_us(port: int) -> bool:
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)  # one byte, and gone with the process
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that ended a moment ago is no hindrance
        try:
            asking.bind(("127.0.0.1", port))
            asking.listen()
        except OSError:
            return False
    return True
