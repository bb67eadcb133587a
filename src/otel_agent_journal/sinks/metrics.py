"""How far sinks are, as metrics of OpenTelemetry, where the program has a MeterProvider.

`agent_journal.sink.lag` is how long ago the oldest event happened that was read and not taken, in seconds;
`agent_journal.sink.pending` how many those are; `agent_journal.sink.events`, `.withheld` and `.failures` count. Each
has the attribute `agent_journal.sink`, its URL as it may be printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from opentelemetry import metrics as metrics_api

from otel_agent_journal.mapping.genai import SCHEMA_URL, SCOPE_NAME
from otel_agent_journal.sinks.shipper import ShipStats

SINK: Final = "agent_journal.sink"
_GAUGES: Final = {
    "lag": ("s", "How long ago the oldest event happened that a sink has not taken"),
    "pending": ("{event}", "Events that were read for a sink, and not taken yet"),
}
_COUNTERS: Final = {
    "sent": ("events", "{event}", "Events that a sink took"),
    "withheld": ("withheld", "{event}", "Events that were sent without their details"),
    "failures": ("failures", "{failure}", "Requests and records that a sink did not take"),
}


class SinkMetrics:
    """Registers its instruments with the first MeterProvider that the program has; without one it does nothing.

    Args:
        stats: how each sink stands; called as metrics are collected, it talks to nobody.
    """

    def __init__(self, stats: Callable[[], Iterable[ShipStats]]) -> None:
        self._stats = stats
        self._provider: Any = None
        self.look()

    def look(self) -> None:
        """Register, where that is due."""
        provider = metrics_api.get_meter_provider()
        if provider is self._provider:
            return
        self._provider = provider
        if type(provider).__module__.startswith("opentelemetry.metrics"):  # the API's own proxy
            return
        meter = provider.get_meter(SCOPE_NAME, None, SCHEMA_URL)
        for name, (unit, description) in _GAUGES.items():
            meter.create_observable_gauge(f"{SINK}.{name}", [self._observe(name)], unit, description)
        for field, (name, unit, description) in _COUNTERS.items():
            meter.create_observable_counter(f"{SINK}.{name}", [self._observe(field)], unit, description)

    def _observe(self, field: str) -> Callable[[Any], Iterable[metrics_api.Observation]]:
        def observe(_options: Any) -> Iterable[metrics_api.Observation]:
            now_ns = time.time_ns()
            for one in self._stats():
                if not one.held_by_other:
                    yield metrics_api.Observation(_value(one, field, now_ns), {SINK: one.sink})

        return observe


def _value(stats: ShipStats, field: str, now_ns: int) -> float:
    if field == "lag":
        return max(0, now_ns - stats.oldest_ns) / 1e9 if stats.oldest_ns else 0.0
    return int(getattr(stats, field))
