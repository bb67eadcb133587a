"""A guard for programs that are replayed: they connect to this machine alone, whatever library they do it with.

It catches what no instrumentation sees, such as a request in a node's own code. It is no sandbox: code that wants out
gets out, by another process for one.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from otel_agent_journal.event import REPLAY, WARNING
from otel_agent_journal.pipeline.step import current_step
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.replays.matching import NEW

_HERE = ("localhost", "localhost.localdomain", "")


def forbid_network() -> None:
    """Have sockets of this process connect to loopback and to local sockets alone, from here on."""
    kind: Any = socket.socket

    def guarded(original: Any) -> Any:
        def connect(one: Any, address: Any, *more: Any) -> Any:
            if one.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
                raise _refused(f"network {address[0]}:{address[1]}")
            return original(one, address, *more)

        return connect

    kind.connect, kind.connect_ex = guarded(kind.connect), guarded(kind.connect_ex)
    look_up: Any = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None and not _is_here(host):
            raise _refused(f"network {_text(host)}:{_text(port)}")
        return look_up(host, port, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def _refused(what: str) -> Exception:
    replay, step = replaying(), current_step()
    if step is not None:
        told = {"message": f"{what} was not connected to", REPLAY: {"verdict": NEW, "name": what}}
        step.note(WARNING, told, level="WARNING")
    return PermissionError(f"replay: {what}") if replay is None else replay.refused(what)


def _is_here(host: Any) -> bool:
    name = _text(host).lower().rstrip(".")
    if name in _HERE:
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
