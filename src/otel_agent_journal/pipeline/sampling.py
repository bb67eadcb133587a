"""What the program's samplers say of a trace that begins with a step of ours, where no span of the SDK asks them."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind


def provider_of_program() -> Any:
    """Return the TracerProvider that the program has set, or None."""
    provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
    return None if getattr(provider, "agent_journal_fallback", False) else provider


def is_sampled(provider: Any, trace_id: int, name: str) -> bool:
    """Tell whether a provider samples a trace; one without a sampler does, one whose sampler raises does not."""
    sampler = getattr(provider, "sampler", None)
    if sampler is None:
        return True
    try:
        return bool(sampler.should_sample(Context(), trace_id, name, SpanKind.INTERNAL).decision.is_sampled())
    except Exception:  # noqa: BLE001 - a sampler of the program's
        return False
