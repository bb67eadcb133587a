"""Receivers by kind: an entry point of the group `otel_agent_journal.receivers` opens one from its table of the file.

Nothing is imported before it is asked for. The receivers of the core are known without installed metadata. A receiver
sends one message, once; repeating is `sending.py`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from otel_agent_journal.alerts.fields import Table
from otel_agent_journal.alerts.message import Message
from otel_agent_journal.alerts.rules import NS_PER_S, ReceiverEntry, Rules
from otel_agent_journal.errors import ConfigError, MissingExtra

GROUP: Final = "otel_agent_journal.receivers"
BUILT_IN: Final = {
    "slack": "otel_agent_journal.alerts.slack:open_receiver",
    "webhook": "otel_agent_journal.alerts.webhook:open_receiver",
}
EXPORTERS: Final = {"eventbridge": "otel-agent-journal[aws]", "sns": "otel-agent-journal[aws]"}
MAX_TIMEOUT_S: Final = 30
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MAX_SECRET_BYTES: Final = 16 * 1024


class Receiver(Protocol):
    """Takes messages. Called from a thread of its own, by one at a time."""

    @property
    def shown(self) -> str:
        """Where it sends to, as it may be printed: no secret, nor what may be one."""
        ...

    def send(self, message: Message) -> None:
        """Send a message, once, within its time.

        Raises:
            NotSent: it was not taken, as far as is known.
            JournalError: the same.
        """
        ...


class OpenReceiver(Protocol):
    """What an entry point of the group names: opens a receiver from its table. Connects to nothing."""

    def __call__(self, table: Table, environ: Mapping[str, str]) -> Receiver:
        """Return it; takes every key of the table that is its kind's. Raises ConfigError by `table.wrong`."""
        ...


def open_receivers(rules: Rules, environ: Mapping[str, str] | None = None) -> dict[str, Receiver]:
    """Return the receivers of a file by their names, ready to send.

    Raises:
        ConfigError: a table is malformed, or a secret is not where it says.
        MissingExtra: a kind exists, its distribution is not installed.
    """
    found = os.environ if environ is None else environ
    return {name: _opened(entry, found) for name, entry in rules.receivers.items()}


def secret_of(table: Table, key: str, environ: Mapping[str, str], *, needed: str = "") -> str | None:
    """Return a secret that a table names by `KEY_env` or `KEY_file`; None where it names none and none is needed.

    Args:
        table: the receiver's.
        key: what it is, as `secret`.
        environ: the variables.
        needed: what to do where there is none, as the end of a sentence; empty where it is not needed.

    Raises:
        ConfigError: it is not there; nothing of it is in the message.
    """
    variable, file = table.text(f"{key}_env"), table.text(f"{key}_file")
    if variable and file:
        raise table.error(f"{key} is named twice", f"keep {key}_env or {key}_file", key=f"{key}_file")
    if variable:
        value = environ.get(variable, "").strip() if _VARIABLE.fullmatch(variable) else ""
        if not value:
            named = variable if _VARIABLE.fullmatch(variable) else "something that is no variable's name"
            raise table.error(f"{key}_env names {named}, which is not set", "set it where this runs", key=f"{key}_env")
        return value
    if file:
        return _from_file(table, key, file)
    if needed:
        raise table.error(f"it has no {key}", needed)
    return None


def timeout_of(table: Table) -> float:
    """Return how long one message may take, in seconds."""
    return table.span_ns("timeout", "10s", 0.1, MAX_TIMEOUT_S) / NS_PER_S


def shown_place(url: str) -> str:
    """Return scheme and host of a URL, and nothing else: in those of webhooks the path is often the secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "***"
    hidden = "/***" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.hostname or '***'}{port}{hidden}"


def http_url(table: Table, key: str, url: str) -> str:
    """Return a URL that can be posted to.

    Raises:
        ConfigError: it is none; it is not in the message.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and url.isprintable()
        _ = parts.port
    except ValueError:
        fits = False
    if not fits or " " in url:
        raise table.error(f"{key} is no URL that can be posted to", "it begins with https:// and a host", key=key)
    if "@" in urlsplit(url).netloc:
        raise table.error(f"{key} holds a user or password", "a receiver is told by its path or a signature", key=key)
    return url


def _opened(entry: ReceiverEntry, environ: Mapping[str, str]) -> Receiver:
    receiver = _factory(entry)(entry.table, environ)
    entry.table.done()
    return receiver


def _factory(entry: ReceiverEntry) -> OpenReceiver:
    kind = entry.kind
    if kind in BUILT_IN:
        return cast("OpenReceiver", EntryPoint(kind, BUILT_IN[kind], GROUP).load())
    for entry_point in entry_points(group=GROUP, name=kind):
        try:
            return cast("OpenReceiver", entry_point.load())
        except ModuleNotFoundError as error:
            requirement = EXPORTERS.get(kind, entry_point.dist.name if entry_point.dist else kind)
            raise MissingExtra(f"receiver '{entry.name}': the module '{error.name}'", requirement) from error
    if kind in EXPORTERS:
        raise MissingExtra(f"receiver '{entry.name}': what sends to {kind}", EXPORTERS[kind])
    known = sorted({*BUILT_IN, *EXPORTERS, *(one.name for one in entry_points(group=GROUP))})
    raise entry.table.error(f"there is no kind '{kind}'", f"there are {', '.join(known)}", key="kind")


def _from_file(table: Table, key: str, file: str) -> str:
    path = Path(file).expanduser()
    path = path if path.is_absolute() else table.file.parent / path
    try:
        with path.open("rb") as stream:
            value = stream.read(_MAX_SECRET_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{table.file}: {table.title}: {key}_file cannot be read: {error}") from error
    if not value:
        raise table.error(f"{key}_file is empty", "write it there", key=f"{key}_file")
    return value
