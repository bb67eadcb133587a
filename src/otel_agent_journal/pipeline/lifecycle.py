"""The lifecycle of an invocation, told by whoever calls an agent: a web backend, a Lambda, a task of a workflow.

    with invocation("s1", agent_id=os.environ.get("AGENT_ID")) as call:
        call.succeed(client.invoke_agent(...))

The agent itself may run elsewhere, in another language, or in the block: then its root lands in the session. Nothing
here raises but what can never be right: a call with a malformed argument, and an agent id that was never filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, cast

from opentelemetry import context as context_api
from opentelemetry.baggage import set_baggage
from opentelemetry.context import Context

from otel_agent_journal.codec import valid_text
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.event import (
    AGENT_INVOCATION_FAILED,
    AGENT_INVOCATION_STARTED,
    AGENT_INVOCATION_SUCCEEDED,
    EMPTY,
    SESSION_INITIATED,
    ErrorInfo,
)
from otel_agent_journal.mapping.genai import CONVERSATION_ID
from otel_agent_journal.mapping.harmless import by_hand
from otel_agent_journal.pipeline.agent_ids import is_placeholder
from otel_agent_journal.pipeline.failure import is_cancel
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.session import checked_session, checked_type, process_recorder
from otel_agent_journal.pipeline.step import SESSION_KEY, STEP_KEY, Step, current_step
from otel_agent_journal.pipeline.step_block import Block
from otel_agent_journal.projections.head import CANCELLED

CONFIGURATION_ERROR: Final = "CONFIGURATION_ERROR"
_GIVEN_UP: Final = {"reason": CANCELLED}

_NOT_GIVEN: Final = cast("str", object())


def record_event(
    session_id: str, status: str, error: BaseException | ErrorInfo | str | None = None, **details: Any
) -> None:
    """Journal an event of a session by its name.

    AGENT_INVOCATION_FAILED with an error that cancels, as asyncio.CancelledError and KeyboardInterrupt do, or with
    `reason="cancelled"` says that the agent was given up: its level is WARNING, and the session INTERRUPTED.

    Args:
        session_id: the session; it need not be known yet.
        status: the event's type in upper snake case, such as AGENT_INVOCATION_FAILED.
        error: why, where something failed: an exception, or a text.
        details: any data.

    Raises:
        ValueError: the session id is empty, or the type is not upper snake case.
    """
    _say(process_recorder(), checked_session(session_id), checked_type(status), error, by_hand(details))


class Invocation(Block):
    """One call of an agent, as its caller sees it. Made by `invocation()`; a block, sync or async.

    Safe to end from any thread; only the first ending counts.
    """

    def __init__(
        self, recorder: Recorder, session_id: str | None, details: dict[str, Any], agent_input: Any, problem: str | None
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._details = details
        self._input = agent_input
        self._problem = problem
        self._ended = False
        self.session_id = session_id or ""
        self.invocation_id = recorder.ids.hex()

    def record(self, event_type: str, details: Mapping[str, Any] = EMPTY, *, level: str = "INFO") -> None:
        """Journal an event of your own.

        Args:
            event_type: upper snake case, such as PAYMENT_RESERVED.
            details: any data.
            level: DEBUG, INFO, WARNING or ERROR.

        Raises:
            ValueError: the type is not upper snake case.
        """
        _say(self._recorder, self.session_id, checked_type(event_type), None, by_hand(details), level=level)

    def succeed(self, output: Any = None, **details: Any) -> None:
        """Journal AGENT_INVOCATION_SUCCEEDED now. Leaving the block without it says the same, with no output."""
        if output is not None:
            details["output"] = output
        self._end(AGENT_INVOCATION_SUCCEEDED, None, details)

    def fail(self, error: BaseException | ErrorInfo | str, **details: Any) -> None:
        """Journal AGENT_INVOCATION_FAILED now, where no exception leaves the block.

        With an error that cancels, or with `reason="cancelled"`, it is the caller that gave up.
        """
        self._end(AGENT_INVOCATION_FAILED, error, details)

    def end(self, outcome: str = "ok") -> None:
        """End it as the process ends what is open when it exits: cancelled, unless `outcome` is ok."""
        if outcome == "ok":
            self._end(AGENT_INVOCATION_SUCCEEDED, None)
        else:
            self._end(AGENT_INVOCATION_FAILED, None, _GIVEN_UP)

    def _end(
        self, event_type: str, error: BaseException | ErrorInfo | str | None, details: Mapping[str, Any] = EMPTY
    ) -> None:
        ended, self._ended = self._ended, True  # as in `Step.end`
        if ended:
            return
        self._recorder.let_go(self)
        joined = {**self._details, **by_hand(details), "invocation": self.invocation_id}
        _say(self._recorder, self.session_id, event_type, error, joined)

    def __enter__(self) -> Self:
        """Say that the agent is being called, and make the session that of the code within.

        Raises:
            ConfigError: the agent id was never filled in; AGENT_INVOCATION_FAILED says so in the journal.
        """
        recorder, context = self._recorder, context_api.get_current()
        self.session_id = valid_text(self.session_id or recorder.session_of(context) or recorder.ids.hex())
        _say(recorder, self.session_id, SESSION_INITIATED, None, self._details)
        if self._problem is not None:
            error = ConfigError(self._problem)
            info = ErrorInfo(type="ConfigError", message=self._problem, code=CONFIGURATION_ERROR)
            self._end(AGENT_INVOCATION_FAILED, info)
            raise error
        details = {**self._details, "invocation": self.invocation_id}
        if self._input is not None:
            details["input"] = self._input
        _say(recorder, self.session_id, AGENT_INVOCATION_STARTED, None, details)
        recorder.hold(self)
        self._attach(_within(context, self.session_id))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say how the call ended: by the exception that passes, else as it was told, else that it succeeded."""
        self._detach()
        if error is None:
            self._end(AGENT_INVOCATION_SUCCEEDED, None)
        else:
            self._end(AGENT_INVOCATION_FAILED, error)

    async def __aenter__(self) -> Self:
        """Say that the agent is being called, as `__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say how the call ended."""
        self.__exit__(kind, error, traceback)


def invocation(
    session_id: str | None = None,
    *,
    agent_id: str | None = _NOT_GIVEN,
    agent: str | None = None,
    input: Any = None,  # noqa: A002 - the field's name in the journal
) -> Invocation:
    """Return a block for one call of an agent.

    Args:
        session_id: the session; without one that of the code around it, `--session`, or a fresh one.
        agent_id: the id that the agent is called by. One that is None, empty or a placeholder fails the invocation
            before the block begins.
        agent: the agent's name.
        input: what the agent is asked.

    Raises:
        ValueError: the session id is empty text.
    """
    details: dict[str, Any] = {} if agent is None else {"agent": agent}
    problem = None
    if agent_id is not _NOT_GIVEN:
        details["agent_id"] = agent_id
        problem = _problem_with(agent_id)
    wanted = None if session_id is None else checked_session(session_id)
    return Invocation(process_recorder(), wanted, details, input, problem)


def _problem_with(agent_id: Any) -> str | None:
    if agent_id is None or not str(agent_id).strip():
        return f"agent id is {agent_id!r}, so no agent was called: set the variable or setting that it is read from"
    if is_placeholder(str(agent_id)):
        return f"agent id '{agent_id}' is a placeholder, so no agent was called: put the real id where it is read from"
    return None


def _within(context: Context, session_id: str) -> Context:
    """Return a context whose session is this one: for roots here, and by baggage for agents that trust it."""
    enclosing = context.get(STEP_KEY)
    if isinstance(enclosing, Step) and enclosing.session_id != session_id:
        context = Context({key: value for key, value in context.items() if key != STEP_KEY})
    return set_baggage(CONVERSATION_ID, session_id, Context({**context, SESSION_KEY: session_id}))


def _say(
    recorder: Recorder,
    session_id: str,
    event_type: str,
    error: BaseException | ErrorInfo | str | None,
    details: Mapping[str, Any],
    *,
    level: str | None = None,
) -> None:
    """Journal an event of a session, within the step around this code where that is of the same session."""
    if isinstance(error, str):
        error = ErrorInfo(type="Error", message=error)
    cancelled = False
    if event_type == AGENT_INVOCATION_FAILED:
        if isinstance(error, BaseException) and is_cancel(error):
            details = {**_GIVEN_UP, **details}
        reason = details.get("reason")
        cancelled = isinstance(reason, str) and reason == CANCELLED
    failed = event_type.endswith("_FAILED") or error is not None
    agent = details.get("agent")
    enclosing = current_step()
    recorder.record(
        session_id,
        event_type,
        details,
        level=level or ("WARNING" if cancelled else "ERROR" if failed else "INFO"),
        name=agent if isinstance(agent, str) else None,
        step=enclosing if enclosing is not None and enclosing.session_id == session_id else None,
        error=error,
    )
