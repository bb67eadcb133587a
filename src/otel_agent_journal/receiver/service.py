"""The processes of `agent-journal collect`: workers that serve share the ports, and this process looks after them.

What a worker acknowledged is in its folder of the spool, so that one that dies loses nothing: another takes its place,
and whoever drains the spool finishes the folder.
"""

from __future__ import annotations

import logging
import multiprocessing
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.receiver import worker
from otel_agent_journal.receiver.counters import Counters, Row
from otel_agent_journal.receiver.deliveries import Teller

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_log = logging.getLogger("otel_agent_journal.receiver")

START_S: Final = 30.0  # a worker that does not listen by then never will
_AGAIN_S: Final = 1.0  # before a worker that died is replaced
_END_S: Final = worker.GRACE_S + 5.0


class Address(msgspec.Struct, frozen=True):
    """Where to listen. Port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str, what: str) -> Address:
    """Return the address that `HOST:PORT` names.

    Raises:
        ConfigError: it is none.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise ConfigError(f"{what} is '{text}'; HOST:PORT is expected, as 127.0.0.1:4317")
    return Address(host, int(port))


class Service:
    """Workers at their ports.

    Args:
        plan: what each serves; ports are found here.
        grpc, http: where; None is not served.
        workers: how many processes.
        tells: whether workers wait for the store; then `delivered` is to be called.
    """

    def __init__(
        self,
        plan: worker.Plan,
        *,
        grpc: Address | None,
        http: Address | None,
        workers: int = 1,
        tells: bool = False,
    ) -> None:
        self._held = ExitStack()
        self.grpc = None if grpc is None else self._reserve(grpc, "--grpc")
        self.http = None if http is None else self._reserve(http, "--http")
        self._plan = msgspec.structs.replace(
            plan,
            host_grpc="" if self.grpc is None else self.grpc.host,
            port_grpc=None if self.grpc is None else self.grpc.port,
            host_http="" if self.http is None else self.http.host,
            port_http=None if self.http is None else self.http.port,
        )
        self._count = workers
        self._tells = tells
        self._tellers: dict[str, Teller] = {}
        self._writers = [""] * workers
        self.counters = Counters(workers + 1)
        self._context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._workers: list[BaseProcess] = []
        self._died_at: dict[int, float] = {}

    def start(self) -> None:
        """Start the workers; return when all listen.

        Raises:
            ConfigError: an address cannot be listened at.
        """
        for number in range(self._count):
            self._workers.append(self._start(number))  # one by one: those before one that fails are ended by `stop`

    @property
    def own_counters(self) -> Row:
        """The counters of the process that delivers."""
        return self.counters.row(self._count)

    def delivered(self, writer: str, received_ns: Sequence[int]) -> None:
        """Tell the worker of a spool folder which of its requests are in the store. From any thread."""
        teller = self._tellers.get(writer)
        if teller is not None:
            teller.tell(received_ns)

    def look(self) -> None:
        """Replace workers that died. To be called now and then."""
        for number, process in enumerate(self._workers):
            if process.is_alive():
                continue
            now = time.monotonic()
            died_at = self._died_at.setdefault(number, now)
            if now - died_at < _AGAIN_S:
                continue
            _log.warning("worker=<%d>, exit=<%s> | worker died, another takes its place", number, process.exitcode)
            del self._died_at[number]
            try:
                self._workers[number] = self._start(number)
            except ConfigError as error:
                _log.warning("error=<%s> | worker could not be replaced, and will be tried again", error)

    def stop(self) -> None:
        """End the workers: they take nothing more and answer what they have in hand."""
        for process in self._workers:
            process.terminate()
        deadline = time.monotonic() + _END_S
        for process in self._workers:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._held.close()

    def _start(self, number: int) -> BaseProcess:
        mine, theirs = self._context.Pipe(duplex=False)
        place = self._place(number)
        process = self._context.Process(
            target=worker.serve,
            args=(self._plan, place, self.counters, theirs),
            name=f"agent-journal-collect-{number}",
            daemon=True,
        )
        process.start()
        theirs.close()
        if place.deliveries is not None:
            place.deliveries.close()
        try:
            said = mine.recv() if mine.poll(START_S) else f"it did not listen within {START_S:g} s"
        except EOFError:
            process.join(1)
            said = f"it ended with exit code {process.exitcode}"
        finally:
            mine.close()
        if said:
            process.kill()
            process.join()
            raise ConfigError(f"worker {number} cannot serve: {said}")
        return process

    def _place(self, number: int) -> worker.Place:
        """Return a place for a worker, in the stead of the one that had its number."""
        before = self._tellers.pop(self._writers[number], None)
        if before is not None:
            before.close()
        self.counters.row(number).put("in_flight_bytes", 0)
        writer = self._writers[number] = uuid4().hex
        if not self._tells:
            return worker.Place(number, writer)
        tells, hears = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._tellers[writer] = Teller(tells)
        return worker.Place(number, writer, hears)

    def _reserve(self, address: Address, what: str) -> Address:
        """Find out that nobody else listens there, and keep the port for the workers."""
        try:
            port = address.port
            if port:
                _exclusive(address).close()
            held = worker.reusable(address.host, port)
        except (OSError, ValueError) as error:  # ValueError: a name that none can be
            self._held.close()
            said = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{what} {address} cannot be listened at: {said}; name another with {what} HOST:PORT"
            ) from error
        self._held.callback(held.close)
        return Address(address.host, held.getsockname()[1])


def _exclusive(address: Address) -> socket.socket:
    """Bind an address as nobody can who shares it."""
    bound = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address.host, address.port))
    except OSError:
        bound.close()
        raise
    return bound
