"""Background tasks: what goes on after the response. Each is a root step of its own in the session that began it.

The app knows a task from `add_async_task` to `complete_async_task`, and says nothing of how it ended; for functions
under `@app.async_task` we see for ourselves. The session is that of the code that adds a task, since a thread that
completes one has lost its context.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from otel_agent_journal.event import (
    AGENT_BACKGROUND_TASK_COMPLETED,
    AGENT_BACKGROUND_TASK_FAILED,
    AGENT_BACKGROUND_TASK_STARTED,
)
from otel_agent_journal.frameworks.agentcore.boundary import kept_from_app
from otel_agent_journal.frameworks.agentcore.requests import Sessions, session_here
from otel_agent_journal.pipeline.failure import is_cancel
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step import Step

MAX_OPEN: Final = 10_000  # tasks that are never completed are forgotten, the oldest first


class Call:
    """A call of a function under `@app.async_task`, and the task that the app makes of it."""

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.input = {"args": list(args), **kwargs} if args else dict(kwargs)
        self.task: Task | None = None


# The call that the code runs in, for the `add_async_task` that the app makes for it.
CALL: Final[ContextVar[Call | None]] = ContextVar("agent_journal_async_task", default=None)


class Task:
    """A task from its START to its ending, of which only the first counts. Safe from any thread; never raises."""

    def __init__(self, recorder: Recorder, step: Step, task_id: Any, app: Any) -> None:
        self.step = step
        self.app = weakref.ref(app)
        self._recorder = recorder
        self._ids = {"task_id": str(task_id)}
        self._over = False

    def completed(self, output: Any = None) -> None:
        """End it as done."""
        if self._ends():
            with kept_from_app("a task's end"):
                content = {} if output is None or not self._recorder.content else {"output": output}
                self.step.end("ok", details=dict(content))
                self.say(AGENT_BACKGROUND_TASK_COMPLETED, content)

    def failed(self, error: BaseException) -> None:
        """End it as failed or, by what the error is, as cancelled."""
        if self._ends():
            with kept_from_app("a task's failure"):
                cancelled = is_cancel(error)
                self.step.end("cancelled" if cancelled else "error", error=error)
                reason = {"reason": "cancelled"} if cancelled else {}
                self.say(AGENT_BACKGROUND_TASK_FAILED, reason, "WARNING" if cancelled else "ERROR", error)

    def forgotten(self) -> None:
        """End it because too many others were begun since, and never completed."""
        if self._ends():
            with kept_from_app("a task that is forgotten"):
                self.step.end("cancelled")
                self.say(AGENT_BACKGROUND_TASK_FAILED, {"reason": "never completed"}, "WARNING")

    def say(
        self, event_type: str, details: dict[str, Any], level: str = "INFO", error: BaseException | None = None
    ) -> None:
        """Journal an event of the task beside its step."""
        step = self.step
        self._recorder.record(
            step.session_id, event_type, self._ids | details, level=level, name=step.name, step=step, error=error
        )

    def _ends(self) -> bool:
        over, self._over = self._over, True  # no call between the two: one alone is the first
        return not over


class Tasks:
    """The tasks that are open, by the app's id."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._open: OrderedDict[Any, Task] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def added(self, recorder: Recorder, app: Any, task_id: Any, name: Any, metadata: Any) -> None:
        """Open the step of a task that the app has just registered. Never raises."""
        with kept_from_app("a background task"):
            call = CALL.get()
            content: dict[str, Any] = {}
            if call is not None and call.task is None:
                content = {"input": call.input} if call.input else {}
            elif metadata:
                call, content = None, {"input": metadata}
            else:
                call = None
            if not recorder.content:
                content = {}
            step = recorder.start_step(
                "STEP",
                str(name),
                session_id=session_here(recorder, self._sessions),
                detached=True,
                details=dict(content),
            )
            task = Task(recorder, step, task_id, app)
            if call is not None:
                call.task = task
            self._keep(task_id, task)
            task.say(AGENT_BACKGROUND_TASK_STARTED, content)

    def completing(self, app: Any, task_id: Any) -> Task | None:
        """Return the open task of that id, which is forgotten; None where the app has none of it, or had."""
        with kept_from_app("a task's completion"):
            task = self._open.get(task_id)
            if task is not None and task.app() is app:
                return self._open.pop(task_id, None)
        return None

    def _keep(self, task_id: Any, task: Task) -> None:
        self._open[task_id] = task
        if len(self._open) > MAX_OPEN:
            _, oldest = self._open.popitem(last=False)
            oldest.forgotten()
