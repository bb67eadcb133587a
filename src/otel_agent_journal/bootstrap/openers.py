"""Stores, drains, forwarders and redactors, opened as the settings say."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from otel_agent_journal.config import REDACTOR, Settings
from otel_agent_journal.errors import ConfigError, StoreUnreachable

if TYPE_CHECKING:
    from otel_agent_journal.pipeline.content import Redactor
    from otel_agent_journal.spool.drain import Drain
    from otel_agent_journal.spool.forward import Forwarder
    from otel_agent_journal.spool.reception import Reception
    from otel_agent_journal.store.protocol import JournalStore


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

    if not create and settings.store.startswith("sqlite:"):
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
    from otel_agent_journal.spool.drain import Drain

    options.setdefault("reception", lambda: open_reception(settings))
    return Drain(settings.spool, store, **options)


def open_reception(settings: Settings, **options: Any) -> Reception:
    """Return what reads received OTLP as the settings say: which spans, and what of their content, are journaled."""
    import time

    from otel_agent_journal.mapping.received import ReceivedSpans
    from otel_agent_journal.pipeline.content import ContentEncoder
    from otel_agent_journal.spool.known_traces import KnownTraces
    from otel_agent_journal.spool.reception import Reception

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
    from otel_agent_journal.spool import forward
    from otel_agent_journal.store.protocol import BlobStore

    if store is not None:
        options.setdefault("read", store.read)
        if isinstance(store, BlobStore):
            options.setdefault("get_blob", store.get_blob)
    options.setdefault("capture_content", settings.span_content)
    return forward.open_forwarder(url or settings.otlp, os.environ if environ is None else environ, **options)


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

    def redact(field: str, value: Any) -> Any:
        if not loaded:
            loaded.append(load_redactor(reference))
        return loaded[0](field, value)

    return redact
