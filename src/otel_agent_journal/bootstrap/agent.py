"""One agent process: its recorder, spool, heartbeat and, unless a parent drains for it, its drain."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal import forks
from otel_agent_journal.bootstrap.introduction import Introduction
from otel_agent_journal.bootstrap.openers import late_redactor, open_drain, open_forwarder, open_store
from otel_agent_journal.bootstrap.providers import Providers, resource_of, resource_of_program
from otel_agent_journal.config import Settings
from otel_agent_journal.delivered import ALL, UNKNOWN, Delivered
from otel_agent_journal.delivery.adoption import wait_delivered
from otel_agent_journal.event import EMPTY, JournalEvent
from otel_agent_journal.mapping.facts import FlushAsked, encode_fact
from otel_agent_journal.mapping.processes import harmless_resource
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.current import STATE, Flush
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.spool import set_aside
from otel_agent_journal.spool.home import answer_in
from otel_agent_journal.spool.keeping import KeptFiles
from otel_agent_journal.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from otel_agent_journal.bootstrap.sinks import Sinks
    from otel_agent_journal.delivery.drain import Drain
    from otel_agent_journal.delivery.store_durable import DurableAppend
    from otel_agent_journal.forwarding.forwarder import Forwarder
    from otel_agent_journal.pipeline.content import Redactor
    from otel_agent_journal.pipeline.heartbeat import Heartbeat
    from otel_agent_journal.store.protocol import JournalStore

_log = logging.getLogger(__name__)

FLUSH_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.02


class AgentProcess:
    """Everything that runs in an instrumented process. Made by `configure`, `attach` and the span exporter."""

    def __init__(self, settings: Settings, redactor: Redactor | None = None) -> None:
        self.settings = settings
        self._store: JournalStore | None = None
        self._drain: Drain | None = None
        self._forwarder: Forwarder | None = None
        self._sinks: Sinks | None = None
        self._heartbeat: Heartbeat | None = None
        self._flushes = 0
        self.instrumented: list[Any] = []  # instrumentors that were enabled for it
        if redactor is None and settings.redactor is not None:
            redactor = late_redactor(settings.redactor)
        self.writer = SpoolWriter(
            settings.spool,
            writer=os.urandom(16).hex(),
            cap_bytes=settings.spool_cap_bytes,
            fsync=settings.fsync,
            resource=self._kept(resource_of_program()),
        )
        self._appender: SpoolWriter | DurableAppend = self.writer
        if settings.store_durable:
            from otel_agent_journal.delivery.store_durable import DurableAppend

            self._appender = DurableAppend(self.writer, self._opened_store, timeout_s=settings.store_timeout_s)
        self.providers = Providers(self._processor_for, settings.otlp)
        self._introduction = Introduction(self.providers.resource)
        self.recorder = Recorder(
            self._appender,
            encoder=ContentEncoder(
                content=settings.content, redactor=redactor, field_limit_bytes=settings.field_limit_bytes
            ),
            session_id=settings.session,
            trusts_baggage=settings.trusts_baggage,
            span_content=settings.span_content,
            exported=self.providers.exported,
            forwarded=settings.otlp is not None,
            introduce=self._introduce,
            provided=self._describe,
            stages=settings.stages,
            tool_effects=settings.tool_effects,
            keeping=KeptFiles(self.writer.root, settings.store),
        )

    def _introduce(self) -> Mapping[str, Any]:
        """Say which process this is; an exporter that comes after the process's recorder has nothing to add."""
        return EMPTY if STATE.agent is not None and STATE.agent is not self else self._introduction()

    def start(self, *, at_exit: bool = True) -> None:
        """Begin to record, to beat, and to drain where no parent does."""
        from otel_agent_journal.pipeline.heartbeat import Heartbeat

        STATE.recorder, STATE.flush = self.recorder, Flush(self.flush, self.settings.flush_timeout_s)
        self.providers.join()
        if self.settings.otlp is not None:
            self.providers.stand_in(self.settings.otlp, os.environ)
        self.start_draining(at_exit=at_exit)
        self._heartbeat = Heartbeat(
            self.recorder,
            look_after=self.writer.look_after,
            is_drained=self.writer.drained_by_other if self.settings.drained_by_parent else None,
            drain_here=self._start_drain,
        )

    def start_draining(self, *, at_exit: bool = True) -> None:
        """Drain where no parent does, here and in forked children; alone, it is for an exporter without a recorder."""
        forks.join(self, forks.Place.THREADS)
        if at_exit:
            atexit.register(self.stop)
        if not self.settings.drained_by_parent:
            self._start_drain()

    def after_fork(self) -> None:
        """Go on in a forked child as a process of its own: its parent's threads and connections are not here."""
        STATE.earlier.clear()
        self._store = self._drain = self._forwarder = self._sinks = None
        if not self.settings.drained_by_parent:
            self._start_drain()

    def _start_drain(self) -> None:
        """Drain this process's spool from a thread; what cannot be opened is said once, the agent goes on."""
        try:
            store = self._opened_store()
            if self.settings.otlp is not None:
                self._forwarder = open_forwarder(self.settings, store)
            forward = self._forward if self._forwarder is not None or self.settings.sinks else None
            self._drain = open_drain(self.settings, store, forward=forward, only_writer=self.writer.writer)
            self._drain.start()
        except Exception as error:  # noqa: BLE001 - the one boundary: the agent must not feel it
            _log.warning("reason=<%s> | events stay in the spool until agent-journal drain delivers them", error)

        if self.settings.sinks:
            self._start_sinks()

    def _start_sinks(self) -> None:
        """Send events on from threads; sinks that cannot be opened are said once, the agent goes on."""
        try:
            from otel_agent_journal.bootstrap.sinks import open_sinks

            self._sinks = open_sinks(self.settings)
            self._sinks.start()
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("reason=<%s> | events are not sent on until agent-journal drain does", error)

    def _forward(self, events: Sequence[JournalEvent], writer: Any) -> None:
        """Take in what was delivered, in the drain's thread."""
        if self._forwarder is not None:
            self._forwarder(events, writer)
        if self._sinks is not None:
            self._sinks.poke()

    def _opened_store(self) -> JournalStore:
        if self._store is None:
            self._store = open_store(self.settings, create=True)
        return self._store

    def _processor_for(self, provider: Any) -> Any:
        from otel_agent_journal.pipeline.processor import SHADOWED_SCOPES, JournalSpanProcessor

        is_ours = bool(getattr(provider, "agent_journal_fallback", False))
        return JournalSpanProcessor(
            self.recorder,
            spans="all" if self.settings.all_spans else "genai",
            shadowed=SHADOWED_SCOPES.__contains__,
            exported=(lambda: True) if is_ours else self.providers.exported,
        )

    def _describe(self, provider: Any) -> None:
        """Have the spans of this process's steps sent as those of the program's provider are: of its resource."""
        with contextlib.suppress(Exception):  # a provider that is none of the SDK's
            self.writer.describe(self._kept(resource_of(provider)))

    def _kept(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Return a resource as it may lie beside the spool."""
        return dict(resource) if self.settings.content else harmless_resource(resource)

    def flush(self, timeout_s: float = FLUSH_S) -> Delivered:
        """Deliver what was recorded, its spans too where they are forwarded; return what is known of it, in time."""
        deadline = time.monotonic() + timeout_s
        self.recorder.settle(timeout_s)
        waiting = self.providers.flush(timeout_s)  # first: what waits there may be for the journal
        return waiting & self.delivered(_left(deadline))

    def delivered(self, timeout_s: float) -> Delivered:
        """As `flush`, of what has reached the journal alone."""
        deadline = time.monotonic() + timeout_s
        self.writer.look_after()
        journal = self._journaled(deadline)
        while journal and self.writer.is_stranded():  # a folder that was deleted meanwhile looks like a delivered one
            if not _left(deadline):
                journal = UNKNOWN
                break
            self.writer.look_after()
            journal = self._journaled(deadline)
        forwarded = ALL if self._forwarder is None else self._forwarder.flush(_left(deadline))
        return journal & forwarded & Delivered(pending=self.writer.refused)

    def _journaled(self, deadline: float) -> Delivered:
        """Return what is known of what was appended.

        Where another process drains our folder it is asked by a record in it; its acknowledgement is the answer.
        """
        if self._drain is not None:
            return self._drain.flush(_left(deadline))
        writer = self.writer
        if not writer.appended:
            return ALL
        self._flushes = number = self._flushes + 1
        writer.append(encode_fact(FlushAsked(number)))
        pending = wait_delivered(writer.folder, deadline, lambda: answer_in(writer.folder).number >= number)
        spans = 0 if self.settings.otlp is None else self._spans_pending(number, deadline)
        return Delivered(pending=pending, set_aside=set_aside.count(writer.root, writer.writer), spans_pending=spans)

    def _spans_pending(self, number: int, deadline: float) -> int | None:
        while True:
            answer = answer_in(self.writer.folder)
            if answer.number >= number and answer.spans_pending == 0:
                return 0
            if time.monotonic() >= deadline:
                return answer.spans_pending if answer.number >= number else None
            time.sleep(_LOOK_EVERY_S)

    def stop(self) -> None:
        """End what is open as cancelled, deliver, and give everything back. Never raises; may be called twice."""
        forks.leave(self)
        atexit.unregister(self.stop)
        if STATE.recorder is self.recorder:
            STATE.recorder = STATE.flush = None
        for close in (
            self.recorder.close,
            self.providers.close,
            self._stop_heartbeat,
            self._close_appender,
            self._stop_drain,
            self._close_store,
            *[one.uninstrument for one in self.instrumented],
        ):
            with contextlib.suppress(Exception):
                close()

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()

    def _close_appender(self) -> None:
        """Say that this process ended in order; not where it could not: who finds its folder says what it left open."""
        if not self.recorder.open_roots():
            self._appender.close()

    def _stop_drain(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.stop(FLUSH_S) and (waiting := drain.stats.pending_bytes):
            _log.warning("bytes=<%d> | not delivered; they wait in the spool for: agent-journal drain", waiting)
        if self._forwarder is not None:
            self._forwarder.close(FLUSH_S)
        if self._sinks is not None:
            self._sinks.close(FLUSH_S)
        if drain is not None and drain.is_running:  # it is in the store's hands, and closing would wait for it
            self._store = None

    def _close_store(self) -> None:
        in_use = getattr(self._appender, "is_running", False)
        if self._store is not None and not in_use:
            self._store.close()


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
