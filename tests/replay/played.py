"""A program that is recorded in this process, and then replayed in it: what came of it, and what was called."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.bootstrap.replaying import recording_in, report_in
from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor
from otel_agent_journal.projections.steps import Attempt
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.replays.current import replayed
from otel_agent_journal.replays.replaying import Begun, Replay
from otel_agent_journal.replays.report import Report
from otel_agent_journal.replays.rules import Rules
from tests.frameworks.langgraph.recording import recording_at
from tests.frameworks.strands.recording import strands_recording_at

Program = Callable[[list[str]], Any]
"""A program: it notes each call that it makes live, and returns what it gives."""


class Hurried(Replay):
    """A replay whose answers take another while each time, so that threads come in another order."""

    def serve(self, step: Begun) -> Attempt | None:
        """Return what stands for a call."""
        time.sleep(random.random() * 0.001)
        return super().serve(step)


class Played:
    """One recorded session, and its replays."""

    def __init__(self, root: Path, at: Callable[..., Any], **options: Any) -> None:
        self._root = root
        self._at = at
        self._options = options
        self._count = 0
        self.session = ""
        self.gave: Any = None
        self.calls: list[str] = []
        self.journal: Any = None
        self._recorded_with: dict[str, Any] = {}

    def with_options(self, **options: Any) -> None:
        """Record with further options of the recorder; replays are without them."""
        self._recorded_with = options

    def recording(self) -> Any:
        """The recorded session."""
        return recording_in(self.journal, self.session)

    def record(self, program: Program) -> Played:
        """Run a program, and keep its one session."""
        with self._at(self._root / "recorded", **self._options, **self._recorded_with) as recording:
            self.gave = _run(program, self.calls)
            recording.drain()
        (head,) = recording.store.sessions()
        self.session = head.session_id
        self.journal = Journal(recording.store, self._root / "recorded")
        return self

    def replay(self, program: Program, *, again: bool = False, **rules: Any) -> tuple[Report, Any, list[str]]:
        """Run a program against it: the report, what it gave, and what was called live.

        `again`: with the options that it was recorded with.
        """
        options = self._options | (self._recorded_with if again else {})
        self._count += 1
        folder = self._root / f"replay-{self._count}"
        asked = Rules(session=self.session, name=f"{self.session}~replay-{self._count}", **rules)
        recorded = recording_in(self.journal, self.session)
        calls: list[str] = []
        with self._at(folder, **options) as recording:
            with replayed(Hurried(asked, lambda: recorded)):
                gave = _run(program, calls)
            recording.drain()
        self.events = list(recording.store.read(asked.name))
        replays = Journal(recording.store, folder)
        return report_in(self.journal, recorded, asked, replays), gave, calls


def _run(program: Program, calls: list[str]) -> Any:
    try:
        return program(calls)
    except Exception as error:
        return error


def langgraph_played(root: Path) -> Played:
    """A program of LangGraph."""
    return Played(root, recording_at, provider=TracerProvider(), instrumentor=LangGraphInstrumentor())


def strands_played(root: Path) -> Played:
    """A program of Strands."""
    return Played(root, strands_recording_at)
