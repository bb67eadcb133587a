"""What callers ask of a session while it runs and after: stage, progress, current step, result, artefacts. Pure.

A fold over a session's events as they arrive, in any order. Where a session has had several runs it is of the latest:
progress begins anew as a run is asked for, and never falls within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal import event as ev
from otel_agent_journal.event import JournalEvent, kind_of
from otel_agent_journal.pairing import is_ending, is_start
from otel_agent_journal.projections.lifecycle import is_submission

MAX_ARTEFACTS: Final = 1000
_MAX_OPEN: Final = 10_000

# How much a result counts: what the invocation says, what the agent said last, what its root returned, what it printed.
_PRINTED: Final = 0
_RETURNED: Final = 1
_RESPONDED: Final = 2
_SAID: Final = 3


class Artefact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a run has made: a document by its URL."""

    name: str
    url: str
    media_type: str | None = None


class CurrentStep(msgspec.Struct, frozen=True, kw_only=True):
    """The step that began last of those that run."""

    step_id: str
    kind: str
    name: str
    began_ns: int


class Progress:
    """What is known of a session's latest run. Mutable: `take` moves it."""

    def __init__(self) -> None:
        self.run_ns = 0
        self.run: str | None = None
        self.agent: str | None = None
        self.metadata: Mapping[str, Any] = ev.EMPTY
        self.input: Any = None
        self.stage: tuple[int, str] | None = None
        self.percent: float | None = None
        self.artefacts: dict[str, tuple[int, Artefact]] = {}
        self.result: tuple[int, int, Any] | None = None
        self._open: dict[tuple[str, int | None], CurrentStep] = {}

    def take(self, event: JournalEvent) -> None:
        """Take in one event; those of runs before the latest change nothing."""
        at, kind = event.timestamp_ns, event.type
        if is_submission(event):
            self._submitted(event)
        elif is_start(event) and event.step_id is not None:
            if len(self._open) < _MAX_OPEN:
                what = kind_of(kind) or ""
                self._open[event.step_id, event.attempt] = CurrentStep(
                    step_id=event.step_id, kind=what, name=event.name or what.lower(), began_ns=at
                )
        elif is_ending(event) and event.step_id is not None:
            self._open.pop((event.step_id, event.attempt), None)
            if event.parent_step_id is None:
                self._resulted(at, _RETURNED, event.details)
        elif at < self.run_ns:
            return
        elif kind == ev.STAGE_CHANGED:
            self._staged(event)
        elif kind == ev.ARTEFACT_ADDED:
            self._added(event)
        elif kind == ev.FINAL_RESPONSE:
            self._resulted(at, _RESPONDED, event.details)
        elif kind == ev.AGENT_INVOCATION_SUCCEEDED:
            self._resulted(at, _SAID, event.details)
            self._resulted(at, _PRINTED, {"output": event.details["stdout"]} if "stdout" in event.details else {})

    @property
    def current_step(self) -> CurrentStep | None:
        """The step that began last of those that have not ended."""
        return max(self._open.values(), key=lambda step: step.began_ns, default=None)

    def _submitted(self, event: JournalEvent) -> None:
        if event.timestamp_ns < self.run_ns:
            return
        details = event.details
        self.run_ns, self.run, self.agent = event.timestamp_ns, details["run"], details.get("agent")
        self.input = details.get("input")
        metadata = details.get("metadata")
        self.metadata = metadata if isinstance(metadata, Mapping) else ev.EMPTY
        self.stage = self.percent = self.result = None
        self.artefacts.clear()

    def _staged(self, event: JournalEvent) -> None:
        stage, percent = event.details.get("stage"), event.details.get("progress")
        if self.stage is None or event.timestamp_ns >= self.stage[0]:
            self.stage = (event.timestamp_ns, stage if isinstance(stage, str) else event.name or "")
        if isinstance(percent, int | float):
            self.percent = max(self.percent or 0.0, min(100.0, max(0.0, float(percent))))

    def _added(self, event: JournalEvent) -> None:
        name, url, media = (event.details.get(key) for key in ("name", "url", "media_type"))
        if not isinstance(name, str) or not isinstance(url, str) or len(self.artefacts) >= MAX_ARTEFACTS:
            return
        known = self.artefacts.get(name)
        if known is None or event.timestamp_ns >= known[0]:
            made = Artefact(name=name, url=url, media_type=media if isinstance(media, str) else None)
            self.artefacts[name] = (event.timestamp_ns, made)

    def _resulted(self, at_ns: int, weight: int, details: Mapping[str, Any]) -> None:
        if "output" not in details or at_ns < self.run_ns:
            return
        if self.result is None or (weight, at_ns) >= self.result[:2]:
            self.result = (weight, at_ns, details["output"])
