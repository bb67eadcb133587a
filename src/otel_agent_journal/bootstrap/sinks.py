"""The sinks of the settings, each with a thread and a store of its own, beside whatever drains."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_agent_journal.bootstrap.openers import open_store
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.masking import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_agent_journal.config import Settings
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.sinks.metrics import SinkMetrics
    from otel_agent_journal.sinks.shipper import Shipper, ShipStats


class Sinks:
    """The shippers of a process. Nothing here waits for a sink, but `close`.

    Args:
        shippers: one for each sink; not started.
    """

    def __init__(self, shippers: list[Shipper]) -> None:
        self._shippers = shippers
        self._metrics: SinkMetrics | None = None

    def start(self) -> None:
        """Send from now on, each sink from a thread of its own."""
        if not self._shippers:
            return
        from otel_agent_journal.sinks.metrics import SinkMetrics

        self._metrics = SinkMetrics(self.stats)
        for shipper in self._shippers:
            shipper.start()

    def poke(self) -> None:
        """Say that something was appended."""
        if self._metrics is not None:
            self._metrics.look()
        for shipper in self._shippers:
            shipper.poke()

    def came(self, _events: Sequence[JournalEvent], _writer: Any) -> None:
        """Take in what a drain has delivered: it is in the store."""
        self.poke()

    def stats(self) -> list[ShipStats]:
        """Return how each stands."""
        return [shipper.stats for shipper in self._shippers]

    def close(self, timeout_s: float) -> list[ShipStats]:
        """Send what is there, within `timeout_s` for all of them together, and end; return how each stands."""
        deadline = time.monotonic() + timeout_s
        for shipper in self._shippers:
            shipper.end(timeout_s)
        return [shipper.close(max(0.0, deadline - time.monotonic())) for shipper in self._shippers]

    def __iter__(self) -> Iterator[Shipper]:
        return iter(self._shippers)


def open_sinks(settings: Settings) -> Sinks:
    """Return the shippers of the settings' sinks; none is started.

    Raises:
        ConfigError: a URL is malformed, no installed package answers to it, or it is there twice.
        MissingExtra: its distribution is not installed.
    """
    if not settings.sinks:
        return Sinks([])
    from otel_agent_journal.sinks.places import name_of

    names: dict[str, str] = {}
    for url in settings.sinks:
        name = name_of(url)
        if name in names:
            raise ConfigError(f"sink {masked(url)} is named twice: {masked(names[name])} is the same stream")
        names[name] = url
    return Sinks([_shipper(settings, url) for url in settings.sinks])


def _shipper(settings: Settings, url: str) -> Shipper:
    from otel_agent_journal.sinks.registry import begin_of, open_sink
    from otel_agent_journal.sinks.shipper import Shipper

    return Shipper(url, open_sink(url), lambda: open_store(settings, create=True), begin=begin_of(url))


def left_over(stats: ShipStats) -> str | None:
    """Return what to say of a sink that is not caught up as its process ends; None where there is nothing to say."""
    if stats.caught_up or stats.held_by_other:
        return None
    why = f" ({stats.last_error})" if stats.last_error and stats.is_failing else ""
    return f"not everything was sent to {stats.sink}{why}; the store has it, it is sent later: agent-journal drain"
