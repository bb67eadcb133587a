"""What runs in this process, recorded to a folder that goes with the block: to look at, or as a file to replay."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from otel_agent_journal.bootstrap.openers import late_redactor, open_journal
from otel_agent_journal.bootstrap.process import configure, flush, shutdown
from otel_agent_journal.bootstrap.settings import settings_of_process
from otel_agent_journal.config import Settings
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.session_view import SessionView
from otel_agent_journal.replays.files import write_recording
from otel_agent_journal.replays.report import Divergence
from otel_agent_journal.store.protocol import SessionFilter


class Recorded:
    """A recording that is being made. It has what a replay has, so that a test reads the same while it records.

    Args:
        file: where it is written once it is over; None: nowhere.
    """

    looked_at = True

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._folder = Path(tempfile.mkdtemp(prefix="agent-journal-record-"))
        self._closed = False
        self._view: SessionView | None = None
        configure(store=f"sqlite:///{self._folder}/journal.db", spool=self._folder / "spool")

    @property
    def divergences(self) -> list[Divergence]:
        """None: it is what others are compared with."""
        self.close()
        return []

    @property
    def journal(self) -> SessionView:
        """The session, as far as it has come."""
        if self._closed and self._view is not None:
            return self._view
        return self._looked()

    def assert_same(self, *, strict: bool = True) -> None:
        """Return: it is the same as itself."""
        self.close()

    def close(self) -> None:
        """Write the recording, and journal no more."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._file is not None:
                self._write(self._file)
        finally:
            shutdown()
            shutil.rmtree(self._folder, ignore_errors=True)

    def __getattr__(self, name: str) -> Any:
        """Return what the session's view has."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.journal, name)

    def __enter__(self) -> Self:
        """Return it; it has begun."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write it, unless an exception passes: a recording that was cut short is none."""
        if error is not None:
            self._file = None
        self.close()

    def _looked(self) -> SessionView:
        flush()
        journal = self._open()
        try:
            self._view = SessionView(journal, self._session(journal))
        finally:
            journal.close()
        return self._view

    def _write(self, file: Path) -> None:
        flush()
        settings, _ = settings_of_process()
        journal = self._open()
        try:
            session_id = self._session(journal)
            write_recording(journal.store, session_id, file, redacted_by(settings))
            self._view = SessionView(journal, session_id)
        finally:
            journal.close()

    def _open(self) -> Journal:
        settings, _ = settings_of_process()
        return open_journal(settings, note=lambda line: None)

    @staticmethod
    def _session(journal: Journal) -> str:
        found = [head.session_id for head in journal.heads(SessionFilter())]
        if len(found) != 1:
            raise ConfigError(
                f"{len(found)} sessions were recorded, and one is expected: {', '.join(found[:5]) or 'nothing ran'}"
            )
        return found[0]


def redacted_by(settings: Settings) -> Callable[[JournalEvent], JournalEvent]:
    """Return what an event is once the redactor that settings name has seen it."""
    if settings.redactor is None:
        return lambda event: event
    return ContentEncoder(redactor=late_redactor(settings.redactor)).told
