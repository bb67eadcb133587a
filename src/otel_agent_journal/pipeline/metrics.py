"""The two client metrics of the GenAI conventions: how long operations take, and how many tokens they use.

Recorded only where the program has a MeterProvider; without one a model call pays for nothing here.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import metrics as metrics_api

from otel_agent_journal.event import ErrorInfo, Usage
from otel_agent_journal.mapping.genai import (
    ERROR_TYPE,
    OPERATION_NAME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SCOPE_NAME,
)

_DURATION_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_TOKEN_TYPE: Final = "gen_ai.token.type"


class Metrics:
    """`gen_ai.client.operation.duration` in seconds and `gen_ai.client.token.usage`, buckets as the conventions say."""

    def __init__(self) -> None:
        self._provider: Any = None
        self._duration: metrics_api.Histogram | None = None
        self._tokens: metrics_api.Histogram | None = None

    def operation(
        self, attributes: dict[str, Any], duration_ns: int, usage: Usage | None, error: ErrorInfo | None
    ) -> None:
        """Record one model call. `attributes`: operation name, provider, request and response model."""
        if not self.ready():
            return
        labels = {
            key: attributes[key]
            for key in (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, RESPONSE_MODEL)
            if attributes.get(key) is not None
        }
        if self._duration is not None:
            failed = {ERROR_TYPE: error.type} if error is not None else {}
            self._duration.record(duration_ns / 1e9, {**labels, **failed})
        if self._tokens is not None and usage is not None:
            self._tokens.record(usage.input_tokens, {**labels, _TOKEN_TYPE: "input"})
            self._tokens.record(usage.output_tokens, {**labels, _TOKEN_TYPE: "output"})

    def ready(self) -> bool:
        """Tell whether the program has a MeterProvider: without one nothing need be put together."""
        provider = metrics_api.get_meter_provider()
        if provider is not self._provider:
            self._provider = provider
            if type(provider).__module__.startswith("opentelemetry.metrics"):  # the API's own proxy: nobody listens
                self._duration = self._tokens = None
            else:
                meter = provider.get_meter(SCOPE_NAME)
                self._duration = meter.create_histogram(
                    "gen_ai.client.operation.duration",
                    unit="s",
                    description="How long a model call takes",
                    explicit_bucket_boundaries_advisory=_DURATION_S,
                )
                self._tokens = meter.create_histogram(
                    "gen_ai.client.token.usage",
                    unit="{token}",
                    description="Tokens of a model call",
                    explicit_bucket_boundaries_advisory=_TOKENS,
                )
        return self._duration is not None
