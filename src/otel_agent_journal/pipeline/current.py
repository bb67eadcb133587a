"""The recorder of this process. Set by `bootstrap` alone; asked by instrumentors and by `session()`."""

from __future__ import annotations

from otel_agent_journal.pipeline.recorder import Recorder


class _Current:
    recorder: Recorder | None = None


def get_recorder() -> Recorder | None:
    """Return the process's recorder, or None where nothing is configured."""
    return _Current.recorder


def set_recorder(recorder: Recorder | None) -> None:
    """Make a recorder the process's own."""
    _Current.recorder = recorder
