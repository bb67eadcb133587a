"""Stores, drains, forwarders and redactors, opened as the settings say."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from otel_agent_journal.config import REDACTOR, Settings
from otel_agent_journal.errors import ConfigError, JournalError, StoreUnreachable

if TYPE_CHECKING:
    from otel_agent_journal.delivery.drain import Drain
    from otel_agent_journal.delivery.reception import Reception
    from otel_agent_journal.forwarding.forwarder import Forwarder
    from otel_agent_journal.pipeline.content import Redactor
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.reading.prices import Prices
    from otel_agent_journal.store.protocol import JournalStore

TAKE_IN_S: Final = 2.0  # a reader's patience with a store, or a backend of spans, that does not answer
NO_LIVE_WRITER: Final = "none"


def open_store(settings: Settings, *, create: bool = False) -> JournalStore:
    """Open the journal's store.

    Args:
        settings: `store` is its URL.
        create: make an embedded store that is not there yet; a reader that finds none says how to make one.

    Raises:
        StoreUnreachable: it is not there.
        UnknownScheme, MissingExtra: no installed package answers to the URL.
    """
    from otel_agent_journal.store import registry

    if not create and settings.store.startswith("sqlite:///"):
        file = sqlite_file(settings.store)
        if not file.exists():
            raise StoreUnreachable(
                f"there is no journal at {file}; make one with: agent-journal run -- python my_agent.py"
                " (or agent-journal demo), or name another with --store"
            )
    return registry.open_store(settings.store, create=create)


def sqlite_file(url: str) -> Path:
    """Return the file of an SQLite store's URL."""
    return Path(unquote(url.partition("://")[2].partition("?")[0].removeprefix("/")))


def open_drain(settings: Settings, store: JournalStore, **options: Any) -> Drain:
    """Return a drain of the settings' spool into a store; it is not started."""
    from otel_agent_journal.delivery.drain import Drain

    options.setdefault("reception", lambda: open_reception(settings))
    return Drain(settings.spool, store, **options)


def open_reception(settings: Settings, **options: Any) -> Reception:
    """Return what reads received OTLP as the settings say: which spans, and what of their content, are journaled."""
    import time

    from otel_agent_journal.delivery.known_traces import KnownTraces
    from otel_agent_journal.delivery.reception import Reception
    from otel_agent_journal.mapping.received import ReceivedSpans
    from otel_agent_journal.pipeline.content import ContentEncoder

    content = ContentEncoder(
        content=settings.content,
        redactor=None if settings.redactor is None else late_redactor(settings.redactor),
        field_limit_bytes=settings.field_limit_bytes,
    )
    traces = KnownTraces(settings.spool)
    spans = ReceivedSpans(all_spans=settings.all_spans, traces=traces)
    return Reception(spans, began_ns=time.time_ns(), content=content, keep=traces.keep, **options)


def open_forwarder(
    settings: Settings,
    store: JournalStore | None = None,
    *,
    url: str | None = None,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> Forwarder:
    """Return what sends steps' spans to the settings' OTLP endpoint, or to `url`.

    Raises:
        MissingExtra: the OTLP packages are not installed.
        ConfigError: the endpoint is malformed.
    """
    from otel_agent_journal.forwarding import forwarder
    from otel_agent_journal.store.protocol import BlobStore

    if store is not None:
        options.setdefault("read", store.read)
        if isinstance(store, BlobStore):
            options.setdefault("get_blob", store.get_blob)
    options.setdefault("capture_content", settings.span_content)
    return forwarder.open_forwarder(url or settings.otlp, os.environ if environ is None else environ, **options)


def open_journal(
    settings: Settings, *, adopt: bool = True, create: bool = False, note: Callable[[str], object]
) -> Journal:
    """Open a journal for reading; with `adopt`, what dead writers left in its spool is delivered first.

    Args:
        settings: the store, the spool, and where spans are forwarded to.
        adopt: take in what dead writers left.
        create: make an embedded store that is not there yet, as one does that this process is about to write.
        note: takes a line that readers should see beside what they asked for.

    Raises:
        StoreUnreachable: there is none; says how to make one.
    """
    from otel_agent_journal.reading.journal import Journal, has_dead

    store = open_store(settings, create=create or has_dead(settings.spool))
    journal = Journal(
        store,
        settings.spool,
        take_in=lambda: take_in(settings, store, note),
        note=note,
        prices=lambda: open_prices(settings),
    )
    if adopt:
        journal.take_in_dead()
    return journal


def take_in(settings: Settings, store: JournalStore, note: Callable[[str], object]) -> None:
    """Deliver what dead writers left in the settings' spool; what cannot be delivered now is noted, and waits."""
    try:
        forwarder = None if settings.otlp is None else open_forwarder(settings, store)
        try:
            drain = open_drain(settings, store, forward=forwarder, only_writer=NO_LIVE_WRITER)
            drain.drain_once(patience_s=TAKE_IN_S)
        finally:
            if forwarder is not None:
                forwarder.close(TAKE_IN_S)
    except (JournalError, OSError) as error:
        note(f"the spool at {settings.spool} was not taken in ({error}); to retry: agent-journal drain")


def open_prices(settings: Settings) -> Prices:
    """Return what calls are billed at, offline.

    Raises:
        ConfigError: the user's own prices are not there where the settings have them, or malformed.
    """
    from otel_agent_journal.config import spool_of
    from otel_agent_journal.reading.own_prices import found_file, read_own
    from otel_agent_journal.reading.prices import PriceList, Prices, cache_file

    file = found_file(settings.prices, spool_of(settings.store).parent, os.environ)
    return Prices(() if file is None else read_own(file), PriceList(cache_file(os.environ)), file)


def load_redactor(reference: str) -> Redactor:
    """Return the function that `module:function` names.

    Raises:
        ConfigError: it cannot be imported, or is no function.
    """
    module, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ConfigError(f"{REDACTOR} is '{reference}', which cannot be imported: {error}") from error
    if not callable(found):
        raise ConfigError(f"{REDACTOR} is '{reference}', which is {type(found).__name__}, not a function")
    return found


def late_redactor(reference: str) -> Redactor:
    """Return a redactor that is imported at its first use: before the program runs, its modules cannot be found.

    One that cannot be imported raises at every call, so that no field is journaled unredacted.
    """
    loaded: list[Redactor] = []
    home = ""
    with contextlib.suppress(OSError):
        home = str(Path.cwd())  # what "" on `sys.path` means now, and no longer once the program has changed it

    def redact(field: str, value: Any) -> Any:
        if not loaded:
            if "" in sys.path and home not in sys.path:
                sys.path.append(home)
            loaded.append(load_redactor(reference))
        return loaded[0](field, value)

    return redact
