"""A graph that goes on: from where its thread stands, where a session is resumed; and one that can, by a checkpointer.

Under a resumption the first run of a thread that had not finished takes no input: what the program gives it was taken
already. Nor does one that had, and whose process was killed before it said so: it gives its result once more. Under
`agent-journal run --checkpoint` a graph that was compiled without a checkpointer is given ours.
"""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Callable
from itertools import count
from typing import Any, Final
from uuid import uuid4
from weakref import WeakKeyDictionary

from otel_agent_journal import terminal
from otel_agent_journal.pipeline.checkpointing import Checkpointing, checkpointing
from otel_agent_journal.pipeline.resuming import Resumption, resumption
from otel_agent_journal.pipeline.session import current_session
from otel_agent_journal.replays.current import replaying

_NESTED: Final = ("__pregel_task_id", "__pregel_read")  # of a graph that runs within another's task
_CHECKPOINTER: Final = "__pregel_checkpointer"
_log = logging.getLogger(__name__)
_gone_on: WeakKeyDictionary[Resumption, set[str]] = WeakKeyDictionary()
_unnamed = count(1)  # runs of graphs that no thread was named for


def goes_on(original: Any, enabled: Callable[[], bool]) -> Any:
    """Return the `PregelLoop._first` of a graph that takes no input where it goes on with what was left."""

    @functools.wraps(original)
    def first(loop: Any, *args: Any, **kwargs: Any) -> Any:
        one = resumption() if enabled() else None
        if one is not None:
            try:
                if _takes_no_input(loop, one):
                    loop.input = None
            except Exception:  # noqa: BLE001 - the one boundary
                _log.debug("it is not known whether a graph goes on", exc_info=True)
        return original(loop, *args, **kwargs)

    return first


def _takes_no_input(loop: Any, one: Resumption) -> bool:
    """Tell whether a loop is the first of a thread of ours that was left unfinished."""
    ours = sys.modules.get("otel_agent_journal.frameworks.langgraph.checkpoints.saver")
    if loop.is_nested or ours is None or not isinstance(loop.checkpointer, ours.Saver):
        return False
    said = loop.checkpoint_config["configurable"]
    known = _gone_on.setdefault(one, set())
    if said["thread_id"] in known:
        return False
    known.add(said["thread_id"])
    if loop.input is None or type(loop.input).__name__ == "Command" or loop.config["configurable"].get("checkpoint_id"):
        return False
    prepare: Any = vars(importlib.import_module("langgraph.pregel._algo"))["prepare_next_tasks"]
    left = prepare(
        loop.checkpoint,
        loop.checkpoint_pending_writes,
        loop.nodes,
        loop.channels,
        loop.managed,
        loop.config,
        loop.step,
        loop.stop,
        for_execution=False,
    )
    return bool(loop.checkpoint["channel_versions"]) and (bool(left) or one.cut_off)


def with_checkpoints(original: Any, enabled: Callable[[], bool]) -> Any:
    """Return the `Pregel.stream` or `astream` of a graph that is given a checkpointer where it was compiled without."""

    @functools.wraps(original)
    def stream(graph: Any, *args: Any, **kwargs: Any) -> Any:
        if enabled() and replaying() is not None:
            forget_checkpoints(graph)
        given_to_all = checkpointing() if enabled() else None
        if given_to_all is not None:
            try:
                config = _with_thread(graph, args[1] if len(args) > 1 else kwargs.get("config"), given_to_all)
                if len(args) > 1:
                    args = (args[0], config, *args[2:])
                else:
                    kwargs["config"] = config
            except Exception:  # noqa: BLE001 - the one boundary
                _log.debug("a graph could not be given a checkpointer", exc_info=True)
        return original(graph, *args, **kwargs)

    return stream


def forget_checkpoints(graph: Any) -> None:
    """Give a graph that is replayed a checkpointer in memory in the place of its own, which knows how it ended."""
    own: Any = graph.checkpointer
    saver_class: Any = vars(importlib.import_module("langgraph.checkpoint.base"))["BaseCheckpointSaver"]
    memory_class: Any = vars(importlib.import_module("langgraph.checkpoint.memory"))["InMemorySaver"]
    replay = replaying()
    if replay is None or not isinstance(own, saver_class) or id(own) in {id(one) for one in replay.in_memory.values()}:
        return
    graph.checkpointer = replay.in_memory.setdefault(id(own), memory_class(serde=own.serde))
    replay.kept.append(own)  # so that its id is not another's


def begins_anew(original: Any, enabled: Callable[[], bool]) -> Any:
    """Return the `Pregel.__init__` of a graph that knows nothing of the run that is replayed."""

    @functools.wraps(original)
    def made(graph: Any, *args: Any, **kwargs: Any) -> None:
        original(graph, *args, **kwargs)
        if enabled() and replaying() is not None:
            forget_checkpoints(graph)

    return made


def _with_thread(graph: Any, config: Any, given: Checkpointing) -> Any:
    from langchain_core.runnables.config import ensure_config

    said = ensure_config(config).get("configurable", {})
    if any(key in said for key in _NESTED) or said.get(_CHECKPOINTER):
        return config
    saver = given.saver()
    if graph.checkpointer is None:
        graph.checkpointer = saver
        terminal.say(f"agent-journal: graph {graph.name} keeps its checkpoints in the journal")
    if graph.checkpointer is not saver or said.get("thread_id") is not None:
        return config
    number = next(_unnamed)
    session_id = current_session() or given.session_id
    thread_id = uuid4().hex if session_id is None else session_id if number == 1 else f"{session_id}:{number}"
    config = dict(config or {})
    config["configurable"] = {**config.get("configurable", {}), "thread_id": thread_id}
    return config
