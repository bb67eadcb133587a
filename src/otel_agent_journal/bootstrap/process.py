"""One agent process: its recorder, spool, heartbeat and, unless a parent drains for it, its drain."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.bootstrap.openers import late_redactor, open_drain, open_forwarder, open_store
from otel_agent_journal.config import SPOOL, Settings, settings_from_env, spool_of
from otel_agent_journal.errors import ConfigError, JournalError, StoreError

if TYPE_CHECKING:
    from otel_agent_journal.bootstrap.providers import Providers
    from otel_agent_journal.delivery.drain import Drain
    from otel_agent_journal.delivery.store_durable import DurableAppend
    from otel_agent_journal.forwarding.forwarder import Forwarder
    from otel_agent_journal.pipeline.content import Redactor
    from otel_agent_journal.pipeline.heartbeat import Heartbeat
    from otel_agent_journal.pipeline.recorder import Recorder
    from otel_agent_journal.spool.writer import SpoolWriter
    from otel_agent_journal.store.protocol import JournalStore

_log = logging.getLogger(__name__)

INSTRUMENTORS: Final = "opentelemetry_instrumentor"
OURS: Final = "agent_journal_"
DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
FLUSH_S: Final = 5.0


class AgentProcess:
    """Everything that runs in an instrumented process. One a process; made by `configure` or `attach`."""

    def __init__(self, settings: Settings, redactor: Redactor | None = None) -> None:
        from otel_agent_journal.bootstrap.providers import Providers, resource_of_program
        from otel_agent_journal.pipeline.content import ContentEncoder
        from otel_agent_journal.pipeline.recorder import Recorder
        from otel_agent_journal.spool.writer import SpoolWriter

        self.settings = settings
        self._store: JournalStore | None = None
        self._drain: Drain | None = None
        self._forwarder: Forwarder | None = None
        self._heartbeat: Heartbeat | None = None
        self.pid = os.getpid()
        self._stopped = False
        if redactor is None and settings.redactor is not None:
            redactor = late_redactor(settings.redactor)
        self.writer: SpoolWriter = SpoolWriter(
            # Absolute: an agent that changes its working directory still has its spool.
            settings.spool.absolute(),
            writer=os.urandom(16).hex(),
            cap_bytes=settings.spool_cap_bytes,
            fsync=settings.fsync,
            resource=resource_of_program(),
        )
        appender: SpoolWriter | DurableAppend = self.writer
        if settings.store_durable:
            from otel_agent_journal.delivery.store_durable import DurableAppend

            appender = DurableAppend(self.writer, self._opened_store, timeout_s=settings.store_timeout_s)
        self._appender = appender
        self.providers: Providers = Providers(self._processor_for, settings.otlp)
        self.recorder: Recorder = Recorder(
            appender,
            encoder=ContentEncoder(
                content=settings.content, redactor=redactor, field_limit_bytes=settings.field_limit_bytes
            ),
            session_id=settings.session,
            span_content=settings.span_content,
            exported=self.providers.exported,
            forwarded=settings.otlp is not None,
            stages=settings.stages,
        )

    def start(self) -> None:
        """Begin to record, to beat, and to drain where no parent does."""
        from otel_agent_journal.pipeline.current import Flush, set_flush, set_recorder
        from otel_agent_journal.pipeline.heartbeat import Heartbeat

        set_recorder(self.recorder)
        set_flush(Flush(self.flush, self.settings.flush_timeout_s))
        self.providers.join()
        if self.settings.otlp is not None:
            self.providers.stand_in(self.settings.otlp, os.environ)
        if self.settings.drained_by_parent:
            self._heartbeat = Heartbeat(
                self.recorder, is_drained=self.writer.drained_by_other, drain_here=self._start_drain
            )
        else:
            self._heartbeat = Heartbeat(self.recorder, is_drained=self._is_whole)
            self._start_drain()
        atexit.register(self.stop)
        os.register_at_fork(after_in_child=self._after_fork)

    def start_draining(self) -> None:
        """Drain, where no parent does, without recording: for an exporter that stands alone."""
        if not self.settings.drained_by_parent:
            self._start_drain()
        atexit.register(self.stop)

    def _start_drain(self) -> None:
        """Drain this process's spool from a thread; what cannot be opened is said once, the agent goes on."""
        try:
            store = self._opened_store()
            forward: Any = None
            if self.settings.otlp is not None:
                forward = self._forwarder = open_forwarder(self.settings, store)
            self._drain = open_drain(self.settings, store, forward=forward, only_writer=self.writer.writer)
            self._drain.start()
        except Exception as error:  # noqa: BLE001 - the one boundary: the agent must not feel it
            _log.warning("reason=<%s> | events stay in the spool until agent-journal drain delivers them", error)

    def _is_whole(self) -> bool:
        """Have the spool look whether its folder is still there; that this process drains it is known."""
        self.writer.drained_by_other()
        return True

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

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Deliver what is in the spool; return whether all of it was, in time."""
        self.recorder.settle(timeout_s)
        drained = self._drain.flush(timeout_s) if self._drain is not None else self.settings.drained_by_parent
        return drained and (self._forwarder is None or self._forwarder.flush(timeout_s))

    def stop(self) -> None:
        """End what is open as cancelled, deliver, and close. Never raises; may be called twice."""
        if self.pid != os.getpid():
            return
        from otel_agent_journal.pipeline.current import get_recorder, set_flush, set_recorder

        with contextlib.suppress(Exception):
            atexit.unregister(self.stop)
            if get_recorder() is self.recorder:
                set_recorder(None)
                set_flush(None)
            self._stopped = True
            self.recorder.close()
            self.providers.close()
        for part in (self._heartbeat, self._appender, self._drain, self._forwarder):
            with contextlib.suppress(Exception):
                self._close(part)
        with contextlib.suppress(Exception):
            self._close(self._store)

    def _close(self, part: Any) -> None:
        if part is self._drain and part is not None:
            if not part.stop(FLUSH_S) and (waiting := part.stats.pending_bytes):
                _log.warning("bytes=<%d> | not delivered; they wait in the spool for: agent-journal drain", waiting)
        elif part is self._forwarder and part is not None:
            part.close(FLUSH_S)
        elif part is self._heartbeat and part is not None:
            part.stop()
        elif part is not None:
            part.close()
        if getattr(part, "is_running", False):  # it is in the store's hands, and closing would wait for it
            self._store = None

    def _after_fork(self) -> None:
        """Go on in a forked child as a process of its own: its parent's threads and connections are not here."""
        if self._stopped:
            return
        self.pid = os.getpid()
        self._store = self._drain = self._forwarder = None
        if not self.settings.drained_by_parent:
            self._start_drain()


class _Here:
    process: AgentProcess | None = None


def configure(
    store: str | None = None,
    *,
    spool: str | Path | None = None,
    session_id: str | None = None,
    otlp: str | None = None,
    content: str | None = None,
    redactor: Redactor | None = None,
    instrument: bool = True,
) -> None:
    """Journal this process from here on. Call it once, before or after LangGraph is imported.

    What is not given comes from the environment, and where that says nothing from the defaults: the journal is
    `.agent-journal/journal.db` in the working directory. A thread delivers what is recorded. Calling it again
    replaces the settings.

    Args:
        store: the journal's store as a URL, `sqlite:///path`.
        spool: the folder that events go through first.
        session_id: the session of everything that names none.
        otlp: an OTLP endpoint that spans are forwarded to, such as http://localhost:4318.
        content: `full` or `metadata`: whether messages, inputs and outputs are journaled.
        redactor: called as `redactor(field, value)` on every content field before anything is written.
        instrument: hook the frameworks that are installed.

    Raises:
        ConfigError: a setting is malformed.
    """
    settings = settings_from_env()
    changes: dict[str, Any] = {}
    if store is not None:
        if ":" not in store:
            raise ConfigError(f"store '{store}' is not a URL; a file is named as sqlite:///{store}")
        changes |= {"store": store, "store_given": True}
        # Under `run` the variable names the spool of its own store; a person's is meant for whatever store there is.
        if store != settings.store and (settings.drained_by_parent or not os.environ.get(SPOOL)):
            changes["spool"] = spool_of(store)
    if spool is not None:
        changes["spool"] = Path(spool)
    if session_id is not None:
        changes["session"] = session_id
    if otlp is not None:
        changes["otlp"] = otlp
    if content is not None:
        if content not in ("full", "metadata"):
            raise ConfigError(f"content is '{content}'; it is one of: full, metadata")
        changes["content"] = content == "full"
    from otel_agent_journal.store import registry

    if changes.get("spool", settings.spool) != settings.spool:
        changes["drained_by_parent"] = False  # a parent, where there is one, drains the spool it has named
    settings = msgspec.structs.replace(settings, **changes)
    with contextlib.suppress(StoreError):  # one that is away is waited for
        registry.open_store(settings.store).close()  # an unknown scheme or a missing extra is told now, to the caller
    shutdown()
    _start(settings, redactor)
    if instrument:
        instrument_frameworks()


def attach() -> None:
    """Journal this process as the environment says; never raises. Entry point of `opentelemetry-instrument`.

    Does nothing where a recorder is there already, so `agent-journal run -- opentelemetry-instrument ...` attaches
    once.
    """
    if _Here.process is not None and _Here.process.pid == os.getpid():
        return
    try:
        _start(settings_from_env(), None)
    except JournalError as error:
        print(f"agent-journal: not journaling: {error}", file=sys.stderr)  # noqa: T201 - the user's terminal
    except Exception:  # noqa: BLE001 - the one boundary: the program must start
        _log.warning("not journaling", exc_info=True)


def _start(settings: Settings, redactor: Redactor | None) -> None:
    process = AgentProcess(settings, redactor)
    _Here.process = process
    process.start()


def flush(timeout_s: float = FLUSH_S) -> bool:
    """Deliver what this process has recorded; return whether all of it reached the store in time."""
    return _Here.process is None or _Here.process.flush(timeout_s)


def shutdown() -> None:
    """End what is open as cancelled, deliver it, and record no more. Done at exit by itself."""
    process, _Here.process = _Here.process, None
    if process is not None:
        process.stop()


def settings_of_process() -> tuple[Settings, bool]:
    """Return the settings that this process records by, else the environment's, and whether it drains by itself.

    Raises:
        ConfigError: a variable is malformed.
    """
    process = _Here.process
    if process is None:
        return settings_from_env(), False
    return process.settings, not process.settings.drained_by_parent


def is_attached() -> bool:
    """Tell whether this process journals its steps as they happen."""
    return _Here.process is not None


def instrument_frameworks(report: Callable[[str, str, str | None], None] | None = None) -> None:
    """Hook every framework that has an instrumentor of ours.

    Args:
        report: called with each instrumentor's name, the distribution it is for, and None or why there is nothing to
            instrument.
    """
    disabled = {name.strip() for name in os.environ.get(DISABLED, "").split(",")}
    for entry_point in entry_points(group=INSTRUMENTORS):
        name = entry_point.name
        if not name.startswith(OURS):
            continue
        distribution = ""
        reason: str | None
        if name in disabled or "*" in disabled:
            reason = f"disabled by {DISABLED}"
        else:
            distribution, reason = _instrument(entry_point)
        if report is not None:
            report(name.removeprefix(OURS), distribution, reason)


def _instrument(entry_point: Any) -> tuple[str, str | None]:
    distribution = ""
    try:
        instrumentor = entry_point.load()()
        distribution = instrumentor.instrumentation_dependencies()[0].partition(" ")[0]
        reason: str | None = instrumentor.missing()
        if reason is None:
            instrumentor.instrument()
    except Exception as error:  # noqa: BLE001 - one framework must not keep the others out
        _log.debug("name=<%s> | could not be instrumented", entry_point.name, exc_info=True)
        return distribution, str(error)
    return distribution, reason


def environment_for_child(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a program and all that it starts is journaled to a parent's spool."""
    from otel_agent_journal.config import DRAIN, OTLP, SESSION, STORE

    child = dict(environ)
    folder = str(Path(__file__).parent.parent / "autoload")
    path = [part for part in child.get("PYTHONPATH", "").split(os.pathsep) if part and part != folder]
    child["PYTHONPATH"] = os.pathsep.join([folder, *path])
    child[STORE] = settings.store
    child[SPOOL] = str(settings.spool.absolute())
    child[DRAIN] = "parent"
    if settings.session is not None:
        child[SESSION] = settings.session
    if settings.otlp is not None:
        child[OTLP] = settings.otlp
    return child
