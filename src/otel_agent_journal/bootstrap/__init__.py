"""The only composition root: settings become stores, spools, recorders and drains, wired together.

Entry points and the command line come in here. What each function wires is imported when it is called, so that an
agent pays for nothing it does not use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_agent_journal.bootstrap.exporter import SpanExporterFromEnv
    from otel_agent_journal.bootstrap.openers import open_drain, open_forwarder, open_journal, open_store
    from otel_agent_journal.bootstrap.process import attach, configure, flush, shutdown
    from otel_agent_journal.bootstrap.run import describe, run_agent

_HOME = {
    "SpanExporterFromEnv": "exporter",
    "attach": "process",
    "configure": "process",
    "describe": "run",
    "flush": "process",
    "open_drain": "openers",
    "open_forwarder": "openers",
    "open_journal": "openers",
    "open_store": "openers",
    "run_agent": "run",
    "shutdown": "process",
}

__all__ = [
    "SpanExporterFromEnv",
    "attach",
    "configure",
    "describe",
    "flush",
    "open_drain",
    "open_forwarder",
    "open_journal",
    "open_store",
    "run_agent",
    "shutdown",
]


def __getattr__(name: str) -> Any:
    """Import a function when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
