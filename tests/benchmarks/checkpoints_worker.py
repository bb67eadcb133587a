"""Puts and restores a chat by one checkpointer, and prints what that took as JSON. Run by `bench_checkpoints.py`.

    checkpoints_worker.py SAVER PLACE MESSAGES...

A state of so many messages of a kilobyte is put as a whole, then grows by one in each of some puts, which are timed;
then another saver restores it. `whole` as a size: a thread of 5,000 messages, each written by a task and then put,
that is 10,000 events.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

PUTS: Final = 15
WHOLE: Final = 5_000
SMALL: Final = 2_000


@contextlib.contextmanager
def opened(kind: str, place: str) -> Generator[Any]:
    """Open a checkpointer."""
    if kind == "SqliteSaver":
        from langgraph.checkpoint.sqlite import SqliteSaver

        with SqliteSaver.from_conn_string(place) as saver:
            yield saver
    elif kind == "PostgresSaver":
        from langgraph.checkpoint.postgres import PostgresSaver

        with PostgresSaver.from_conn_string(place) as saver:
            saver.setup()
            yield saver
    elif kind == "DynamoDBSaver":
        from langgraph_checkpoint_aws import DynamoDBSaver

        yield DynamoDBSaver(place, endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
    else:
        from otel_agent_journal import JournalSaver

        saver = JournalSaver(place)
        yield saver
        saver.close()


class Chat:
    """A thread that grows."""

    def __init__(self, saver: Any) -> None:
        self.saver = saver
        self.thread = uuid.uuid4().hex
        self.config: Any = {"configurable": {"thread_id": self.thread, "checkpoint_ns": ""}}
        self.messages: list[AIMessage] = []
        self.version: Any = None

    def goes_on_by(self, saver: Any) -> None:
        """Go on with what another saver knows of the thread."""
        self.saver = saver
        found = saver.get_tuple(self.config)
        if found is not None:
            self.messages = found.checkpoint["channel_values"]["messages"]

    def grow(self, count: int = 1) -> None:
        new = [AIMessage(os.urandom(500).hex(), id=str(uuid6())) for _ in range(count)]
        self.messages = [*self.messages, *new]

    def put(self) -> float:
        """Put the thread as it is, and return how long that took."""
        self.version = self.saver.get_next_version(self.version, None)
        checkpoint: Any = empty_checkpoint()
        checkpoint |= {"id": str(uuid6()), "channel_values": {"messages": self.messages}}
        checkpoint["channel_versions"] = {"messages": self.version}
        new = {"messages": self.version}
        at = time.perf_counter()
        self.config = self.saver.put(self.config, checkpoint, {"source": "loop", "step": 1, "parents": {}}, new)
        return time.perf_counter() - at

    def write(self) -> None:
        self.saver.put_writes(self.config, [("messages", [self.messages[-1]])], str(uuid6()), "~agent")


def restored(kind: str, place: str, thread: str, count: int) -> tuple[float, float]:
    """Return milliseconds, and those of the processor, that the quickest of some fresh savers takes for a thread."""
    walls, cpus = list[float](), list[float]()
    for _ in range(7):
        with opened(kind, place) as saver:
            wall, cpu = time.perf_counter(), time.process_time()
            found = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
            cpus.append(time.process_time() - cpu)
            walls.append(time.perf_counter() - wall)
            assert len(found.checkpoint["channel_values"]["messages"]) == count
    return min(walls) * 1e3, min(cpus) * 1e3


def size_of(place: str) -> int | None:
    """Return the bytes of a file and what is beside it."""
    file = Path(place.removeprefix("sqlite:///"))
    return sum(one.stat().st_size for one in file.parent.glob(f"{file.name}*")) if file.is_absolute() else None


def measured(kind: str, place: str, size: int) -> dict[str, Any]:
    """Measure puts of one size."""
    with opened(kind, place) as saver:
        chat = Chat(saver)
        chat.grow(size)
        chat.put()
    before, times = size_of(place), list[float]()
    with opened(kind, place) as saver:
        chat.goes_on_by(saver)
        for _ in range(PUTS):
            chat.grow()
            times.append(chat.put())
        found: dict[str, Any] = {"put_ms": min(times) * 1e3}
        if kind == "JournalSaver":
            at = time.perf_counter()
            saver.copy_thread(chat.thread, f"{chat.thread}-fork")
            found["fork_ms"] = (time.perf_counter() - at) * 1e3
    after = size_of(place)
    if before is not None and after is not None:
        found["bytes"] = (after - before) / PUTS
    found["restore_ms"], found["restore_cpu_ms"] = restored(kind, place, chat.thread, size + PUTS)
    return found


def whole(kind: str, place: str) -> dict[str, Any]:
    """Measure a thread that was written message by message."""
    found: dict[str, Any] = {}
    chat = Chat(None)
    for count in (SMALL, WHOLE - SMALL):
        with opened(kind, place) as saver:
            chat.goes_on_by(saver)
            for _ in range(count):
                chat.grow()
                if len(chat.messages) > 1:
                    chat.write()
                chat.put()
        found.setdefault("bytes_of_2000", size_of(place))
    found["restore_ms"], found["restore_cpu_ms"] = restored(kind, place, chat.thread, WHOLE)
    return found


def main() -> None:
    """Measure what is asked for, each size by itself: one that fails says why."""
    kind, place, *sizes = sys.argv[1:]
    found: dict[str, Any] = {}
    for size in sizes:
        try:
            found[size] = whole(kind, place) if size == "whole" else measured(kind, place, int(size))
        except Exception as error:
            found[size] = {"failed": f"{type(error).__name__}: {error}"[:160]}
    print(json.dumps(found))


main()
