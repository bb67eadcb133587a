"""A graph called for a client of LangGraph, in the process of its run: what it streams is recorded as it comes.

It is called as LangGraph's own servers do, asynchronously; where its checkpointer is sync alone, in the sync way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, Send

from otel_agent_journal.frameworks.langgraph.told import as_told
from otel_agent_journal.pipeline.checkpointing import checkpointing
from otel_agent_journal.pipeline.graph_calls import END, EVENTS, VALUES, Changes, GraphCall

MESSAGES: Final = "messages"
_TUPLES: Final = "messages-tuple"

Record = Callable[[Mapping[str, Any]], object]


class Parts:
    """Records what a graph streams, each part numbered.

    Args:
        record: journals the details of a part; None where no content is journaled.
        first: the number before that of the first part.
    """

    def __init__(self, record: Record | None, first: int) -> None:
        self._record = record
        self._number = first
        self._states: dict[str, Changes] = {}
        self.last: Any = None  # the state of the graph itself, as it was streamed last

    def add(self, mode: str, ns: tuple[str, ...], data: Any) -> None:
        """Record one part."""
        told = as_told(data)
        if mode != VALUES:
            self._say(mode, ns, told)
            return
        if not ns:
            self.last = told
        for piece in self._states.setdefault("|".join(ns), Changes()).told(told):
            self._say(mode, ns, piece)

    def end(self, waits_for: Iterable[str]) -> None:
        """Record that nothing more comes. `waits_for`: the nodes that would come next."""
        self._say(END, (), {"next": list(waits_for)})

    def _say(self, mode: str, ns: tuple[str, ...], data: Any) -> None:
        self._number += 1
        details: dict[str, Any] = {"n": self._number, "mode": mode, "data": data}
        if self._record is not None:
            self._record({**details, "ns": list(ns)} if ns else details)


def call_graph(graph: Any, given: Any, thread_id: str, call: GraphCall, parts: Parts) -> Any:
    """Call a graph, record what it streams, and return its state at the end, or the checkpoint of an update."""
    config = _config(call, thread_id)
    if call.update is not None:
        ours = checkpointing()
        if getattr(graph, "checkpointer", None) is None and ours is not None:
            graph.checkpointer = ours.saver()
        values, as_node = call.update.get("values"), call.update.get("as_node")
        made: Any = graph.update_state(config, values, as_node=as_node)
        parts.end(graph.get_state({"configurable": {"thread_id": thread_id}}).next)
        return {"checkpoint": made["configurable"]}
    if call.command is not None:
        given = _command(call.command)
    elif call.says and isinstance(given, str):
        given = {"messages": [{"role": "user", "content": given}]}
    options = _options(call)
    if _is_sync(graph):
        for chunk in graph.stream(given, config, **options):
            _take(parts, call, chunk)
    else:
        asyncio.run(_called(graph, given, config, call, options, parts))
    parts.end(_next(graph, config))
    return parts.last


async def _called(
    graph: Any, given: Any, config: Any, call: GraphCall, options: Mapping[str, Any], parts: Parts
) -> None:
    if EVENTS not in call.modes:
        async for chunk in graph.astream(given, config, **options):
            _take(parts, call, chunk)
        return
    async for event in graph.astream_events(given, config, version="v2", **options):
        if event["event"] == "on_chain_stream" and not event.get("parent_ids"):
            _take(parts, call, event["data"]["chunk"])
        else:
            parts.add(EVENTS, (), event)


def _take(parts: Parts, call: GraphCall, chunk: Any) -> None:
    if call.subgraphs:
        ns, mode, data = chunk
        parts.add(mode, tuple(map(str, ns)), data)
    else:
        mode, data = chunk
        parts.add(mode, (), data)


def _options(call: GraphCall) -> dict[str, Any]:
    modes = dict.fromkeys(MESSAGES if mode == _TUPLES else mode for mode in (*call.modes, VALUES) if mode != EVENTS)
    options: dict[str, Any] = {"stream_mode": list(modes), "subgraphs": call.subgraphs}
    for name in ("context", "interrupt_before", "interrupt_after", "durability"):
        if (value := getattr(call, name)) is not None:
            options[name] = value
    return options


def _config(call: GraphCall, thread_id: str) -> dict[str, Any]:
    said: Any = call.config.get("configurable") or {}
    named = {**cast("dict[str, Any]", said), **call.checkpoint, "thread_id": thread_id}
    return {**call.config, "configurable": named}


def _command(said: Mapping[str, Any]) -> Command[Any]:
    goto: Any = said.get("goto") or []
    places = cast("list[Any]", goto) if isinstance(goto, list) else [goto]
    where = [_place(one) for one in places]
    return Command(update=said.get("update"), resume=said.get("resume"), goto=where)


def _place(said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    named = cast("dict[str, Any]", said)
    return Send(named["node"], named.get("input"))


def _is_sync(graph: Any) -> bool:
    """Tell whether a graph can only be called in the sync way, as its checkpointer cannot be awaited."""
    saver: Any = getattr(graph, "checkpointer", None)
    if not isinstance(saver, BaseCheckpointSaver):
        return False
    kind = cast("Any", type(cast("Any", saver)))
    return bool(kind.aget_tuple is BaseCheckpointSaver.aget_tuple)


def _next(graph: Any, config: Any) -> tuple[str, ...]:
    try:
        return tuple(graph.get_state(config).next)
    except ValueError:  # it has no checkpointer
        return ()
