"""Where a recorder's facts leave it: encoded, redacted and handed to an appender, never raising into the agent.

It knows nothing of steps and spans (`recorder.py`), nor of files (the spool is an appender). What could not be
journaled is counted in `dropped`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from otel_agent_journal.event import EMPTY, ErrorInfo
from otel_agent_journal.mapping.facts import Fact
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.failure import error_info
from otel_agent_journal.pipeline.introductions import Introductions
from otel_agent_journal.pipeline.origin import told_of
from otel_agent_journal.pipeline.step import Step

_log = logging.getLogger(__name__)

_COMPLAIN_EVERY_S: Final = 60.0


class Appender(Protocol):
    """Where encoded facts go: a spool, or something in front of one."""

    @property
    def writer(self) -> str:
        """The id of this process's journal writer; another one after a fork."""
        ...

    def append(self, payload: bytes) -> bool:
        """Make a fact durable; False where it was refused. Never raises."""
        ...


class FactWriter:
    """Encodes facts and hands them to an appender. Safe from any thread.

    Args:
        appender: where facts go.
        encoder: what content becomes.
    """

    def __init__(self, appender: Appender, encoder: ContentEncoder) -> None:
        self.appender = appender
        self.encoder = encoder
        self.dropped = 0
        self._append = appender.append
        self._encode = encoder.encode
        self._introductions: Introductions | None = None
        self._complained_at = 0.0

    def write(self, fact: Fact) -> None:
        """Journal a fact."""
        if sys.is_finalizing():  # a thread that is gone may hold the spool's lock
            return
        try:
            introductions = self._introductions
            if introductions is not None:
                session_id = getattr(fact, "session_id", None)
                if session_id is not None and session_id not in introductions.recent:
                    fact = self._introduced(introductions, session_id, fact)
            data, blobs = self._encode(fact)
            for blob in blobs:
                self._append(blob)
            if not self._append(data):
                self.dropped += 1
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            self.failed("an event could not be journaled")

    def _introduced(self, introductions: Introductions, session_id: str, fact: Fact) -> Fact:
        try:
            return introductions.with_fact(session_id, fact)
        except Exception:  # noqa: BLE001 - the event must not suffer
            self.failed("this process could not be introduced")
            return fact

    def failed(self, what: str) -> None:
        """Count what could not be journaled, and say so once a minute. Call it where the exception is handled."""
        self.dropped += 1
        now = time.monotonic()
        if now - self._complained_at > _COMPLAIN_EVERY_S or not self._complained_at:
            self._complained_at = now
            _log.warning("dropped=<%d> | %s", self.dropped, what, exc_info=True)

    def error_info(self, error: BaseException | ErrorInfo) -> ErrorInfo:
        """Return what the journal says of an error."""
        try:
            info = error if isinstance(error, ErrorInfo) else error_info(error)
            return info if self.encoder.redactor is None or not self.encoder.content else self.encoder.error(info)
        except Exception:  # noqa: BLE001 - an exception whose own `str` raises
            return ErrorInfo(type=type(error).__qualname__)

    def told_of(self, error: BaseException | ErrorInfo, step: Step | None) -> Mapping[str, Any]:
        """Return what the journal tells of an error beside that: see `origin.told_of`."""
        try:
            return told_of(error, step, self.encoder)
        except Exception:  # noqa: BLE001 - what a class of exceptions is made of is not ours to know
            return EMPTY
