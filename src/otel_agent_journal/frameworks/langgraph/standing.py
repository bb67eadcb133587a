"""Where a thread stands, and stood, by its checkpoints alone: for readers that do not have its graph.

Of each checkpoint its values, what came or comes next, and what its tasks said. LangGraph makes the same of a graph and
its checkpointer; tests hold this equal to it. What only the graph knows is not made up: a task that has written nothing
yet has an id of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import derived_id
from otel_agent_journal.frameworks.langgraph.checkpoints.threads import Threads, instance_id_of
from otel_agent_journal.frameworks.langgraph.checkpoints.values import Serde
from otel_agent_journal.frameworks.langgraph.going_back import is_state, rebuilt
from otel_agent_journal.frameworks.langgraph.told import as_told
from otel_agent_journal.plain import plain
from otel_agent_journal.reading.agents import agents_of
from otel_agent_journal.store.protocol import JournalStore

_FRAMEWORK: Final = "langgraph"
_PULL: Final = "__pregel_pull"
_PUSH: Final = "__pregel_push"
_SENDS: Final = "__pregel_tasks"
_ERROR: Final = "__error__"
_INTERRUPT: Final = "__interrupt__"
_INPUT: Final = "__start__"
_RETURNED: Final = "__return__"
_FUNCTION: Final = "__end__"  # what a graph that is a function answers
_CONTROL: Final = frozenset(
    (_ERROR, _INTERRUPT, "__resume__", "__no_writes__", "__scheduled__", "__error_source_node__", _SENDS)
)
_BRANCH: Final = "branch:to:"
_JOIN: Final = "join:"
_PATH: Final = ", "


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A thread at one of its checkpoints. All of it is plain; `tasks` as LangGraph's clients have them."""

    values: Any
    next: tuple[str, ...]
    checkpoint_id: str
    parent_id: str | None
    ns: str
    created_at: str | None
    metadata: dict[str, Any]
    tasks: tuple[dict[str, Any], ...]

    @property
    def interrupts(self) -> list[Any]:
        """What its tasks ask."""
        return [one for task in self.tasks for one in task["interrupts"]]


class Standings:
    """The threads of a store, by the session that each is in. Thread-safe; the latest are kept open.

    Args:
        store: where they are.
    """

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._instances: dict[str, str] = {}
        self._threads = Threads(store, instance_for=self._instances.get)
        self._serde = Serde(JsonPlusSerializer(allowed_msgpack_modules=None))  # nothing of a program's is imported here

    def listed(
        self,
        session_ids: Sequence[str],
        *,
        checkpoint_id: str | None = None,
        ns: str = "",
        before: str | None = None,
        history: bool = False,
        nested: bool = False,
    ) -> Iterator[Standing]:
        """Yield where the thread of a session stands, and with `history` where it stood, the last first.

        Args:
            session_ids: the session, and those that it was forked from, in turn.
            checkpoint_id: this one alone; with `history` from it on.
            ns: of which graph: the thread's own, or one within it.
            before: the checkpoint behind which they are wanted.
            history: all of them, as each was when the graph went on from it.
            nested: with the states of graphs within.

        Raises:
            StoreError: its values are encrypted, or written by a serialiser of its own.
        """
        instance = self._instance(session_ids)
        if instance is None:
            return
        thread_id = session_ids[0]
        self._instances[thread_id] = instance
        with self._threads.use(thread_id) as thread:
            found = thread.listed(ns, None if before is None else (ns, before))
        begun = checkpoint_id is None
        for saved in found:
            begun = begun or saved.id == checkpoint_id
            if begun:
                yield self._standing(thread_id, saved, past=history, nested=nested)
                if not history:
                    return

    def _instance(self, session_ids: Sequence[str]) -> str | None:
        threads = [one for one in agents_of(self._store, session_ids[0]) if one.framework == _FRAMEWORK]
        for name in session_ids:
            for one in threads:
                if one.known_as == name or one.instance_id == instance_id_of(name):
                    return one.instance_id
        return threads[0].instance_id if len(threads) == 1 else None

    def _standing(self, thread_id: str, saved: Any, *, past: bool, nested: bool) -> Standing:
        with self._threads.use(thread_id) as thread:
            try:
                found = thread.tuple_of(self._serde, saved)
                channels = found.checkpoint["channel_values"]
                versions = found.checkpoint["channel_versions"]
                left = [name for name in versions if name not in channels and is_state(name)]
                deltas = thread.delta_history(self._serde, saved, left)
            except NotImplementedError as error:
                raise StoreError(
                    f"thread {thread_id} is written by a serialiser of its own or encrypted ({error}); the program"
                    " that wrote it can read it"
                ) from error
            paths = thread.tasks(saved)
            within = {name for name in thread.log.checkpoints.namespaces() if name}
        grown = {name: rebuilt(told) for name, told in deltas.items() if told["writes"] or "seed" in told}
        tasks = self._tasks(thread_id, found, paths, past=past)
        for task in tasks:
            place = "|".join(filter(None, (saved.ns, f"{task['name']}:{task['id']}")))
            if place in within:
                task["checkpoint"] = {"thread_id": thread_id, "checkpoint_ns": place}
                if nested:
                    task["state"] = self._nested(thread_id, place)
        return Standing(
            values=_values({**channels, **grown}, versions),
            next=tuple(task["name"] for task in tasks if past or not task.pop("done")),
            checkpoint_id=saved.id,
            parent_id=saved.parent,
            ns=saved.ns,
            created_at=found.checkpoint.get("ts"),
            metadata=plain(dict(found.metadata)),
            tasks=tuple({key: value for key, value in task.items() if key != "done"} for task in tasks),
        )

    def _nested(self, thread_id: str, ns: str) -> Standing | None:
        with self._threads.use(thread_id) as thread:
            saved = thread.newest(ns)
        return None if saved is None else self._standing(thread_id, saved, past=False, nested=True)

    def _tasks(
        self, thread_id: str, found: CheckpointTuple, paths: Mapping[str, str], *, past: bool
    ) -> list[dict[str, Any]]:
        """Return the tasks on a checkpoint: those that wrote something, and those that are still to run."""
        planned = _planned(found.checkpoint["channel_values"])
        sends = _sends(found.checkpoint["channel_values"])
        said: dict[str, list[tuple[str, Any]]] = {}
        for task, channel, value in found.pending_writes or ():
            said.setdefault(task, []).append((channel, value))
        tasks: list[dict[str, Any]] = []
        for task, path in paths.items():
            name = _name_of(path, sends)
            if name is None:
                continue
            if name in planned:
                planned.remove(name)
            tasks.append(_task(task, name, said.get(task, [])))
        checkpoint_id = found.checkpoint["id"]
        for number, name in enumerate(planned):
            tasks.append(_task(derived_id(f"{thread_id}:{checkpoint_id}:{name}:{number}"), name, []))
        return sorted(tasks, key=lambda task: task["name"])


def _values(channels: Mapping[str, Any], versions: Mapping[str, Any]) -> Any:
    if _FUNCTION in versions or _FUNCTION in channels:
        return as_told(channels.get(_FUNCTION))
    return {name: as_told(value) for name, value in channels.items() if is_state(name)}


def _planned(channels: Mapping[str, Any]) -> list[str]:
    """Return the nodes that run on a checkpoint, by the channels that wake them."""
    found = [one.node for one in _sends(channels)]
    for name, value in channels.items():
        if name == _INPUT:
            found.append(_INPUT)
        elif name.startswith(_BRANCH):
            found.append(name.removeprefix(_BRANCH))
        elif name.startswith(_JOIN):
            awaited, _, node = name.removeprefix(_JOIN).partition(":")
            held = (
                _items(value) if isinstance(value, tuple) else [value, True]
            )  # who was there, and whether that is all
            if set(awaited.split("+")) == set(cast("Any", held[0])) and held[1]:
                found.append(node)
    return list(dict.fromkeys(found)) if not _sends(channels) else found


def _sends(channels: Mapping[str, Any]) -> list[Any]:
    waiting: Any = channels.get(_SENDS)
    return [] if waiting is None else _items(waiting)


def _name_of(path: str, sends: Sequence[Any]) -> str | None:
    """Return the node of a task by its path; None for what is no node's, as a call within a function."""
    kind, _, rest = path.removeprefix("~").partition(_PATH)
    if kind == _PULL:
        return rest
    place = rest.partition(_PATH)[0]
    if kind == _PUSH and place.isdigit() and int(place) < len(sends):
        return str(sends[int(place)].node)
    return None


def _task(task: str, name: str, writes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    interrupts: list[Any] = []
    error: str | None = None
    results: list[tuple[str, Any]] = []
    returned: list[Any] = []
    done = False
    for channel, value in writes:
        if channel == _INTERRUPT:
            interrupts += [as_told(one) for one in _items(value)]
        elif channel == _ERROR:
            error = error or (value if isinstance(value, str) else repr(value))
        elif channel == _RETURNED:
            returned.append(value)
        done = done or channel not in (_INTERRUPT, _ERROR, "__resume__")
        if channel not in _CONTROL and (is_state(channel) or channel == _FUNCTION):
            results.append((channel, value))
    answered = as_told(returned[0]) if returned else _result(results)
    return {
        "id": task,
        "name": name,
        "path": [],
        "error": error,
        "interrupts": interrupts,
        "checkpoint": None,
        "state": None,
        "result": answered if done else None,
        "done": done or error is not None,
    }


def _result(writes: Sequence[tuple[str, Any]]) -> Any:
    """Return what a task wrote, as LangGraph tells it: several writes of one channel as `$writes`."""
    by_name: dict[str, list[Any]] = {}
    for name, value in writes:
        by_name.setdefault(name, []).append(as_told(value))
    if set(by_name) == {_FUNCTION}:
        return by_name[_FUNCTION][-1]
    return {name: values[0] if len(values) == 1 else {"$writes": values} for name, values in by_name.items()}


def _items(value: Any) -> list[Any]:
    """Return a list, or what stands alone as one."""
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple) else [value]
