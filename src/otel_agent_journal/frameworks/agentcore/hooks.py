"""What the patched methods of an AgentCore app do around the app's own.

Each `wrappers` entry makes the replacement of one method. A replacement calls the original with what it was given,
hands on what that returns, and lets its exceptions pass; everything of ours is kept from the app.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_agent_journal.frameworks.agentcore.boundary import current, kept_from_app
from otel_agent_journal.frameworks.agentcore.requests import Request, Sessions
from otel_agent_journal.frameworks.agentcore.streams import streamed
from otel_agent_journal.frameworks.agentcore.tasks import CALL, Call, Tasks
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.flushing import Flusher

APP: Final = "bedrock_agentcore.runtime.app"

_OF_INVOKE: Final = ("handler", "request_context", "takes_context", "payload")  # the SDK's own parameters
_WRAPPED: Final = "_agent_journal_wrapped"
_NORMAL_CLOSURE: Final = frozenset((1000, 1001))  # RFC 6455: the client is done, or goes away


class Hooks:
    """The replacements of the app's methods, and what they share: one set a process, for all its apps."""

    def __init__(self) -> None:
        self.enabled = True
        self.flusher = Flusher()
        self.sessions = Sessions()
        self.tasks = Tasks(self.sessions)
        self.wrappers: Mapping[str, Callable[[Any], Any]] = {
            "_invoke_handler": self._around_handler,
            "_handle_websocket": self._around_websocket,
            "add_async_task": self._around_add,
            "complete_async_task": self._around_complete,
            "async_task": self._around_async_task,
        }

    # --- requests ---

    def _begin(self, handler: Any, request_context: Any, given: dict[str, Any]) -> Request | None:
        recorder = get_recorder() if self.enabled else None
        if recorder is None:
            return None
        with kept_from_app("a request"):
            request = Request.begin(recorder, handler, request_context, given)
            self.sessions.served(request.step.session_id)
            return request
        return None

    def _around_handler(self, original: Any) -> Any:
        async def invoke(app: Any, *args: Any, **kwargs: Any) -> Any:
            request = self._begin_invocation(args, kwargs)
            if request is None:
                return await original(app, *args, **kwargs)
            try:
                with current(request.step):
                    result = await original(app, *args, **kwargs)
            except BaseException as error:
                request.failed(error)
                await self._flush_after(error)
                raise
            with kept_from_app("a stream"):
                stream = streamed(result, request, self.flusher)
                if stream is not None:
                    self._watch_response(request)
                    return stream
            request.completed(result)
            await self.flusher.in_loop()
            return result

        return invoke

    def _begin_invocation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
        with kept_from_app("a request"):
            given: dict[str, Any] = {**dict(zip(_OF_INVOKE, args, strict=False)), **kwargs}
            return self._begin(given["handler"], given["request_context"], {"input": given["payload"]})
        return None

    def _watch_response(self, request: Request) -> None:
        """Have a stream's request end with its response at the latest.

        The app notices late that a client went away: its generator is closed when the garbage collector finds it.
        """
        task = asyncio.current_task()
        if task is not None:

            def over(_: Any) -> None:
                with kept_from_app("a request's end"):
                    if request.left():
                        self.flusher.ask()

            task.add_done_callback(over)

    def _around_websocket(self, original: Any) -> Any:
        async def handle(app: Any, *args: Any, **kwargs: Any) -> Any:
            with kept_from_app("a websocket"):
                handler = app._websocket_handler  # noqa: SLF001 - where `@app.websocket` keeps it
                if handler is not None and not hasattr(handler, _WRAPPED):
                    app._websocket_handler = self._around_websocket_handler(handler)  # noqa: SLF001
            return await original(app, *args, **kwargs)

        return handle

    def _around_websocket_handler(self, handler: Any) -> Any:
        """Return a handler that journals: the app itself swallows what its handler raises."""

        async def handle(websocket: Any, request_context: Any, *args: Any, **kwargs: Any) -> Any:
            request = self._begin(handler, request_context, {})
            if request is None:
                return await handler(websocket, request_context, *args, **kwargs)
            try:
                with current(request.step):
                    result = await handler(websocket, request_context, *args, **kwargs)
            except BaseException as error:
                hung_up = type(error).__name__ == "WebSocketDisconnect"
                if hung_up and getattr(error, "code", 0) in _NORMAL_CLOSURE:
                    request.completed(None)
                else:
                    request.failed(error, cancelled=hung_up or None)
                await self._flush_after(error)
                raise
            request.completed(result)
            await self.flusher.in_loop()
            return result

        functools.update_wrapper(handle, handler)
        setattr(handle, _WRAPPED, True)
        return handle

    async def _flush_after(self, error: BaseException) -> None:
        """Flush before an error response; what is being cancelled is not held up."""
        if isinstance(error, Exception):
            await self.flusher.in_loop()
        else:
            with kept_from_app("a cancelled request"):
                self.flusher.ask()

    # --- background tasks ---

    def _around_add(self, original: Any) -> Any:
        def add(app: Any, name: Any, metadata: Any = None, *args: Any, **kwargs: Any) -> Any:
            task_id = original(app, name, metadata, *args, **kwargs)
            recorder = get_recorder() if self.enabled else None
            if recorder is not None:
                self.tasks.added(recorder, app, task_id, name, metadata)
            return task_id

        return add

    def _around_complete(self, original: Any) -> Any:
        def complete(app: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
            # Before the app says it is idle: from then on the machine may be stopped.
            task = self.tasks.completing(app, task_id)
            if task is not None:
                error = sys.exc_info()[1] if _is_called_by_sdk() else None
                if error is None:
                    task.completed()
                else:
                    task.failed(error)
                if not self.tasks:
                    self.flusher.beside_loop()
            return original(app, task_id, *args, **kwargs)

        return complete

    def _around_async_task(self, original: Any) -> Any:
        def async_task(app: Any, function: Any) -> Any:
            plain = original(app, function)
            if not hasattr(function, "__name__"):  # the app itself cannot run it
                return plain

            @functools.wraps(function)
            async def seen(*args: Any, **kwargs: Any) -> Any:
                return await self._run(function, args, kwargs)

            inner = original(app, seen)

            @functools.wraps(plain)
            async def called(*args: Any, **kwargs: Any) -> Any:
                token = CALL.set(Call(args, kwargs))
                try:
                    return await inner(*args, **kwargs)
                finally:
                    with kept_from_app("a background task's call"):
                        CALL.reset(token)

            return called

        return async_task

    async def _run(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Run the function of a background task within its step, and note how it ended."""
        call = CALL.get()
        task = call.task if call is not None else None
        if task is None:
            return await function(*args, **kwargs)
        try:
            with current(task.step):
                result = await function(*args, **kwargs)
        except BaseException as error:
            task.failed(error)
            if len(self.tasks) <= 1:
                await self._flush_after(error)
            raise
        task.completed(result)
        if len(self.tasks) <= 1:  # this one: the app has not been told yet
            await self.flusher.in_loop()
        return result


def _is_called_by_sdk() -> bool:
    """Tell whether the SDK's own decorator calls our caller: in its `finally`, where an exception is the task's.

    A function decorated before we came is known by nothing else; user code may well complete a task in an `except`
    that has dealt with what it caught.
    """
    return sys._getframe(2).f_globals.get("__name__") == APP  # noqa: SLF001 - as said
