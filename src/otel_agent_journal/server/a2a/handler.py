"""What answers A2A's requests for one agent, as a2a-sdk asks it: every answer is of the journal."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import (
    Artifact,
    ListTasksResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    ExtendedAgentCardNotConfiguredError,
    InternalError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from anyio import to_thread

from otel_agent_journal.errors import JournalError
from otel_agent_journal.server.a2a.tasks import TERMINAL, Tasks, Turn, artifact_said, given_by
from otel_agent_journal.server.a2a.words import Words
from otel_agent_journal.server.arrivals import arrivals
from otel_agent_journal.sessions.runs import Refused, checked_id
from otel_agent_journal.store.protocol import SessionFilter

if TYPE_CHECKING:
    from a2a.server.context import ServerCallContext

    from otel_agent_journal.server.ears import Ear
    from otel_agent_journal.server.hub import Hub
    from otel_agent_journal.server.journals import Journals
    from otel_agent_journal.server.langgraph.following import RunFollowed
    from otel_agent_journal.sessions.service import SessionService

_CANCEL_S: Final = 20.0
_PAGE: Final = 50
_MOST: Final = 100
_Found = TypeVar("_Found")


class Handler(RequestHandler):
    """Answers for one agent."""

    def __init__(self, service: SessionService, journals: Journals, hub: Hub, agent: str) -> None:
        self._tasks = Tasks(service, journals, agent)
        self._journals = journals
        self._hub = hub

    # --- sending ---

    async def on_message_send(self, params: Any, context: ServerCallContext) -> Task:
        """Take a message; answer once the task has ended or asks, or at once where that is wanted."""
        turn = await self._sent(params)
        most = _most(params.configuration)
        run = self._tasks.followed(turn)
        if params.configuration.return_immediately:
            return await to_thread.run_sync(self._tasks.told, turn, run, most)
        return await self._task_once(turn, run, _rests, most)

    async def on_message_send_stream(self, params: Any, context: ServerCallContext) -> AsyncGenerator[Any]:
        """Take a message, and tell what becomes of it."""
        turn = await self._sent(params)
        async for one in self._told(turn, _most(params.configuration)):
            yield one

    async def on_subscribe_to_task(self, params: Any, context: ServerCallContext) -> AsyncGenerator[Any]:
        """Tell what becomes of a task that goes on."""
        turn = await self._turn(params.id)
        task = await to_thread.run_sync(self._tasks.told, turn, self._tasks.followed(turn))
        if task.status.state in TERMINAL:
            raise UnsupportedOperationError(f"task {params.id} has ended: GetTask has what came of it")
        async for one in self._told(turn, None):
            yield one

    async def _sent(self, params: Any) -> Turn:
        message = params.message
        if params.configuration.HasField("task_push_notification_config"):
            raise PushNotificationNotSupportedError
        if not message.parts or any(part.HasField("raw") or part.HasField("url") for part in message.parts):
            raise ContentTypeNotSupportedError(
                "a message has parts of text or data here; send a file as a link in a text"
            )
        given = given_by(message.parts)
        key = f"a2a:{self._tasks.agent}:{message.message_id}" if message.message_id else None
        if not message.task_id:
            session_id = message.context_id or None
            return await self._asked(lambda: self._tasks.begin(given, session_id and checked_id(session_id), key))
        turn = await self._turn(message.task_id)
        if message.context_id and message.context_id != turn.session_id:
            raise InvalidParamsError(
                f"task {message.task_id} is of context {turn.session_id}, not {message.context_id}"
            )
        task = await to_thread.run_sync(self._tasks.told, turn, self._tasks.followed(turn))
        if task.status.state != TaskState.TASK_STATE_INPUT_REQUIRED:
            state = TaskState.Name(task.status.state)
            raise UnsupportedOperationError(
                f"task {message.task_id} is {state} and asks nothing; for a new turn give contextId alone"
            )
        return await self._asked(lambda: self._tasks.answer(turn, given, key))

    async def _told(self, turn: Turn, most: int | None) -> AsyncGenerator[Any]:
        """Tell a task as it is now, then its words as they come and each state that it gets into."""
        run, words, last = self._tasks.followed(turn), Words(), None
        async with aclosing(arrivals(await self._ear(turn))) as arrived:
            async for is_news in arrived:
                if last is None:
                    last = await to_thread.run_sync(partial(self._tasks.told, turn, run, most, words=words))
                    yield last
                more = not _rests(last)
                while more:
                    parts, more = await to_thread.run_sync(run.look)
                    for text, goes_on in words.take(parts):
                        yield _artifact(turn, artifact_said(turn, text), append=goes_on)
                if not _rests(last) and (is_news or run.ended is not None):
                    task = await to_thread.run_sync(partial(self._tasks.told, turn, run, most, reads=False))
                    for one in _changes(turn, last, task):
                        yield one
                    last = task
                if _rests(last):
                    return

    async def _ear(self, turn: Turn) -> Ear:
        return await self._asked(lambda: self._hub.ear(turn.session_id))

    async def _task_once(
        self,
        turn: Turn,
        run: RunFollowed,
        holds: Callable[[Task], bool],
        most: int | None = None,
        within_s: float = inf,
    ) -> Task:
        """Return a task once something holds of it; as it is, where the time is up or the server ends."""
        deadline = time.monotonic() + within_s
        async with aclosing(arrivals(await self._ear(turn))) as arrived:
            async for _ in arrived:
                task = await to_thread.run_sync(self._tasks.told, turn, run, most)
                if holds(task) or time.monotonic() > deadline:
                    return task
        return await to_thread.run_sync(self._tasks.told, turn, run, most)

    # --- looking ---

    async def on_get_task(self, params: Any, context: ServerCallContext) -> Task:
        """Return a task."""
        turn = await self._turn(params.id)
        return await to_thread.run_sync(self._tasks.told, turn, self._tasks.followed(turn), _most(params))

    async def on_list_tasks(self, params: Any, context: ServerCallContext) -> ListTasksResponse:
        """Return tasks, those of the session that was updated last first."""
        return await self._asked(lambda: self._listed(params))

    def _listed(self, params: Any) -> ListTasksResponse:
        size = min(params.page_size or _PAGE, _MOST)
        if params.page_token and not params.page_token.isdecimal():
            raise InvalidParamsError("pageToken is none of ours; leave it out to begin with the latest")
        at = int(params.page_token[:9] or 0)
        found: list[Turn] = []
        with self._journals.one() as journal:
            ids = (
                [params.context_id] if params.context_id else [one.session_id for one in journal.heads(SessionFilter())]
            )
            for session_id in ids:
                found += reversed(self._tasks.of_session(journal, session_id))
                if len(found) > at + size and not params.status:
                    break
        told = [self._tasks.told(turn, self._tasks.followed(turn), _most(params) or 0) for turn in found]
        since = params.status_timestamp_after.ToNanoseconds()
        kept = [
            task
            for task in told
            if (not params.status or task.status.state == params.status)
            and task.status.timestamp.ToNanoseconds() >= since
        ]
        page = kept[at : at + size]
        for task in page if not params.include_artifacts else []:
            del task.artifacts[:]
        more = str(at + size) if len(kept) > at + size else ""
        return ListTasksResponse(tasks=page, next_page_token=more, page_size=size, total_size=len(kept))

    async def on_cancel_task(self, params: Any, context: ServerCallContext) -> Task:
        """Stop a task, and return it once it has."""
        turn = await self._turn(params.id)
        run = self._tasks.followed(turn)
        if (await to_thread.run_sync(self._tasks.told, turn, run)).status.state in TERMINAL:
            raise TaskNotCancelableError(f"task {params.id} has ended")
        try:
            await to_thread.run_sync(self._tasks.cancel, turn)
        except Refused as error:
            raise TaskNotCancelableError(f"task {params.id} has no run that could be stopped: {error}") from error
        return await self._task_once(turn, run, _has_ended, within_s=_CANCEL_S)

    async def _turn(self, task_id: str) -> Turn:
        found = await self._asked(lambda: self._tasks.find(task_id))
        if found is None:
            raise TaskNotFoundError(f"there is no task {task_id[:200]} of agent {self._tasks.agent}")
        return found

    async def _asked(self, work: Callable[[], _Found]) -> _Found:
        """Return what work does, in a thread; its refusals as A2A has them."""
        try:
            return await to_thread.run_sync(work)
        except Refused as error:
            raise InvalidParamsError(str(error)) from error
        except JournalError as error:
            raise InternalError(str(error)) from error

    # --- what is not done here ---

    async def on_create_task_push_notification_config(self, params: Any, context: ServerCallContext) -> Any:
        """Refuse."""
        raise PushNotificationNotSupportedError

    on_get_task_push_notification_config = on_create_task_push_notification_config
    on_list_task_push_notification_configs = on_create_task_push_notification_config
    on_delete_task_push_notification_config = on_create_task_push_notification_config

    async def on_get_extended_agent_card(self, params: Any, context: ServerCallContext) -> Any:
        """Refuse."""
        raise ExtendedAgentCardNotConfiguredError


def _changes(turn: Turn, last: Task, task: Task) -> Iterator[Any]:
    """Yield what a client is told of a task that is not as it was."""
    for artifact in task.artifacts:
        yield _artifact(turn, artifact, ends=True)
    if (task.status.state, task.status.message) != (last.status.state, last.status.message):
        yield TaskStatusUpdateEvent(task_id=turn.task_id, context_id=turn.session_id, status=task.status)


def _artifact(turn: Turn, artifact: Artifact, *, append: bool = False, ends: bool = False) -> TaskArtifactUpdateEvent:
    return TaskArtifactUpdateEvent(
        task_id=turn.task_id, context_id=turn.session_id, artifact=artifact, append=append, last_chunk=ends
    )


def _has_ended(task: Task) -> bool:
    return task.status.state in TERMINAL


def _rests(task: Task) -> bool:
    return _has_ended(task) or task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED


def _most(params: Any) -> int | None:
    return params.history_length if params.HasField("history_length") else None
