"""Hooks the frameworks that are installed, each by its entry point, as OpenTelemetry's own loader does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

_log = logging.getLogger(__name__)

INSTRUMENTORS: Final = "opentelemetry_instrumentor"
OURS: Final = "agent_journal_"
DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def instrument_frameworks(report: Callable[[str, str, str | None], None] | None = None) -> list[Any]:
    """Hook every framework that has an instrumentor of ours; return those instrumentors that were not enabled before.

    Args:
        report: called with each instrumentor's name, the distribution it is for, and None or why there is nothing to
            instrument.
    """
    disabled = {name.strip() for name in os.environ.get(DISABLED, "").split(",")}
    enabled: list[Any] = []
    for entry_point in entry_points(group=INSTRUMENTORS):
        name = entry_point.name
        if not name.startswith(OURS):
            continue
        distribution = ""
        reason: str | None
        if name in disabled or "*" in disabled:
            reason = f"disabled by {DISABLED}"
        else:
            distribution, reason = _instrument(entry_point, enabled)
        if report is not None:
            report(name.removeprefix(OURS), distribution, reason)
    return enabled


def modules_of_others() -> list[str]:
    """Return the packages that instrumentors of other distributions patch: a Python under `run` watches for them."""
    found: set[str] = set()
    for entry_point in entry_points(group=INSTRUMENTORS):
        if entry_point.name.startswith(OURS) and not entry_point.value.startswith("otel_agent_journal."):
            try:
                found |= {name.partition(".")[0] for name in entry_point.load()().patches()}
            except Exception:  # noqa: BLE001 - one framework must not keep the others out
                _log.debug("name=<%s> | could not be asked", entry_point.name, exc_info=True)
    return sorted(found)


def _instrument(entry_point: EntryPoint, enabled: list[Any]) -> tuple[str, str | None]:
    distribution = ""
    try:
        instrumentor = entry_point.load()()
        distribution = instrumentor.instrumentation_dependencies()[0].partition(" ")[0]
        reason: str | None = instrumentor.missing()
        if reason is None:
            if not instrumentor.enabled:
                enabled.append(instrumentor)
            instrumentor.instrument()
    except Exception as error:  # noqa: BLE001 - one framework must not keep the others out
        _log.debug("name=<%s> | could not be instrumented", entry_point.name, exc_info=True)
        return distribution, str(error)
    return distribution, reason
