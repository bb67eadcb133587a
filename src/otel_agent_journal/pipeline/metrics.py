"""The two client metrics of the GenAI conventions: how long operations take, and how many tokens they use.

Recorded only where the program has a MeterProvider; without one a model call pays for nothing here.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from opentelemetry import metrics as metrics_api

from otel_agent_journal.event import EMPTY, ErrorInfo, Usage
from otel_agent_journal.mapping.genai import (
    CHAT,
    ERROR_TYPE,
    OPERATION_NAME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SCHEMA_URL,
    SCOPE_NAME,
)
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.pipeline.step_span import Ending
from otel_agent_journal.threads import Turns

_MEASURED: Final = ("ok", "error")
_LABELS: Final = (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, RESPONSE_MODEL)
_DURATION_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_TOKEN_TYPE: Final = "gen_ai.token.type"


class Metrics:
    """`gen_ai.client.operation.duration` in seconds and `gen_ai.client.token.usage`, buckets as the conventions say.

    The recorder calls it for every model step that ends, whichever framework's.
    """

    def __init__(self) -> None:
        self._provider: Any = None
        self._listens = False
        self._instruments: tuple[Any, metrics_api.Histogram, metrics_api.Histogram] | None = None
        self._turns = Turns()  # the SDK's locks are held by one of us at a time, whoever is interrupted by whom

    def model_ended(self, step: Step, ending: Ending) -> None:
        """Record one model call, unless it was cut off, which says nothing of the model."""
        if ending.outcome not in _MEASURED or not self.ready():
            return
        said = {OPERATION_NAME: CHAT, **(step.request or EMPTY), **(ending.attributes or EMPTY)}
        labels = {name: said[name] for name in _LABELS if said.get(name) is not None}
        failed = ending.shown_error if ending.outcome == "error" else None
        duration_ns = ending.end_ns - step.start_ns
        self._turns.bring(functools.partial(self._record, self._provider, labels, duration_ns, ending.usage, failed))

    def ready(self) -> bool:
        """Tell whether the program has a MeterProvider: without one nothing need be put together."""
        provider = metrics_api.get_meter_provider()
        if provider is not self._provider:
            listens = not type(provider).__module__.startswith("opentelemetry.metrics")  # the API's own proxy
            self._provider, self._listens = provider, listens
        return self._listens

    def _record(
        self, provider: Any, labels: dict[str, Any], duration_ns: int, usage: Usage | None, error: ErrorInfo | None
    ) -> None:
        if self._instruments is None or self._instruments[0] is not provider:
            self._instruments = (provider, *_instruments(provider.get_meter(SCOPE_NAME, None, SCHEMA_URL)))
        _, duration, tokens = self._instruments
        failed = {ERROR_TYPE: error.type} if error is not None else {}
        duration.record(duration_ns / 1e9, {**labels, **failed})
        if usage is not None:
            tokens.record(usage.input_tokens, {**labels, _TOKEN_TYPE: "input"})
            tokens.record(usage.output_tokens, {**labels, _TOKEN_TYPE: "output"})


def _instruments(meter: metrics_api.Meter) -> tuple[metrics_api.Histogram, metrics_api.Histogram]:
    duration = meter.create_histogram(
        "gen_ai.client.operation.duration",
        unit="s",
        description="How long a model call takes",
        explicit_bucket_boundaries_advisory=_DURATION_S,
    )
    tokens = meter.create_histogram(
        "gen_ai.client.token.usage",
        unit="{token}",
        description="Tokens of a model call",
        explicit_bucket_boundaries_advisory=_TOKENS,
    )
    return duration, tokens
