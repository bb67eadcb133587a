"""`Saver`: LangGraph's checkpointer over any store of the journal. Sync, and async by threads.

A thread is an agent instance, and a checkpoint an event of it: written once, never changed and never overwritten.
Deleting hides what is deleted from then on; what was written stays in the journal until its session is pruned.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from otel_agent_journal.errors import StoreError
from otel_agent_journal.frameworks.langgraph.checkpoints.copying import copy_thread
from otel_agent_journal.frameworks.langgraph.checkpoints.log import collections_wait
from otel_agent_journal.frameworks.langgraph.checkpoints.threads import Threads
from otel_agent_journal.frameworks.langgraph.checkpoints.values import Serde

_DIGITS: Final = 10  # of a version; they sort as text
_STRATEGIES: Final = ("keep_latest", "delete")


class Saver(BaseCheckpointSaver[str]):
    """A checkpointer whose checkpoints are events of the journal. Thread-safe; copies share what they have read.

    Args:
        threads: the threads of a store.
        serde: how values are written; LangGraph's own by default.
    """

    def __init__(self, threads: Threads, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self._threads = threads

    # --- reading ---

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that a config names, or the one that its thread stands at."""
        thread_id, ns, checkpoint_id = _named(config)
        with self._threads.use(thread_id) as thread, collections_wait():
            saved = thread.saved(ns, checkpoint_id) if checkpoint_id else thread.newest(ns)
            return None if saved is None else thread.tuple_of(self._serde(), saved, remember=True)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's own name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, the last one of a thread first; without a config those of all threads."""
        left = limit
        for thread_id in self._threads.all() if config is None else [_named(config)[0]]:
            for found in self._list_one(thread_id, config, filter or {}, before):
                if left is not None and left <= 0:
                    return
                left = None if left is None else left - 1
                yield found

    def _list_one(
        self, thread_id: str, config: RunnableConfig | None, wanted: Mapping[str, Any], before: RunnableConfig | None
    ) -> Iterator[CheckpointTuple]:
        said: Mapping[str, Any] = {} if config is None else config.get("configurable", {})
        behind: Mapping[str, Any] = {} if before is None else before.get("configurable", {})
        until = None
        if behind.get("checkpoint_id"):
            until = (behind.get("checkpoint_ns", said.get("checkpoint_ns", "")), str(behind["checkpoint_id"]))
        serde, checkpoint_id = self._serde(), said.get("checkpoint_id")
        with self._threads.use(thread_id) as thread:
            found = thread.listed(said.get("checkpoint_ns"), until)
        for saved in found:
            if checkpoint_id and saved.id != checkpoint_id:
                continue
            with self._threads.use(thread_id) as thread:
                metadata = thread.metadata(serde, saved)
                if any(metadata.get(key) != value for key, value in wanted.items()):
                    continue
                one = thread.tuple_of(serde, saved)
            yield one

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what channels got on the way to a checkpoint, the oldest first, since each was there as a whole."""
        if not channels:
            return {}
        thread_id, ns, checkpoint_id = _named(config)
        with self._threads.use(thread_id) as thread, collections_wait():
            saved = thread.saved(ns, checkpoint_id) if checkpoint_id else thread.newest(ns)
            if saved is None:
                return {channel: {"writes": []} for channel in channels}
            return thread.delta_history(self._serde(), saved, channels)

    # --- writing ---

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint; durable when it returns.

        Raises:
            CheckpointChanged: a checkpoint of this id is there with other content.
            StoreUnreachable: call again.
        """
        thread_id, ns, parent = _named(config)
        said = get_checkpoint_metadata(config, metadata)
        if run_id := said.get("run_id"):
            self._threads.begins_run(thread_id, str(run_id))
        with self._threads.use(thread_id) as thread:
            thread.put(self._serde(), ns, parent, checkpoint, said, new_versions)
            return thread.config(ns, checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task has written on a checkpoint; durable when it returns."""
        thread_id, ns, checkpoint_id = _named(config)
        if checkpoint_id is None:
            raise StoreError(f"thread {thread_id}: writes of task {task_id} name no checkpoint_id in their config")
        with self._threads.use(thread_id) as thread:
            thread.put_writes(self._serde(), ns, checkpoint_id, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints of a thread."""
        with self._threads.use(str(thread_id)) as thread:
            thread.delete({"all": True})

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs have saved, in whichever threads."""
        wanted = [*map(str, run_ids)]
        for thread_id in self._threads.of_runs(wanted):
            with self._threads.use(thread_id) as thread:
                if any(thread.runs(wanted)):
                    thread.delete({"run_ids": wanted})

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Fork a thread: the new one begins with all checkpoints and writes of the first; nothing is copied.

        Raises:
            StoreError: there is a thread of the new id already.
        """
        copy_thread(self._threads, str(source_thread_id), str(target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete the checkpoints of threads, or all of them but the newest of each namespace."""
        if strategy not in _STRATEGIES:
            raise ValueError(f"strategy '{strategy}' is none of {', '.join(_STRATEGIES)}")
        for thread_id in map(str, thread_ids):
            if strategy == "delete":
                self.delete_thread(thread_id)
                continue
            with self._threads.use(thread_id) as thread:
                thread.prune()

    def get_next_version(self, current: Any, channel: None) -> str:
        """Return the version after one, of any kind: digits that sort as text, and a part that no other branch has."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        digits = max(_DIGITS, len(current.partition(".")[0]) if isinstance(current, str) else 0)
        return f"{number + 1:0{digits}}.{random.getrandbits(24):06x}"

    def _serde(self) -> Serde:
        return Serde(self.serde)

    # --- async, each call in a thread ---

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that a config names; see `get_tuple`."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as above
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints; see `list`."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (one := await asyncio.to_thread(next, found, None)) is not None:
            yield one

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what channels got on the way to a checkpoint; see `get_delta_channel_history`."""
        return await asyncio.to_thread(self.get_delta_channel_history, config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint; see `put`."""
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task has written; see `put_writes`."""
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints of a thread."""
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs have saved."""
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Fork a thread; see `copy_thread`."""
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete checkpoints of threads; see `prune`."""
        await asyncio.to_thread(self.prune, thread_ids, strategy=strategy)


def _named(config: RunnableConfig) -> tuple[str, str, str | None]:
    """Return the thread, the namespace and the checkpoint that a config names."""
    said = cast("Mapping[str, Any]", config.get("configurable", {}))
    if said.get("thread_id") is None:
        raise ValueError("a checkpointer needs a thread: config={'configurable': {'thread_id': …}}")
    checkpoint_id = said.get("checkpoint_id")
    return str(said["thread_id"]), said.get("checkpoint_ns") or "", str(checkpoint_id) if checkpoint_id else None
