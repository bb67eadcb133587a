"""Tasks as A2A has them: a turn of a session, with the answers that it asked for. Blocking; knows no HTTP.

The first task of a session has the session's id, a later one `SESSION#RUN` of the run that began it. A run that answers
what a task asks is part of that task, which a document of the session says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from a2a.types import Artifact, Message, Part, Role, Task, TaskState, TaskStatus
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from otel_agent_journal.codec import encode_value
from otel_agent_journal.event import derived_id
from otel_agent_journal.pipeline.graph_calls import GraphCall
from otel_agent_journal.server.a2a.words import Words, text_of
from otel_agent_journal.server.langgraph.following import (
    ASKS,
    ERROR,
    PENDING,
    STOPPED,
    SUCCESS,
    TIMEOUT,
    RunFollowed,
    runs_of,
)
from otel_agent_journal.server.langgraph.notes import RunNote, note_run, run_note
from otel_agent_journal.sessions.runs import Asked, Submitted

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.journals import Journals
    from otel_agent_journal.sessions.service import SessionService

TERMINAL: Final = frozenset(
    (TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_CANCELED)
)
_STATES: Final = {
    PENDING: TaskState.TASK_STATE_SUBMITTED,
    SUCCESS: TaskState.TASK_STATE_COMPLETED,
    ERROR: TaskState.TASK_STATE_FAILED,
    TIMEOUT: TaskState.TASK_STATE_FAILED,
}
_ROLES: Final = {"human": Role.ROLE_USER, "user": Role.ROLE_USER, "ai": Role.ROLE_AGENT, "assistant": Role.ROLE_AGENT}
RESULT: Final = "result"
_MODES: Final = ("values", "messages-tuple")


class Turn(msgspec.Struct, frozen=True):
    """A task, by where it is: its session, and the run that it is at."""

    task_id: str
    session_id: str
    run_id: str
    agent: str
    at_ns: int


class Tasks:
    """The tasks of one agent.

    Args:
        service: runs it.
        journals: where its events are.
        agent: its name.
    """

    def __init__(self, service: SessionService, journals: Journals, agent: str) -> None:
        self._service = service
        self._journals = journals
        self.agent = agent

    def begin(self, given: Any, session_id: str | None, key: str | None) -> Turn:
        """Begin a turn, in a session that is there, or a new one; raises what `SessionService.ask` does."""
        with self._journals.one() as journal:
            head = None if session_id is None else journal.exact(session_id)
            cursor = None if session_id is None else journal.store.tip(session_id)
        how = GraphCall(modes=_MODES, says=True)
        done = self._service.ask(
            Asked(agent=self.agent, input=given, session_id=session_id, on_busy="enqueue", graph=how), key=key
        )
        task_id = done.session_id if head is None or not head.events else f"{done.session_id}#{done.run}"
        return self._noted(done, task_id, cursor)

    def answer(self, turn: Turn, given: Any, key: str | None) -> Turn:
        """Answer what a task asks."""
        with self._journals.one() as journal:
            cursor = journal.store.tip(turn.session_id)
        how = GraphCall(modes=_MODES, command={"resume": given}, says=True)
        asked = Asked(agent=self.agent, input=given, session_id=turn.session_id, graph=how)
        return self._noted(self._service.ask(asked, key=key), turn.task_id, cursor)

    def _noted(self, done: Submitted, task_id: str, cursor: str | None) -> Turn:
        with self._journals.one() as journal:
            note = run_note(journal.store, done.session_id, done.run)
            if note.task is None:  # else it is a message that was sent before
                note = RunNote(cursor=cursor, task=task_id)
                note_run(journal.store, done.session_id, done.run, note)
        return Turn(str(note.task), done.session_id, done.run, self.agent, 0)

    def find(self, task_id: str) -> Turn | None:
        """Return the task of an id, at its latest run."""
        session_id = task_id.rpartition("#")[0] if "#" in task_id else task_id
        with self._journals.one() as journal:
            for name in dict.fromkeys((task_id, session_id)):
                for turn in reversed(self.of_session(journal, name)):
                    if turn.task_id == task_id:
                        return turn
        return None

    def of_session(self, journal: Journal, session_id: str) -> list[Turn]:
        """Return the tasks of a session, each at its latest run; of other agents none."""
        if not session_id or journal.exact(session_id) is None:
            return []
        found: dict[str, Turn] = {}
        task_id = session_id
        for run_id, agent, at_ns in reversed(runs_of(journal, session_id)):
            task_id = run_note(journal.store, session_id, run_id).task or task_id
            if agent == self.agent:
                found[task_id] = Turn(task_id, session_id, run_id, agent, at_ns)
        return list(found.values())

    def cancel(self, turn: Turn) -> None:
        """Ask for its run to stop; raises what `SessionService.cancel_run` does."""
        self._service.cancel_run(turn.session_id, turn.run_id)

    def followed(self, turn: Turn) -> RunFollowed:
        """Return the run that a task is at."""
        return RunFollowed(self._journals, turn.session_id, turn.run_id, chunks=True)

    def told(
        self, turn: Turn, run: RunFollowed, most: int | None = None, *, words: Words | None = None, reads: bool = True
    ) -> Task:
        """Return a task as A2A has it, of the run that it is at.

        Args:
            turn: the task.
            run: its run.
            most: messages of its history.
            words: takes what was said so far.
            reads: whether the run is read first, as far as it has come.
        """
        parts = run.read() if reads else []
        if words is not None:
            words.take(parts)
        with self._journals.one() as journal:
            status = run.status(journal)
            stage = self._service.watched.progress(turn.session_id).stage if run.ended is None else None
            given = self._input(journal, turn)
        output = None if run.ended is None else run.ended.output
        task = Task(id=turn.task_id, context_id=turn.session_id)
        task.status.CopyFrom(_status(turn, run, status, None if stage is None else stage[1]))
        history = history_of(turn, given, output)
        task.history.extend(history if most is None else history[max(0, len(history) - most) :])
        if run.ended is not None and status == SUCCESS:
            task.artifacts.append(artifact_of(turn, output))
        elif run.ended is None and words is not None and words.text:
            task.artifacts.append(artifact_said(turn, words.text))
        return task

    def _input(self, journal: Journal, turn: Turn) -> Any:
        return journal.resolved(turn.session_id, self._service.watched.progress(turn.session_id).input)


def _status(turn: Turn, run: RunFollowed, status: str, stage: str | None) -> TaskStatus:
    state, said = _STATES.get(status, TaskState.TASK_STATE_WORKING), stage
    ended = run.ended
    if status == STOPPED and ended is not None:
        asks = ended.reason != "cancelled"
        state = TaskState.TASK_STATE_INPUT_REQUIRED if asks else TaskState.TASK_STATE_CANCELED
        said = _question(ended.output) if asks else "cancelled on request"
    elif ended is not None and ended.error is not None:
        said = ": ".join(filter(None, ended.error))
    told = TaskStatus(state=state)
    if said:
        told.message.CopyFrom(_message(turn, Role.ROLE_AGENT, [Part(text=said)], f"{turn.run_id}:{state}:{said}"))
    if ended is not None and ended.at_ns:
        told.timestamp.FromNanoseconds(ended.at_ns)
    else:
        told.timestamp.GetCurrentTime()
    return told


def history_of(turn: Turn, given: Any, output: Any) -> list[Message]:
    """Return the conversation, as far as its agent's state has it; else what was asked."""
    messages: Any = _mapping(output).get("messages")
    found: list[Message] = []
    for number, one in enumerate(cast("list[Any]", messages) if isinstance(messages, list) else []):
        said = _mapping(one)
        role = _ROLES.get(str(said.get("type") or said.get("role")))
        text = text_of(said.get("content")) if role is not None else ""
        if role is not None and text:
            found.append(_message(turn, role, [Part(text=text)], f"{turn.session_id}:{said.get('id') or number}"))
    if not found and given is not None:
        found.append(_message(turn, Role.ROLE_USER, [_part(given)], f"{turn.run_id}:input"))
    return found


def artifact_of(turn: Turn, output: Any) -> Artifact:
    """Return what a task came to: the last words of its agent, and its result as data where it is more than text."""
    parts: list[Part] = []
    messages: Any = _mapping(output).get("messages")
    if isinstance(messages, list) and messages:
        text = text_of(_mapping(cast("list[Any]", messages)[-1]).get("content"))
        parts += [Part(text=text)] if text else []
    return Artifact(artifact_id=derived_id(f"{turn.run_id}:{RESULT}"), name=RESULT, parts=[*parts, _part(output)])


def artifact_said(turn: Turn, text: str) -> Artifact:
    """Return what an agent says so far as what its task will have come to, which takes its place."""
    return Artifact(artifact_id=derived_id(f"{turn.run_id}:{RESULT}"), name=RESULT, parts=[Part(text=text)])


def given_by(parts: Sequence[Part]) -> Any:
    """Return what a message says: its text, or its data where it has that alone."""
    texts = [part.text for part in parts if part.HasField("text")]
    data = [msgspec.json.decode(_json(part.data)) for part in parts if part.HasField("data")]
    if data and not texts:
        return data[0] if len(data) == 1 else data
    return "\n".join([*texts, *(encode_value(one).decode() for one in data)])


def _json(value: Value) -> str:
    from google.protobuf.json_format import MessageToJson

    return MessageToJson(value)


def _part(value: Any) -> Part:
    return Part(text=value) if isinstance(value, str) else Part(data=ParseDict(_numbers(value), Value()))


def _numbers(value: Any) -> Any:
    """Return a value whose whole numbers a double holds; others as text, as A2A's data has doubles alone."""
    match value:
        case bool():
            return value
        case int() if abs(value) > 1 << 53:
            return str(value)
        case list():
            return [_numbers(one) for one in cast("list[Any]", value)]
        case dict():
            return {str(name): _numbers(one) for name, one in cast("dict[Any, Any]", value).items()}
        case _:
            return value


def _question(output: Any) -> str:
    asks: Any = _mapping(output).get(ASKS)
    said = [_mapping(one).get("value", one) for one in (cast("list[Any]", asks) if isinstance(asks, list) else [])]
    return "\n".join(one if isinstance(one, str) else encode_value(one).decode() for one in said)


def _message(turn: Turn, role: Any, parts: list[Part], name: str) -> Message:
    return Message(
        message_id=derived_id(name), context_id=turn.session_id, task_id=turn.task_id, role=role, parts=parts
    )


def _mapping(value: Any) -> dict[str, Any]:
    """Return an object of JSON; of anything else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
