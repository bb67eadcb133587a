"""`agent-journal collect`: workers take OTLP into the spool, and this process drains it into the store."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.bootstrap.openers import load_redactor, open_drain, open_reception, open_store
from otel_agent_journal.bootstrap.sinks import left_over, open_sinks
from otel_agent_journal.config import Settings
from otel_agent_journal.delivery.interruptions import interruptions
from otel_agent_journal.delivery.rounds import READ_BYTES
from otel_agent_journal.errors import ConfigError, MissingExtra, UnsupportedByStore
from otel_agent_journal.projections.verdict import SILENCE_NS
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.threads import start_thread
from otel_agent_journal.uninstrumented import uninstrumented

if TYPE_CHECKING:
    from otel_agent_journal.delivery.drain import Drain, DrainReport
    from otel_agent_journal.delivery.reception import Reception
    from otel_agent_journal.receiver.counters import Row
    from otel_agent_journal.receiver.security import Tls
    from otel_agent_journal.receiver.service import Service
    from otel_agent_journal.receiver.worker import Plan
    from otel_agent_journal.store.protocol import JournalStore

COLLECT_EXTRA: Final = "otel-agent-journal[collect]"
DELIVER_S: Final = 30.0  # at the end, for what is still in the spool; what is not delivered by then stays there
_READ_BYTES: Final = 4 * 1024 * 1024  # while nobody waits for the store: the more at once, the fewer writes a session
_LOOK_S: Final = 0.2
_MEASURE_S: Final = 1.0
_FIRST_LOOK_S: Final = 1.0  # for which the first look at the store may hold up what is said of the doors


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen and whom to let in. `grpc` and `http` are `HOST:PORT`; None is not served."""

    grpc: str | None = "127.0.0.1:4317"
    http: str | None = "127.0.0.1:4318"
    workers: int = 1
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_authority: Path | None = None
    open_to_all: bool = False
    in_flight_bytes: int = 256 * 1024 * 1024  # of requests that are not yet answered, of each worker


def collect(
    settings: Settings,
    doors: Doors,
    *,
    ack_store: bool = False,
    silence_s: float = SILENCE_NS / 1e9,
    say: Callable[[str], None],
    until: threading.Event | None = None,
) -> DrainReport:
    """Serve OTLP until SIGTERM, Ctrl-C or `until`, then deliver what is left; return what was delivered.

    Args:
        settings: the store and the spool, and what of content is journaled.
        doors: where to listen and whom to let in.
        ack_store: acknowledge a request when it is in the store, not when it is on the disk.
        silence_s: for how long nothing may be heard of an agent with a step open before it is called lost.
        say: takes each line for the user.
        until: set to end it, by a program that calls this in a thread.

    Raises:
        ConfigError: an address is malformed or cannot be listened at, or everybody would be let in.
        MissingExtra: gRPC or uvicorn is not installed.
        StoreError: the store cannot be opened.
    """
    try:
        from otel_agent_journal.receiver.service import Service, address_of
    except ImportError as error:
        raise MissingExtra("the receiver of OTLP", COLLECT_EXTRA) from error

    grpc = None if doors.grpc is None else address_of(doors.grpc, "--grpc")
    http = None if doors.http is None else address_of(doors.http, "--http")
    plan = _plan(settings, doors, [address.host for address in (grpc, http) if address is not None])
    if settings.redactor is not None:
        load_redactor(settings.redactor)  # there is no program to wait for: one that is not there is said now
    over = until or threading.Event()
    store = open_store(settings, create=True)
    try:
        if not store.capabilities.read:
            raise ConfigError(f"store {store.url} only ships events: collect needs one that keeps them")
        service = Service(plan, grpc=grpc, http=http, workers=doors.workers, tells=ack_store)
        reception = open_reception(settings, delivered=service.delivered if ack_store else None)
        sweep = _Sweep(settings, store, reception, silence_s)
        sinks = open_sinks(settings)
        forward = sinks.came if settings.sinks else None
        read_bytes = READ_BYTES if ack_store else _READ_BYTES
        drain = open_drain(
            settings, store, reception=lambda: reception, read_bytes=read_bytes, rounds_up=sweep, forward=forward
        )
        look = _FirstLook(store, say)
        begun = partial(_say_where, say, service, store.url, settings, plan.tls)
        with _ended_by_signals(over):
            look.start()
            sinks.start()
            _serve(service, drain, reception, over, look, begun)
        drain.stop(DELIVER_S)
        for line in map(left_over, sinks.close(DELIVER_S)):
            if line is not None:
                say(f"agent-journal: {line}")
        return drain.stats
    finally:
        store.close()


def _serve(
    service: Service,
    drain: Drain,
    reception: Reception,
    over: threading.Event,
    first_look: _FirstLook,
    begun: Callable[[], None],
) -> None:
    """Serve and deliver until it is over; the workers are ended then, whatever happened."""
    counting = _Counting(service.own_counters, reception, drain)
    try:
        service.start()
        drain.start()
        first_look.join(_FIRST_LOOK_S)
        begun()
        while not over.wait(_LOOK_S):
            service.look()
            counting.look()
            first_look.tell()
    finally:
        service.stop()


def _plan(settings: Settings, doors: Doors, hosts: Sequence[str]) -> Plan:
    """Return what each worker is told."""
    from otel_agent_journal.receiver.worker import Plan

    tokens, tls = _keys(doors, hosts)
    return Plan(
        spool=settings.spool.absolute(),
        cap_bytes=settings.spool_cap_bytes,
        budget_bytes=doors.in_flight_bytes,
        content=settings.content,
        tokens=tokens,
        tls=tls,
    )


def _keys(doors: Doors, hosts: Sequence[str]) -> tuple[tuple[str, ...], Tls | None]:
    """Return the tokens and certificates; refuse to let everybody in who is not on this machine."""
    from otel_agent_journal.receiver.security import Tls, check_files, is_loopback, read_tokens

    if (doors.certificate is None) != (doors.key is None):
        raise ConfigError("--tls-cert and --tls-key go together: the certificate, and the key that it is of")
    if doors.client_authority is not None and doors.certificate is None:
        raise ConfigError(
            "--client-ca asks clients for certificates, which takes TLS: name --tls-cert and --tls-key too"
        )
    tokens = () if doors.token_file is None else read_tokens(doors.token_file)
    open_hosts = [host for host in hosts if not is_loopback(host)]
    if open_hosts and not tokens and doors.client_authority is None and not doors.open_to_all:
        raise ConfigError(
            f"{open_hosts[0]} can be reached from other machines, and everybody there could write into the journal:"
            " name --token-file or --client-ca, or say --open-to-all where the network lets in nobody else"
        )
    if doors.certificate is None or doors.key is None:
        return tokens, None
    tls = Tls(certificate=doors.certificate, key=doors.key, client_authority=doors.client_authority)
    check_files(tls)
    return tokens, tls


def _say_where(say: Callable[[str], None], service: Service, url: str, settings: Settings, tls: Tls | None) -> None:
    say(f"agent-journal: store {url}   spool {settings.spool}")
    for name, address in (("grpc", service.grpc), ("http", service.http)):
        if address is not None:
            say(f"agent-journal: listening for OTLP/{name} on {address}{'' if tls is None else ' with TLS'}")


class _FirstLook(threading.Thread):
    """Opens the store before anything comes: an embedded one is there for readers then, one that is away is told of."""

    def __init__(self, store: JournalStore, say: Callable[[str], None]) -> None:
        super().__init__(name="agent-journal-first-look", daemon=True)
        self._store = store
        self._say = say
        self._problem: Exception | None = None

    def tell(self) -> None:
        """Say what is the matter with the store, once that is known."""
        problem, self._problem = self._problem, None
        if problem is not None:
            self._say(f"agent-journal: {problem}; what is received stays in the spool until the store takes it")

    @uninstrumented()
    def run(self) -> None:
        """Look once."""
        try:
            next(iter(self._store.sessions(SessionFilter(limit=1))), None)
        except UnsupportedByStore:
            return
        except Exception as error:  # noqa: BLE001 - the drain meets it again, and goes on trying
            self._problem = error


class _Sweep:
    """Says of writers whose heartbeats no longer come that they are lost. Called in the drain's thread."""

    def __init__(self, settings: Settings, store: JournalStore, reception: Reception, silence_s: float) -> None:
        self._spool = settings.spool
        self._store = store
        self._reception = reception
        self._silence_s = silence_s
        self._began = time.monotonic()

    def __call__(self) -> None:
        """Look once; not before anybody could have been heard of."""
        if time.monotonic() - self._began >= self._silence_s:
            silence_ns = int(self._silence_s * 1e9)
            interruptions(self._store, self._spool, time.time_ns(), silence_ns, is_heard=self._is_heard)

    def _is_heard(self, writer: str) -> bool:
        silent_s = self._reception.silent_s(writer)
        return silent_s is not None and silent_s < self._silence_s


class _Counting:
    """Puts what was delivered beside what the workers count."""

    def __init__(self, counters: Row, reception: Reception, drain: Drain) -> None:
        self._counters = counters
        self._counted = reception.counted
        self._drain = drain
        self._measure_at = 0.0

    def look(self) -> None:
        """Count; and now and then measure what is left, which takes reading it: at most a fiftieth of the time."""
        for name in ("stored", "duplicate", "left_out", "set_aside", "recovered"):
            self._counters.put(name, getattr(self._counted, name))
        begun = time.monotonic()
        if begun >= self._measure_at:
            self._counters.put("spool_bytes", self._drain.stats.pending_bytes)
            now = time.monotonic()
            self._measure_at = now + max(_MEASURE_S, 50 * (now - begun))


@contextmanager
def _ended_by_signals(over: threading.Event) -> Generator[None]:
    """Set an event at the first SIGTERM or SIGINT; the second has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def end(number: int, _frame: Any) -> None:
        start_thread(over.set)  # the event's lock may be held where the signal came
        signal.signal(number, before[number])

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
