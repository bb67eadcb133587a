"""`agent-journal collect`: workers take OTLP into the spool, and this process drains it into the store."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal.bootstrap.openers import open_drain, open_store
from otel_agent_journal.config import CONTENT, REDACTOR, Settings
from otel_agent_journal.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from otel_agent_journal.spool.drain import DrainReport

COLLECT_EXTRA: Final = "otel-agent-journal[collect]"
DELIVER_S: Final = 30.0  # at the end, for what is still in the spool; what is not delivered by then stays there
_LOOK_S: Final = 0.2


def collect(
    settings: Settings,
    *,
    grpc: str | None,
    http: str | None,
    workers: int = 1,
    say: Callable[[str], None],
    until: threading.Event | None = None,
) -> DrainReport:
    """Serve OTLP until SIGTERM, Ctrl-C or `until`, then deliver what is left; return what was delivered.

    Args:
        settings: the store and the spool.
        grpc, http: `HOST:PORT` to listen at; None is not served.
        workers: processes that share the ports.
        say: takes each line for the user.
        until: set to end it, by a program that calls this in a thread.

    Raises:
        ConfigError: an address is malformed, or cannot be listened at, or content was to be left out.
        MissingExtra: gRPC or uvicorn is not installed.
        StoreError: the store cannot be opened.
    """
    try:
        from otel_agent_journal.receiver.service import Service, address_of
        from otel_agent_journal.receiver.worker import Plan
    except ImportError as error:
        raise MissingExtra("the receiver of OTLP", COLLECT_EXTRA) from error
    from otel_agent_journal.receiver.intake import DEFAULT_BUDGET_BYTES

    if settings.redactor is not None or not settings.content:
        raise ConfigError(
            f"{REDACTOR} and {CONTENT}=metadata are not for collect: requests are on its disk as they were sent;"
            " leave content out where spans are made, or in the Collector"
        )
    over = until or threading.Event()
    plan = Plan(spool=settings.spool.absolute(), cap_bytes=settings.spool_cap_bytes, budget_bytes=DEFAULT_BUDGET_BYTES)
    service = Service(
        plan,
        grpc=None if grpc is None else address_of(grpc, "--grpc"),
        http=None if http is None else address_of(http, "--http"),
        workers=workers,
    )
    store = open_store(settings, create=True)
    drain = open_drain(settings, store, all_spans=settings.all_spans)
    try:
        with _ended_by_signals(over):
            service.start()
            drain.start()
            say(f"agent-journal: store {store.url}   spool {settings.spool}")
            for name, address in (("grpc", service.grpc), ("http", service.http)):
                if address is not None:
                    say(f"agent-journal: listening for OTLP/{name} on {address}")
            while not over.wait(_LOOK_S):
                service.look()
            service.stop()
        drain.stop(DELIVER_S)
        return drain.stats
    finally:
        service.stop()
        store.close()


@contextmanager
def _ended_by_signals(over: threading.Event) -> Generator[None]:
    """Set an event at the first SIGTERM or SIGINT; the second has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def end(number: int, _frame: Any) -> None:
        over.set()
        signal.signal(number, before[number])

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
