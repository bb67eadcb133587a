"""One process that serves: an event loop with both doors, and a spool folder of its own. Started by `service`.

It ends on SIGTERM, and when the process that started it is gone: takes nothing more, answers what it has in hand, seals
its spool.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.receiver.deliveries import Deliveries
from otel_agent_journal.receiver.intake import Intake
from otel_agent_journal.receiver.security import Tls, Tokens
from otel_agent_journal.spool.writer import SpoolWriter
from otel_agent_journal.terminal import log_handler
from otel_agent_journal.uninstrumented import uninstrumented

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from otel_agent_journal.receiver.counters import Counters

GRACE_S: Final = 5.0  # for requests in hand, once it is to end
_BACKLOG: Final = 1024


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker serves and where it keeps it. A port that is None is not served."""

    spool: Path
    cap_bytes: int
    budget_bytes: int
    content: bool = True
    host_grpc: str = ""
    port_grpc: int | None = None
    host_http: str = ""
    port_http: int | None = None
    tokens: tuple[str, ...] = ()
    tls: Tls | None = None


class Place(msgspec.Struct, frozen=True):
    """A worker's own: its row of the counters, its folder of the spool, and where it hears what is in the store."""

    number: int
    writer: str
    deliveries: socket.socket | None = None


@uninstrumented()
def serve(plan: Plan, place: Place, counters: Counters, ready: Connection) -> None:
    """Serve until SIGTERM, or until the process that started this one is gone. Sends a text when it listens.

    Args:
        plan: what and where.
        place: what is its own.
        counters: shared with the other processes.
        ready: gets "" once it listens, else why it cannot.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    logging.basicConfig(level=logging.WARNING, handlers=[log_handler("%(levelname)s %(name)s: %(message)s")])
    writer = SpoolWriter(plan.spool, writer=place.writer, cap_bytes=plan.cap_bytes, fsync=True)
    try:
        asyncio.run(_serve(plan, place, writer, counters, ready))
    finally:
        writer.close()


async def _serve(plan: Plan, place: Place, writer: SpoolWriter, counters: Counters, ready: Connection) -> None:
    loop = asyncio.get_running_loop()
    stored = None if place.deliveries is None else Deliveries(place.deliveries)
    row = counters.row(place.number)
    intake = Intake(writer, row, budget_bytes=plan.budget_bytes, content=plan.content, stored=stored)
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    parent = multiprocessing.parent_process()
    if parent is not None:
        loop.add_reader(parent.sentinel, ending.set)
    stops: list[Coroutine[Any, Any, None]] = []
    try:
        if plan.port_grpc is not None:
            stops.append(await _grpc(intake, plan, plan.port_grpc))
        if plan.port_http is not None:
            stops.append(await _http(intake, plan, plan.port_http, counters))
    except (OSError, RuntimeError, ConfigError) as error:
        ready.send(str(error))
    else:
        ready.send("")
        await ending.wait()
    finally:
        intake.close()
        await asyncio.gather(*stops)


async def _grpc(intake: Intake, plan: Plan, port: int) -> Coroutine[Any, Any, None]:
    """Serve gRPC; return what ends it."""
    from otel_agent_journal.receiver.grpc_door import GrpcDoor

    door, host = GrpcDoor(intake, Tokens(plan.tokens), plan.tls), plan.host_grpc
    await door.start(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return door.stop(GRACE_S)


async def _http(intake: Intake, plan: Plan, port: int, counters: Counters) -> Coroutine[Any, Any, None]:
    """Serve HTTP; return what ends it."""
    from otel_agent_journal.receiver.http_door import HttpDoor
    from otel_agent_journal.receiver.http_server import HttpServer
    from otel_agent_journal.receiver.metrics import exposition

    door = HttpDoor(intake, Tokens(plan.tokens), lambda: exposition(counters.totals()))
    server = HttpServer(door, plan.tls, grace_s=GRACE_S)
    listening = reusable(plan.host_http, port)
    listening.listen(_BACKLOG)
    await server.start(listening)
    return server.stop()


def reusable(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address that other processes may bind, too.

    Raises:
        OSError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
