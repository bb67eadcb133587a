"""The process that we are in: what `configure`, `attach`, `flush` and `shutdown` do to its one `ProcessState`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import msgspec

from otel_agent_journal.config import REPLAY, RESUME, SPOOL, Settings, absolute_store, settings_from_env, spool_of
from otel_agent_journal.delivered import ALL, Delivered
from otel_agent_journal.errors import ConfigError, JournalError, StoreError
from otel_agent_journal.forks import is_main_interpreter
from otel_agent_journal.masking import masked, no_url
from otel_agent_journal.pipeline.current import STATE
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.terminal import say

if TYPE_CHECKING:
    from otel_agent_journal.pipeline.content import Redactor

_log = logging.getLogger(__name__)

FLUSH_S: Final = 5.0
NOT_REPLAYED: Final = 5  # the exit code of a program that was to be replayed, and cannot be
ELSEWHERE: Final = "elsewhere"  # in the folder that ANNOUNCE names: the store of a program that configured its own
ANNOUNCE: Final = "AGENT_JOURNAL_ANNOUNCE"  # names the folder in which the program tells `run` what it did


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
    replaces the settings, and gives back all that the call before took.

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
    from otel_agent_journal.store import registry

    settings = _settings_with(store, spool, session_id, otlp, content)
    if not is_main_interpreter():
        _log.warning("not journaling: only the main interpreter of a process is journaled")
        return
    with contextlib.suppress(StoreError):  # one that is away is waited for
        registry.open_store(settings.store).close()  # an unknown scheme or a missing extra is told now, to the caller
    shutdown()
    _start(settings, redactor)
    if instrument:
        from otel_agent_journal.bootstrap.instrumenting import instrument_frameworks

        STATE.agent.instrumented = instrument_frameworks()
    if not settings.drained_by_parent:
        _tell_run(masked(settings.store))


def _settings_with(
    store: str | None, spool: str | Path | None, session_id: str | None, otlp: str | None, content: str | None
) -> Settings:
    settings = settings_from_env()
    changes: dict[str, Any] = {}
    if os.environ.get(REPLAY):  # its report is read where `replay` says
        store = spool = otlp = None
    if store is not None:
        if ":" not in store:
            raise ConfigError(no_url("store", store))
        store = absolute_store(store)
        changes |= {"store": store, "store_given": True}
        # Under `run` the variable names the spool of its own store; a person's is meant for whatever store there is.
        if store != settings.store and (settings.drained_by_parent or not os.environ.get(SPOOL)):
            changes["spool"] = spool_of(store).absolute()
    if spool is not None:
        changes["spool"] = Path(spool).absolute()
    if session_id is not None:
        changes["session"] = session_id
    if otlp is not None:
        changes["otlp"] = otlp
    if content is not None:
        if content not in ("full", "metadata"):
            raise ConfigError(f"content is '{content}'; it is one of: full, metadata")
        changes["content"] = content == "full"
    if changes.get("spool", settings.spool) != settings.spool:
        changes["drained_by_parent"] = False  # a parent, where there is one, drains the spool it has named
    return msgspec.structs.replace(settings, **changes)


def attach(*, at_exit: bool = True) -> None:
    """Journal this process as the environment says; never raises. Entry point of `opentelemetry-instrument`.

    Does nothing where a recorder is there already, so `agent-journal run -- opentelemetry-instrument ...` attaches
    once. Without `at_exit` somebody else calls `leave` at the end.
    """
    if STATE.agent is not None or not is_main_interpreter():
        return
    try:
        _start(settings_from_env(), None, at_exit=at_exit)
    except JournalError as error:
        say(f"agent-journal: not journaling: {error}")
    except Exception:  # noqa: BLE001 - the one boundary: the program must start
        _log.warning("not journaling", exc_info=True)
    if os.environ.get(REPLAY) and replaying() is None:
        refuse_to_run("the replay could not begin")


def refuse_to_run(why: str) -> NoReturn:
    """End a program that was to be replayed and would call what it asks for, before it does.

    At once: there is nothing that it could catch.
    """
    say(f"agent-journal: the program was not run: {why}, and it would call what it asks for")
    sys.stderr.flush()
    os._exit(NOT_REPLAYED)


def _start(settings: Settings, redactor: Redactor | None, *, at_exit: bool = True) -> None:
    from otel_agent_journal.bootstrap.agent import AgentProcess

    STATE.agent = AgentProcess(settings, redactor)
    STATE.agent.start(at_exit=at_exit)
    if settings.checkpoint:
        from otel_agent_journal.pipeline.checkpointing import provide_checkpointer

        provide_checkpointer(_new_saver, settings.session)
    if replayed := os.environ.get(REPLAY):
        from otel_agent_journal.bootstrap.replaying import replay_from_env

        if replaying() is None:
            replay_from_env(replayed)
    elif resumed := os.environ.get(RESUME):
        from otel_agent_journal.bootstrap.resuming import resume_from_env

        resume_from_env(resumed)


def _new_saver() -> Any:
    from otel_agent_journal.bootstrap.checkpoints import JournalSaver

    return JournalSaver()


def leave() -> None:
    """End what is open as cancelled, as the process ends."""
    if STATE.agent is not None:
        STATE.agent.stop()


def flush(timeout_s: float = FLUSH_S) -> Literal[True] | Delivered:
    """Deliver what this process has recorded, and wait until it is known to be there, for at most `timeout_s`.

    Returns:
        True where all of it is in the store, and at the OTLP backend where spans are forwarded, or nothing was
        recorded; else a false `Delivered` that says what is pending, set aside, or not known.
    """
    found = ALL
    for process in (STATE.agent, STATE.exporting):
        if process is not None:
            found &= process.flush(timeout_s)
    found &= _left_behind()
    return True if found else found


def _left_behind() -> Delivered:
    """Return what is known of what this process wrote before it was configured anew, or shut down."""
    found = ALL
    for folder in list(STATE.earlier):
        from otel_agent_journal.spool.survey import pending_records

        pending = pending_records(folder)
        if pending == 0:
            STATE.earlier.remove(folder)
        found &= Delivered(pending=pending)
    return found


def shutdown() -> None:
    """End what is open as cancelled, deliver it, and record no more. Done at exit by itself."""
    process, STATE.agent = STATE.agent, None
    if process is not None:
        process.stop()
        STATE.earlier.append(process.writer.folder)
        _left_behind()


def is_attached() -> bool:
    """Tell whether this process journals its steps as they happen."""
    return STATE.agent is not None


def _tell_run(store: str) -> None:
    """Tell `agent-journal run`, where this is its program, that the journal is elsewhere."""
    folder = os.environ.get(ANNOUNCE)
    if folder:
        with contextlib.suppress(OSError):
            Path(folder, ELSEWHERE).write_text(store)
