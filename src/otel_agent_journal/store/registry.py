"""Stores by URL: the scheme names an entry point of the group `otel_agent_journal.stores`, a backend's factory.

Nothing is imported before it is asked for. The backends of the core are known without installed metadata.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol, cast
from urllib.parse import parse_qsl

from otel_agent_journal.errors import ConfigError, MissingExtra, UnknownScheme
from otel_agent_journal.masking import has_credentials, is_option, masked, no_url
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.uninstrumented import uninstrumented

GROUP: Final = "otel_agent_journal.stores"
BUILT_IN: Final = {
    "memory": "otel_agent_journal.store.memory:open_store",
    "otlp": "otel_agent_journal.store.otlp:open_store",
    "otlps": "otel_agent_journal.store.otlp:open_store",
    "sqlite": "otel_agent_journal.store.sqlite:open_store",
}
# Schemes of the exporters that are distributions of their own, and what to install for them.
EXPORTERS: Final = {
    "dynamodb": "otel-agent-journal-dynamodb",
    "postgresql": "otel-agent-journal-postgresql",
    "s3": "otel-agent-journal-s3",
}
AWS_CREDENTIALS: Final = (
    "boto3 takes them from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from a profile (?profile=NAME), or from the"
    " machine's role"
)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9.-]*)(?:\+[a-z0-9.-]+)?://", re.IGNORECASE)


class OpenStore(Protocol):
    """What an entry point of the group names: opens a store by its URL."""

    def __call__(self, url: str, *, create: bool = True) -> JournalStore:
        """Return the store; `create=False` is a reader's, which must not make a store that is not there."""
        ...


@uninstrumented()
def open_store(url: str, *, create: bool = True) -> JournalStore:
    """Return the store that a URL names. Whether it can be reached shows at the first call to it.

    Args:
        url: `scheme://...`, as the backend of that scheme understands it.
        create: whether an embedded store that is not there is made; readers say no.

    Raises:
        UnknownScheme: no backend answers to the scheme.
        MissingExtra: the backend exists, its distribution is not installed.
        ConfigError: the URL is malformed.
    """
    match = _SCHEME.match(url)
    if match is None:
        raise ConfigError(no_url("store", url))
    scheme = match[1].lower()
    return _factory(scheme, url)(url, create=create)


def known_schemes() -> tuple[str, ...]:
    """Return the schemes that `open_store` can open here and now, sorted."""
    return tuple(sorted(BUILT_IN.keys() | {entry_point.name for entry_point in entry_points(group=GROUP)}))


def options_of(url: str, what: str = "store") -> dict[str, str]:
    """Return the options of the URL of a store, or of `what` else there is.

    Raises:
        ConfigError: one of them is not written as options are.
    """
    options = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    if not all(is_option(name, value) for name, value in options.items()):
        raise ConfigError(f"{what} {masked(url)}: its options are written ?NAME=VALUE&NAME=VALUE")
    return options


def refuse_credentials(url: str, instead: str, what: str = "store") -> None:
    """For backends whose URLs have no place for credentials: refuse one that has some, or seems to.

    Args:
        url: the store's.
        instead: where credentials belong, as the end of a sentence.
        what: it is, if no store.

    Raises:
        ConfigError: it has; none of them is in the message.
    """
    if has_credentials(url):
        raise ConfigError(f"{what} {masked(url)}: its URL has no place for credentials; {instead}")


def _factory(scheme: str, url: str) -> OpenStore:
    if scheme in BUILT_IN:
        return cast("OpenStore", EntryPoint(scheme, BUILT_IN[scheme], GROUP).load())
    for entry_point in entry_points(group=GROUP, name=scheme):
        try:
            return cast("OpenStore", entry_point.load())
        except ModuleNotFoundError as error:
            requirement = EXPORTERS.get(scheme, entry_point.dist.name if entry_point.dist else scheme)
            raise MissingExtra(f"store {masked(url)}: the module '{error.name}'", requirement) from error
    if scheme in EXPORTERS:
        raise MissingExtra(f"store {masked(url)}: the backend for '{scheme}'", EXPORTERS[scheme])
    raise UnknownScheme(masked(url), known_schemes())
