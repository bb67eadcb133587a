"""What runs in a program under `agent-journal run`, before its first line: attach, hook the frameworks, say so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib import metadata

from otel_agent_journal.bootstrap.instrumenting import instrument_frameworks
from otel_agent_journal.bootstrap.process import attach, is_attached, refuse_to_run
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.terminal import say


def start(is_first: Callable[[str], bool]) -> None:
    """Journal this process; never raises. Only the first process of a run says what was instrumented."""
    attach(at_exit=False)
    said: list[str] = []

    def report(name: str, distribution: str, reason: str | None) -> None:
        name = name.replace("_", "-")
        if reason is None:
            said.append(f"{name} {_version(distribution)}".rstrip())
        elif not reason.endswith("is not installed"):  # what is not there is no news
            said.append(f"not {name} ({reason})")
            if replaying() is not None:
                refuse_to_run(f"{name} cannot be served: {reason}")

    if is_attached():
        instrument_frameworks(report)
        if is_first("announced"):
            say(f"agent-journal: instrumented {', '.join(said) or 'nothing'}")


def _version(name: str) -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""
