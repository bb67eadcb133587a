"""Checkpoints put by hand, as a graph would put them."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from otel_agent_journal import JournalSaver


class Hand:
    """Puts the checkpoints of a thread by a saver, each the child of the one before."""

    def __init__(self, saver: JournalSaver, thread: str = "t", ns: str = "") -> None:
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
        self.versions: dict[str, str] = {}

    def put(self, metadata: dict[str, Any] | None = None, **values: Any) -> Any:
        """Put a checkpoint in which these channels, all that there are, have changed."""
        checkpoint = empty_checkpoint() | {"id": str(uuid6()), "channel_values": values}
        new = {name: self.saver.get_next_version(self.versions.get(name), None) for name in values}
        self.versions |= new
        checkpoint["channel_versions"] = dict(self.versions)  # type: ignore[typeddict-item]
        said: Any = {"source": "loop", "step": len(self.versions), **(metadata or {})}
        self.given = (self.config, checkpoint, said, new)
        self.config = self.saver.put(*self.given)
        return self.config

    def write(self, *writes: tuple[str, Any], task: str = "task", path: str = "") -> None:
        """Put what a task has written on the last checkpoint."""
        self.saver.put_writes(self.config, writes, task, path)


def values_of(saver: JournalSaver, config: Any) -> dict[str, Any]:
    """Return what a checkpoint's channels have."""
    found = saver.get_tuple(config)
    assert found is not None
    return found.checkpoint["channel_values"]


def writes_of(saver: JournalSaver, config: Any) -> list[tuple[str, Any]]:
    """Return the channels and values of what waits on a checkpoint."""
    found = saver.get_tuple(config)
    assert found is not None
    return [(channel, value) for _, channel, value in found.pending_writes or ()]
