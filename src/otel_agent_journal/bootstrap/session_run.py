"""`python -m otel_agent_journal.bootstrap.session_run`: one run of a session, from its start to its last word.

Started by who serves the session API, outlives it, and is the only one that runs this run: it is started by a document
that one process alone can write. What it is to do is in AGENT_JOURNAL_RUN; its settings are the environment's. The
agent runs as under `agent-journal run`; this process tells the journal how that went.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from otel_agent_journal.bootstrap.process import configure, flush, shutdown
from otel_agent_journal.bootstrap.run import run_agent
from otel_agent_journal.bootstrap.session_call import Called, Result
from otel_agent_journal.bootstrap.session_watch import TIMEOUT, Watch
from otel_agent_journal.bootstrap.sessions import open_service
from otel_agent_journal.config import (
    AGENTS,
    CHECKPOINT,
    RESULT,
    RESUME,
    RUN,
    SERVE_TOKEN,
    STAGES,
    WEBHOOK_SECRET,
    Settings,
    settings_from_env,
)
from otel_agent_journal.errors import JournalError
from otel_agent_journal.event import WARNING, ErrorInfo
from otel_agent_journal.pipeline.current import STATE
from otel_agent_journal.pipeline.lifecycle import Invocation, invocation
from otel_agent_journal.projections.head import CANCELLED, KILLED
from otel_agent_journal.sessions.agents import Order
from otel_agent_journal.sessions.failures import THROTTLING, kind_of_error
from otel_agent_journal.sessions.notices import Notices
from otel_agent_journal.sessions.processes import this_process
from otel_agent_journal.sessions.runs import Run
from otel_agent_journal.sessions.service import SessionService

_FLUSH_S: Final = 30.0
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_TAIL_BYTES: Final = 64 * 1024  # of what a command printed, where that is its answer
_SAID_BYTES: Final = 4 * 1024  # of what it said on stderr, where it failed
_SIGNALLED: Final = 128
_NOT_OF_AGENTS: Final = frozenset((AGENTS, SERVE_TOKEN, WEBHOOK_SECRET))  # the server's own


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt at a run ended. `reason`: it was cut off, and why."""

    output: Any = None
    stdout: str | None = None
    error: ErrorInfo | None = None
    reason: str | None = None
    details: dict[str, Any] = {}


def main() -> int:
    """Run what AGENT_JOURNAL_RUN says; return 0 once it is done with, or was not ours to run."""
    order = msgspec.json.decode(os.environ.pop(RUN), type=Order)
    settings = settings_from_env()
    service = open_service(settings, {})
    try:
        execute(service, settings, order, pause=time.sleep)
    finally:
        service.journal.close()
    return 0


def execute(
    service: SessionService,
    settings: Settings,
    order: Order,
    *,
    pause: Callable[[float], object],
    deadline: float | None = None,
    notices: Notices | None = None,
) -> bool:
    """Run a run, if it is ours to run; tell whether it was.

    Args:
        service: of the store in which it was asked for.
        settings: by which the agent is journaled.
        order: what to do.
        pause: waits some seconds.
        deadline: by `time.monotonic`, when whoever called us stops waiting: the agent is stopped before.
        notices: tells who asked; by default as the environment says.
    """
    lines, session_id = service.lines, order.session_id
    run = lines.start(session_id, order.run, order.claim, seen_ns=time.time_ns(), **this_process())
    if run is None:
        return False
    notices = notices or Notices(service, secret=os.environ.get(WEBHOOK_SECRET) or None)
    own = STATE.agent is None
    if own:
        configure(settings.store, spool=settings.spool, session_id=session_id, instrument=False)
    watch = Watch(lines, session_id, run, timeout_s=order.agent.timeout_s, deadline=deadline, notices=notices)
    try:
        with watch:
            _run(_Work(service, settings, order, run, watch, pause))
    finally:
        shutdown() if own else flush(_FLUSH_S)
    head = service.watched.head(session_id)
    ended = lines.end(session_id, run.run, head.status, head.reason)
    if ended is not None:
        notices.tell(session_id, ended)
    return True


class _Work(msgspec.Struct, frozen=True):
    service: SessionService
    settings: Settings
    order: Order
    run: Run
    watch: Watch
    pause: Callable[[float], object]


def _run(work: _Work) -> None:
    """Journal one run from its beginning to its end, whatever comes between."""
    with invocation(work.order.session_id, agent=work.run.agent) as call:
        try:
            outcome = _attempts(work, call)
        except (JournalError, OSError) as error:
            outcome = Outcome(error=ErrorInfo(type=type(error).__name__, message=str(error)))
        details = {**outcome.details, "run": work.run.run}
        if outcome.reason is not None:
            call.fail(outcome.error or ErrorInfo(type="Error"), reason=outcome.reason, **details)
        elif outcome.error is not None:
            call.fail(outcome.error, kind=kind_of_error(outcome.error), **details)
        else:
            if outcome.stdout is not None:
                details["stdout"] = outcome.stdout
            call.succeed(outcome.output, **details)


def _attempts(work: _Work, call: Invocation) -> Outcome:
    """Try until it goes through, is no longer throttled, or was tried often enough."""
    attempts = work.order.agent.attempts
    outcome = _attempt(work, 0)
    for attempt in range(1, attempts + 1):
        throttled = outcome.error is not None and kind_of_error(outcome.error) == THROTTLING
        if not throttled or outcome.reason is not None or attempt == attempts or outcome.error is None:
            break
        wait_s = random.uniform(0.5, 1) * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1))  # noqa: S311
        message = f"throttled: {outcome.error.message or outcome.error.type}"
        backoff = {"message": message, "attempt": attempt, "max_attempts": attempts, "backoff_s": round(wait_s, 3)}
        call.record(WARNING, {**backoff, "code": outcome.error.code or outcome.error.type}, level="WARNING")
        work.pause(wait_s)
        outcome = _attempt(work, attempt)
    return outcome


def _attempt(work: _Work, number: int) -> Outcome:
    """Run the agent's process once; `number`: how often it was tried before."""
    agent, watch = work.order.agent, work.watch
    if watch.reason is not None:
        return _stopped(watch)
    with tempfile.TemporaryDirectory(prefix="agent-journal-run-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "in").write_bytes(_given(work))
        command = agent.command or (sys.executable, "-m", "otel_agent_journal.bootstrap.session_call", str(agent.call))
        environ = _environment(work, folder, number)
        with (
            (folder / "in").open("rb") as given,
            (folder / "out").open("wb") as out,
            (folder / "err").open("wb") as err,
        ):
            code = run_agent(
                msgspec.structs.replace(work.settings, session=work.order.session_id),
                command,
                say=lambda line: None,
                started=watch.started,
                env=environ,
                cwd=agent.cwd,
                stdin=given,
                stdout=out,
                stderr=err,
            )
        watch.ended()
        return _outcome(work, folder, code)


def _given(work: _Work) -> bytes:
    """Return what the agent has on stdin: a command a text as it is, and all else as JSON."""
    text = work.service.lines.input_of(work.run)
    if work.order.agent.command:
        value = msgspec.json.decode(text)
        if isinstance(value, str):
            return value.encode()
    return text.encode()


def _environment(work: _Work, folder: Path, attempt: int) -> dict[str, str]:
    order, run = work.order, work.run
    called = Called(
        session_id=order.session_id,
        run=run.run,
        agent=run.agent,
        metadata=run.metadata,
        answers=run.answers,
        graph=run.graph,
        attempt=attempt,
    )
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_OF_AGENTS} | order.agent.env
    environ |= {RUN: msgspec.json.encode(called).decode(), RESULT: str(folder / "result.json")}
    if order.agent.stages:
        environ[STAGES] = msgspec.json.encode(order.agent.stages).decode()
    if run.graph is not None:  # its thread is to be there for the client
        environ[CHECKPOINT] = "on"
    with contextlib.suppress(JournalError):
        environ |= resuming(work.service, order.session_id)
    return environ


def resuming(service: SessionService, session_id: str) -> dict[str, str]:
    """Return the variables that have agents go on with a session's contexts, where it has some."""
    from otel_agent_journal.bootstrap.going_back import resume_of
    from otel_agent_journal.bootstrap.resuming import resume_for_env
    from otel_agent_journal.reading.agents import agents_of
    from otel_agent_journal.reading.points import LANGGRAPH

    journal = service.journal
    agents = list(agents_of(journal.store, session_id)) if journal.store.capabilities.context else []
    head = journal.exact(session_id) if agents else None
    if head is None:
        return {}
    found = {RESUME: resume_for_env(resume_of(journal, head))}
    return found | ({CHECKPOINT: "on"} if any(one.framework == LANGGRAPH for one in agents) else {})


def _outcome(work: _Work, folder: Path, code: int) -> Outcome:
    watch = work.watch
    said = _said(folder / "result.json")
    if watch.reason is not None:
        return _stopped(watch)
    if said is not None and said.error is not None:
        error = {key: said.error.get(key) for key in ("type", "message", "code")}
        stack = said.error.get("stack")
        return Outcome(
            error=ErrorInfo(
                type=str(error["type"] or "Error"), message=str(error["message"] or ""), code=error["code"]
            ),
            details={"stack": stack} if isinstance(stack, str) else {},
        )
    if code > _SIGNALLED and _is_signal(code - _SIGNALLED):
        name = signal.Signals(code - _SIGNALLED).name
        return Outcome(reason=KILLED, error=ErrorInfo(type="Killed", message=f"its process was killed by {name}"))
    if code:
        return Outcome(
            error=ErrorInfo(type="ProcessFailed", message=f"its process ended with code {code}"),
            details={"exit_code": code, "stderr": _tail(folder / "err", _SAID_BYTES)},
        )
    if said is not None:
        return Outcome(output=said.output)
    printed = _tail(folder / "out", _TAIL_BYTES) if work.order.agent.command else ""
    return Outcome(stdout=printed or None)


def _stopped(watch: Watch) -> Outcome:
    """Return how a run ended that we have stopped."""
    if watch.reason == TIMEOUT:
        message = f"not done in {watch.allowed_s:g} s; it was stopped"
        return Outcome(error=ErrorInfo(type="TimeoutError", message=message, code=TIMEOUT))
    return Outcome(reason=CANCELLED, error=ErrorInfo(type="Cancelled", message="cancelled on request"))


def _said(file: Path) -> Result | None:
    """Return what the agent wrote as its result; a file of any JSON is its output."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(data, type=_Told).result
    with contextlib.suppress(msgspec.MsgspecError):
        return Result(output=msgspec.json.decode(data))
    return Result(output=data.decode("utf-8", "replace"))


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    output: Any = None
    error: dict[str, Any] | None = None

    @property
    def result(self) -> Result:
        return Result(output=self.output, error=self.error)


def _is_signal(number: int) -> bool:
    try:
        return bool(signal.Signals(number))
    except ValueError:
        return False


def _tail(file: Path, most: int) -> str:
    with file.open("rb") as printed:
        size = printed.seek(0, os.SEEK_END)
        printed.seek(max(0, size - most))
        return printed.read().decode("utf-8", "replace").strip()


if __name__ == "__main__":
    sys.exit(main())
