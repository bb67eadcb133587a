"""The recorder for hand-written agents: `session()` and, within it, `step()`, sync and async.

    with session("s1", agent="researcher") as s:
        s.record("TRAINING_JOB_STARTED", {"job": "a7"})
        with s.step("tool", "search", input=query) as step:
            step.complete(search(query))

Both are the current span while their block runs, so that other instrumentations nest under them. Nothing raises but
a call that can never be right (an event type in lower case, a kind of step that is none), whatever the values are; the
block's own exception passes untouched.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, cast

from opentelemetry import context as context_api

from otel_agent_journal.event import (
    EMPTY,
    FINAL_RESPONSE,
    LEVELS,
    SESSION_COMPLETED,
    SESSION_FAILED,
    SESSION_INITIATED,
)
from otel_agent_journal.foreign import is_a
from otel_agent_journal.mapping.harmless import by_hand
from otel_agent_journal.mapping.usage import number_in
from otel_agent_journal.pipeline.content import fitted
from otel_agent_journal.pipeline.current import STATE, get_recorder
from otel_agent_journal.pipeline.effects import known_effects
from otel_agent_journal.pipeline.failure import is_cancel
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.resuming import meant
from otel_agent_journal.pipeline.session_writer import session_within
from otel_agent_journal.pipeline.step import Step, current_context, current_step
from otel_agent_journal.pipeline.step_block import Block, StepBlock, attributes_of, end_by
from otel_agent_journal.pipeline.who import said_of_run
from otel_agent_journal.plain import text_of
from otel_agent_journal.replays.words import BY_HAND, SERVED_KINDS

_log = logging.getLogger(__name__)

_EVENT_TYPE: Final = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)


def checked_type(event_type: Any) -> str:
    """Return an event type of the user's.

    Raises:
        ValueError: it is not upper snake case.
    """
    event_type = text_of(event_type)
    if not _EVENT_TYPE.fullmatch(event_type):
        raise ValueError(f"event type '{event_type}' is not upper snake case, as in TRAINING_JOB_STARTED")
    return event_type


def checked_session(session_id: Any) -> str:
    """Return a session id of the user's.

    Raises:
        ValueError: it is empty, or no text.
    """
    if not is_a(session_id, str) or not text_of(session_id).strip():
        raise ValueError(f"session id is {text_of(session_id)!r}; a text that is not empty is expected")
    return text_of(session_id)


class SessionBlock(Block):
    """One invocation of a hand-written agent: its root step, and the session's own events around it."""

    def __init__(self, recorder: Recorder, session_id: Any, agent: Any, details: dict[str, Any]) -> None:
        super().__init__()
        self._recorder = recorder
        self._wanted = None if session_id is None else meant(text_of(session_id))
        self._agent = "agent" if agent is None else text_of(agent) or "agent"
        self._details = details
        self._root: Step | None = None
        self._response: Any = None

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._root.session_id if self._root else self._wanted or ""

    def record(self, event_type: str, details: Any = EMPTY, *, level: str = "INFO") -> None:
        """Journal an event of your own.

        Args:
            event_type: upper snake case, such as TRAINING_JOB_STARTED.
            details: any data: fields with their values, or a value.
            level: DEBUG, INFO, WARNING or ERROR; another is taken for INFO.

        Raises:
            ValueError: the type is not upper snake case.
        """
        event_type, level = checked_type(event_type), text_of(level).upper()
        level = level if level in LEVELS else "INFO"
        if type(details) is not dict:
            details = fitted(EMPTY if details is None else details)
        said = by_hand(cast("dict[str, Any]", details))
        self._recorder.record(self.session_id, event_type, said, level=level, step=current_step() or self._root)

    def stage(self, stage: Any, *, progress: Any = None) -> None:
        """Journal which stage the work has reached. `progress`: percent, 0 to 100; by default the stage's own."""
        step = current_step() or self._root
        self._recorder.stage(self.session_id, text_of(stage), progress=number_in(progress), step=step)

    def step(
        self,
        kind: str,
        name: Any,
        *,
        input: Any = None,  # noqa: A002 - the field's name in the journal
        attributes: Mapping[str, Any] | None = None,
        effects: str | None = None,
    ) -> StepBlock:
        """Return a block for one step.

        Args:
            kind: agent, node, model, tool, retrieval or step.
            name: of the step.
            input: what it is given.
            attributes: of its span.
            effects: of a tool: read, write or irreversible.
        """
        return step_block(
            self._recorder, kind, name, input=input, attributes=attributes, effects=effects, fallback=self._root
        )

    def respond(self, response: Any) -> None:
        """Journal the agent's final response."""
        self._response = response
        if self._root is not None and not self._root.ended:
            self._root.note(FINAL_RESPONSE, {"output": response})

    def __enter__(self) -> Self:
        """Begin the session's root step."""
        recorder = self._recorder
        session_id = self._wanted or recorder.session_of(context_api.get_current()) or recorder.ids.hex()
        recorder.record(session_id, SESSION_INITIATED, {"agent": self._agent}, name=self._agent)
        self._root = recorder.start_step(
            "AGENT", self._agent, session_id=session_id, detached=True, details=dict(self._details)
        )
        self._attach(self._root.context())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the root step, and say how the session went."""
        self._detach()
        root = self._root
        if root is None:
            return
        if self._response is not None and error is None:
            root.end("ok", details={"output": self._response})
        end_by(root, error)
        if error is None:
            self._recorder.record(root.session_id, SESSION_COMPLETED, name=self._agent)
        elif not is_cancel(error):
            self._recorder.record(
                root.session_id, SESSION_FAILED, level="ERROR", name=self._agent, error=error, failed=root
            )

    async def __aenter__(self) -> Self:
        """Begin the session's root step."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the root step, and say how the session went."""
        self.__exit__(kind, error, traceback)


def session(
    session_id: Any = None,
    *,
    agent: Any = None,
    input: Any = None,  # noqa: A002 - the field's name in the journal
    attributes: Mapping[str, Any] | None = None,
) -> SessionBlock:
    """Return a block for one invocation of a hand-written agent.

    Args:
        session_id: the session, a text, number or UUID; without one that of the code around it, `--session`, or a
            fresh one.
        agent: the agent's name.
        input: what the agent was asked.
        attributes: whose the run is, as `{"user": ..., "tenant": ..., "tags": [...]}` and whatever else it is to be
            found by: `agent-journal ls --tag tenant=acme`.
    """
    details: dict[str, Any] = {} if input is None else {"input": input}
    if attributes is not None:
        details |= _who(attributes)
    return SessionBlock(process_recorder(), session_id, agent, details)


def step(
    kind: str,
    name: Any,
    *,
    input: Any = None,  # noqa: A002 - the field's name in the journal
    attributes: Mapping[str, Any] | None = None,
    effects: str | None = None,
) -> StepBlock:
    """Return a block for one step of whatever encloses this code, as `SessionBlock.step`."""
    return step_block(process_recorder(), kind, name, input=input, attributes=attributes, effects=effects)


def current_session() -> str | None:
    """Return the session that this code runs in, or None outside of any."""
    context, recorder = current_context(), get_recorder()
    return session_within(context) or (None if recorder is None else recorder.session_carried(context))


class _Unconfigured:
    """Takes nothing: the program runs without a journal."""

    writer = ""

    def append(self, payload: bytes) -> bool:
        return True


def process_recorder() -> Recorder:
    """Return the process's recorder; without one, a recorder whose spans are real and whose events go nowhere."""
    recorder = get_recorder()
    if recorder is not None:
        return recorder
    if STATE.idle is None:
        STATE.idle = Recorder(_Unconfigured())
        _log.warning(
            "nothing is journaled: call otel_agent_journal.configure() first, or start the program with"
            " agent-journal run -- ..."
        )
    return STATE.idle


def step_block(
    recorder: Recorder,
    kind: str,
    name: Any,
    *,
    input: Any = None,  # noqa: A002 - the field's name in the journal
    attributes: Mapping[str, Any] | None = None,
    effects: str | None = None,
    fallback: Step | None = None,
) -> StepBlock:
    """Return a block for one step: a child of the step that this code runs in, else of `fallback`, else a root."""
    enclosing = current_step()
    parent = enclosing if enclosing is not None and not enclosing.ended else fallback
    options: dict[str, Any] = {} if attributes is None else {"attributes": attributes_of(attributes)}
    details: dict[str, Any] = {} if input is None else {"input": input}
    if known_effects(effects):
        details["effects"] = effects
    if text_of(kind).upper() in SERVED_KINDS:
        details[BY_HAND] = True
    return StepBlock(recorder, kind, name, parent, details, options)


def _who(attributes: Mapping[str, Any]) -> dict[str, Any]:
    said = fitted(attributes)
    tags: Any = said.pop("tags", ())
    return said_of_run(said, cast("list[Any]", tags) if isinstance(tags, list) else (tags,))
