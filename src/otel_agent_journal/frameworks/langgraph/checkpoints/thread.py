"""One LangGraph thread: its checkpoints and the writes on them, put and taken as LangGraph's checkpointers do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    writes_sort_key,
)

from otel_agent_journal.context.checkpoints import Saved
from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import CHECKPOINT_SAVED, CHECKPOINT_WRITES, CHECKPOINTS_DELETED
from otel_agent_journal.frameworks.langgraph.checkpoints.channels import Channel, Channels, Spec, numbers_in
from otel_agent_journal.frameworks.langgraph.checkpoints.log import ThreadLog, collections_wait
from otel_agent_journal.frameworks.langgraph.checkpoints.values import Ref, Serde
from otel_agent_journal.threads import RLock

MAX_TRIES: Final = 100  # against other writers


class CheckpointChanged(StoreError):
    """A checkpoint is there already, with other content: checkpoints never change."""

    def __init__(self, thread_id: str, saved: Saved, what: str) -> None:
        super().__init__(
            f"thread {thread_id}: checkpoint {saved.id} is in the journal with another {what}, and a checkpoint never"
            " changes; nothing was written. Put what is different under a new id, as update_state() does"
        )
        self.checkpoint_id = saved.id


class _Write(NamedTuple):
    """A task's write: in which event, and how."""

    path: str
    task: str
    idx: int
    channel: str
    number: int
    spec: Spec


class Thread:
    """A thread. Whoever uses it holds `lock`."""

    def __init__(self, thread_id: str, log: ThreadLog, lock: Any = None) -> None:
        self.thread_id = thread_id
        self.lock: Any = lock or RLock()
        self.log = log
        self._channels = Channels(log)

    # --- reading ---

    def newest(self, ns: str) -> Saved | None:
        """Return the checkpoint that a namespace stands at, whoever wrote it."""
        self.log.refresh()
        return self.log.checkpoints.newest(ns)

    def saved(self, ns: str, checkpoint_id: str) -> Saved | None:
        """Return a checkpoint by its id."""
        self.log.load()
        found = self.log.checkpoints.get(ns, checkpoint_id)
        if found is None:
            self.log.refresh()
            found = self.log.checkpoints.get(ns, checkpoint_id)
        return found

    def listed(self, ns: str | None, before: tuple[str, str] | None) -> list[Saved]:
        """Return the checkpoints in view, the last one first; `before` is a namespace and an id."""
        self.log.refresh()
        checkpoints = self.log.checkpoints
        return [saved for saved in checkpoints.listed(ns) if before is None or checkpoints.is_before(saved, *before)]

    def metadata(self, serde: Serde, saved: Saved) -> CheckpointMetadata:
        """Return a checkpoint's metadata."""
        return self._of(serde, saved, "metadata")

    def tuple_of(self, serde: Serde, saved: Saved, *, remember: bool = False) -> CheckpointTuple:
        """Return a checkpoint as LangGraph takes it.

        Args:
            serde: the serialiser.
            saved: the checkpoint.
            remember: its lists, since a graph may go on with them.
        """
        rest: dict[str, Any] = self._of(serde, saved, "rest")
        with collections_wait():
            values = self._channels.values_of(serde, saved, rest["channel_versions"], remember=remember)
        writes = self._writes(saved.ns, saved.id)
        return CheckpointTuple(
            config=self.config(saved.ns, saved.id),
            checkpoint=cast("Checkpoint", {**rest, "channel_values": values}),
            metadata=self.metadata(serde, saved),
            parent_config=None if saved.parent is None else self.config(saved.ns, saved.parent),
            pending_writes=self._pending(serde, writes),
        )

    def config(self, ns: str, checkpoint_id: str) -> RunnableConfig:
        """Return the config that names a checkpoint."""
        return {
            "configurable": {"thread_id": self.thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id},
        }

    def delta_history(self, serde: Serde, saved: Saved, channels: Sequence[str]) -> Mapping[str, DeltaChannelHistory]:
        """Return what channels got on the way to a checkpoint, since each was last there as a whole."""
        path: dict[str, list[_Write]] = {channel: [] for channel in channels}
        seeds: dict[str, tuple[int, Spec]] = {}
        child, left = saved, set(channels)
        while left and (at := self.log.checkpoints.parent_of(child)) is not None:
            for write in reversed(self._writes(at.ns, at.id, child)):
                if write.channel in left:
                    path[write.channel].append(write)
            put: Mapping[str, list[Any]] = self.log.said[at.number].body["channels"]
            for channel in [channel for channel in left if channel in put and put[channel][1] is not None]:
                seeds[channel] = (at.number, put[channel][1])
                left.discard(channel)
            child = at
        found: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            found[channel] = {"writes": self._pending(serde, path[channel][::-1])}
            if channel in seeds:
                found[channel]["seed"] = self._channels.of_channel(serde, saved.ns, channel, seeds[channel][0])
        return found

    def tasks(self, saved: Saved) -> dict[str, str]:
        """Return the tasks that wrote anything on a checkpoint: by their ids their paths, in LangGraph's words."""
        numbers = self.log.checkpoints.writes(saved.ns, saved.id)
        told = [self.log.said[number].plain for number in numbers]
        return {str(one["task"]): str(one.get("path", "")) for one in told}

    def _of(self, serde: Serde, saved: Saved, what: str) -> Any:
        return self._channels.value(serde, saved.number, self.log.said[saved.number].body[what])

    def _writes(self, ns: str, checkpoint_id: str, child: Saved | None = None) -> list[_Write]:
        """Return the writes on a checkpoint, in the order in which a graph applies them."""
        found: dict[tuple[str, int], _Write] = {}
        for number in self.log.checkpoints.writes(ns, checkpoint_id, child):
            said = self.log.said[number]
            path, task = str(said.plain.get("path", "")), str(said.plain["task"])
            for idx, channel, spec in cast("list[tuple[int, str, Spec]]", said.body["writes"]):
                if idx < 0 or (task, idx) not in found:
                    found[task, idx] = _Write(path, task, idx, channel, number, spec)
        return sorted(found.values(), key=lambda write: writes_sort_key(write.path, write.task, write.idx))

    def _pending(self, serde: Serde, writes: Sequence[_Write]) -> list[PendingWrite]:
        self.log.fetch(number for write in writes for number in numbers_in((write.spec,), write.number))
        return [(one.task, one.channel, self._channels.value(serde, one.number, one.spec)) for one in writes]

    # --- writing ---

    def put(
        self,
        serde: Serde,
        ns: str,
        parent: str | None,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        versions: Mapping[str, Any],
    ) -> None:
        """Save a checkpoint, with the values of the channels that `versions` names.

        Raises:
            CheckpointChanged: it is there with other content.
            StoreError: other writers were first too often.
        """
        rest: dict[str, Any] = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        values = checkpoint["channel_values"]
        for _ in range(MAX_TRIES):
            self.log.load()
            there = self.log.checkpoints.get(ns, checkpoint["id"])
            if there is not None:
                self._require_same(serde, there, rest, metadata, {name: values.get(name) for name in versions})
                return
            draft = self._channels.draft(serde)
            changed: dict[str, list[Any]] = {}
            lists: dict[Channel, tuple[list[Any], list[Ref]]] = {}
            for name in (*versions, *self._not_put(ns, checkpoint, versions)):
                spec, refs = None, None
                if name in values:
                    spec, refs = self._channels.spec_of(draft, values[name], (ns, name))
                changed[name] = [versions.get(name, checkpoint["channel_versions"].get(name)), spec]
                if refs is not None:
                    lists[ns, name] = (values[name], refs)
            body = {"rest": [*draft.put(rest)], "metadata": [*draft.put(metadata)], "channels": changed}
            said = {
                "ns": ns,
                "checkpoint": checkpoint["id"],
                "parent": parent,
                "parents": {name: one for name, one in (metadata.get("parents") or {}).items() if name != ns},
                **{key: metadata.get(key) for key in ("step", "source", "run_id")},
            }
            plain = {key: value for key, value in said.items() if value is not None and value != {}}
            if self.log.append(CHECKPOINT_SAVED, plain, {**body, "values": draft.values}):
                self._channels.written(draft, self.log.count - 1, lists)
                return
        raise self._too_many()

    def put_writes(
        self, serde: Serde, ns: str, checkpoint_id: str, writes: Sequence[tuple[str, Any]], task_id: str, path: str
    ) -> None:
        """Keep what a task has written, for the checkpoint that it ran on.

        Of a task's ordinary writes the first one of a place stays; those of special channels are replaced.
        """
        for _ in range(MAX_TRIES):
            self.log.load()
            there = {(one.task, one.idx): one for one in self._writes(ns, checkpoint_id)}
            draft = self._channels.draft(serde)
            new: list[list[Any]] = []
            for place, (channel, value) in enumerate(writes):
                idx = WRITES_IDX_MAP.get(channel, place)
                known = there.get((task_id, idx))
                if known is None or (idx < 0 and not self._channels.is_stored(serde, known.number, known.spec, value)):
                    new.append([idx, channel, self._channels.spec_of(draft, value)[0]])
            if not new:
                return
            said = {"ns": ns, "checkpoint": checkpoint_id, "task": task_id, **({"path": path} if path else {})}
            if self.log.append(CHECKPOINT_WRITES, said, {"writes": new, "values": draft.values}):
                self._channels.written(draft, self.log.count - 1, {})
                return
        raise self._too_many()

    def delete(self, details: dict[str, Any]) -> None:
        """Delete checkpoints, as the details of CHECKPOINTS_DELETED say."""
        for _ in range(MAX_TRIES):
            self.log.refresh()
            if not self.log.count or self.log.append(CHECKPOINTS_DELETED, details):
                return
        raise self._too_many()

    def prune(self) -> None:
        """Delete all checkpoints but the newest of each namespace."""
        self.log.refresh()
        checkpoints = self.log.checkpoints
        newest = [checkpoints.newest(ns) for ns in checkpoints.namespaces()]
        keep = {saved.ns: saved.id for saved in newest if saved is not None}
        if any(saved.id != keep.get(saved.ns) for saved in checkpoints.all()):
            self.delete({"keep": keep})

    def runs(self, run_ids: Collection[str]) -> Iterator[Saved]:
        """Yield the checkpoints of these runs."""
        self.log.refresh()
        return (one for one in self.log.checkpoints.listed() if one.run_id in run_ids)

    def _not_put(self, ns: str, checkpoint: Checkpoint, versions: Mapping[str, Any]) -> list[str]:
        """Return the channels whose value was put with no checkpoint before, though it should have been."""
        known = checkpoint["channel_versions"]
        return [
            name
            for name in checkpoint["channel_values"]
            if name not in versions and not self._channels.knows(ns, name, known.get(name))
        ]

    def _require_same(
        self, serde: Serde, there: Saved, rest: Any, metadata: CheckpointMetadata, values: Mapping[str, Any]
    ) -> None:
        stored = self.log.said[there.number].body
        for what, value in (("state", rest), ("metadata", metadata)):
            ref = stored["rest" if what == "state" else what]
            if not self._channels.is_stored(serde, there.number, ref, value):
                raise CheckpointChanged(self.thread_id, there, what)
        for name, value in values.items():
            if not self._channels.is_in(serde, there, name, rest["channel_versions"].get(name), value):
                raise CheckpointChanged(self.thread_id, there, f"value of {name}")

    def _too_many(self) -> StoreError:
        return StoreError(
            f"thread {self.thread_id}: others were first {MAX_TRIES} times; nothing was written: call again"
        )
