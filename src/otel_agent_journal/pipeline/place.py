"""Where code runs: in which thread and, in asyncio, in which task."""

from __future__ import annotations

import sys
from _thread import get_ident
from typing import Any, NamedTuple, Self
from weakref import ref


class Place(NamedTuple):
    """A thread, and the task that ran in it."""

    thread: int
    task: ref[Any] | None

    @classmethod
    def here(cls) -> Self:
        """Return the place of the code that calls."""
        task = _current_task()
        return cls(get_ident(), None if task is None else ref(task))

    def runs_in(self, task: Any) -> bool:
        """Tell whether it is that of a task."""
        return self.task is not None and self.task() is task

    def is_left(self) -> bool:
        """Tell, from within the code around it, whether a call that began here is over: its code is gone or goes on."""
        if self.task is None:
            return get_ident() == self.thread and _current_task() is None
        task = self.task()
        return task is None or task.done() or task is _current_task()


def _current_task() -> Any:
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:  # noqa: SLF001 - made for it; `current_task` would raise
        return None
    return asyncio.current_task()
