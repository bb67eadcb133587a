"""Sinks by URL: the scheme names an entry point of the group `otel_agent_journal.sinks`, which opens one.

Nothing is imported before it is asked for. The core has no sink of its own.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import Final, cast

from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.masking import masked
from otel_agent_journal.sinks.port import OpenSink, Sink
from otel_agent_journal.uninstrumented import uninstrumented

GROUP: Final = "otel_agent_journal.sinks"
EXPORTERS: Final = {"firehose": "otel-agent-journal[kinesis]", "kinesis": "otel-agent-journal[kinesis]"}
START, NOW = "start", "now"
_SCHEME: Final = re.compile(r"([a-z][a-z0-9.-]*)(?:\+[a-z0-9.-]+)?://", re.IGNORECASE)
_FROM: Final = re.compile(r"(?<=[?&])from=([^&]*)(?:&|$)")


@uninstrumented()
def open_sink(url: str) -> Sink:
    """Return the sink that a URL names. Whether it can be reached shows at the first call to it.

    Raises:
        MissingExtra: the sink exists, its distribution is not installed.
        ConfigError: the URL is malformed, or no installed package answers to it.
    """
    match = _SCHEME.match(url)
    if match is None:
        raise ConfigError(f"sink '{masked(url)}' is not a URL; one is written as kinesis://STREAM?region=eu-central-1")
    begin_of(url)
    return _factory(match[1].lower(), url)(without_begin(url))


def begin_of(url: str) -> str:
    """Return where a sink of this URL begins that was never sent anything: START, or NOW.

    Raises:
        ConfigError: `from` says neither.
    """
    match = _FROM.search(url)
    said = START if match is None else match[1]
    if said not in (START, NOW):
        raise ConfigError(f"sink {masked(url)}: from is '{START}', all that the store has, or '{NOW}', what comes")
    return said


def without_begin(url: str) -> str:
    """Return a sink's URL as the sink knows it: where to begin is none of its options."""
    return _FROM.sub("", url).rstrip("?&")


def known_schemes() -> tuple[str, ...]:
    """Return the schemes that `open_sink` can open here and now, sorted."""
    return tuple(sorted({entry_point.name for entry_point in entry_points(group=GROUP)}))


def _factory(scheme: str, url: str) -> OpenSink:
    for entry_point in entry_points(group=GROUP, name=scheme):
        try:
            return cast("OpenSink", entry_point.load())
        except ModuleNotFoundError as error:
            requirement = EXPORTERS.get(scheme, entry_point.dist.name if entry_point.dist else scheme)
            raise MissingExtra(f"sink {masked(url)}: the module '{error.name}'", requirement) from error
    if scheme in EXPORTERS:
        raise MissingExtra(f"sink {masked(url)}: what sends to {scheme}", EXPORTERS[scheme])
    known = ", ".join(sorted({*EXPORTERS, *known_schemes()}))
    raise ConfigError(f"sink {masked(url)}: no sink is known by the scheme '{scheme}'; there are {known}")
