"""`python -m otel_agent_journal.bootstrap.session_call REFERENCE`: calls the function of an agent, in its own process.

The input comes as JSON on stdin, the result goes as JSON to the file that AGENT_JOURNAL_RESULT names. What the function
prints is its own.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.config import RESULT, RUN
from otel_agent_journal.event import ARTEFACT_ADDED, STREAM_PART
from otel_agent_journal.mapping.harmless import by_hand
from otel_agent_journal.pipeline.content import fitted
from otel_agent_journal.pipeline.failure import error_info
from otel_agent_journal.pipeline.graph_calls import ATTEMPT, GraphCall
from otel_agent_journal.pipeline.lifecycle import CONFIGURATION_ERROR
from otel_agent_journal.pipeline.session import checked_type, process_recorder
from otel_agent_journal.pipeline.step import current_step
from otel_agent_journal.plain import plain

_MAX_STACK: Final = 16_384  # characters
_OF_FILES: Final = "agent_journal_agent"  # what a file is imported as


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """The run that a function is called for: its second argument, where it takes one.

    `answers`: the input answers what the session waits for. `graph`: how a graph is called, where a client of LangGraph
    says so; `attempt`: how often this run was tried before.
    """

    session_id: str
    run: str
    agent: str
    metadata: dict[str, Any] = {}
    answers: bool = False
    graph: GraphCall | None = None
    attempt: int = 0

    def stage(self, stage: str, *, progress: float | None = None) -> None:
        """Journal which stage the work has reached. `progress`: percent, 0 to 100; by default the stage's own."""
        process_recorder().stage(self.session_id, stage, progress=progress, step=current_step())

    def record(self, event_type: str, details: Mapping[str, Any] | None = None, *, level: str = "INFO") -> None:
        """Journal an event of your own; its type in upper snake case."""
        said = by_hand(dict(details or {}))
        process_recorder().record(self.session_id, checked_type(event_type), said, level=level, step=current_step())

    def artefact(self, name: str, url: str, *, media_type: str | None = None) -> None:
        """Journal a document that was made, by its URL: callers find it with the session's result."""
        details = {"name": name, "url": url} | ({} if media_type is None else {"media_type": media_type})
        process_recorder().record(self.session_id, ARTEFACT_ADDED, by_hand(details), name=name, step=current_step())


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What AGENT_JOURNAL_RESULT's file says: the `output`, or the error that came instead."""

    output: Any = None
    error: dict[str, Any] | None = None


def main() -> int:
    """Call the function; return 0, or 1 where it raised."""
    reference, run = sys.argv[1], msgspec.json.decode(os.environ[RUN], type=Called)
    given = msgspec.json.decode(sys.stdin.buffer.read())
    try:
        agent = load(reference)
    except BaseException as error:  # noqa: BLE001 - a module of the user's may raise anything
        return _failed(error, code=CONFIGURATION_ERROR)
    try:
        output = call(agent, given, run)
    except BaseException as error:  # noqa: BLE001 - as above
        return _failed(error)
    _write(Result(output=plain(output)))
    return 0


def load(reference: str) -> Any:
    """Return what `module:name` or `file.py:name` names."""
    where, _, name = reference.rpartition(":")
    if where.endswith(".py"):
        spec = importlib.util.spec_from_file_location(_OF_FILES, where)
        if spec is None or spec.loader is None:
            raise ImportError(f"{where} is no module")
        found: Any = importlib.util.module_from_spec(spec)
        sys.modules[_OF_FILES] = found
        sys.path.insert(0, str(Path(where).absolute().parent))
        spec.loader.exec_module(found)
    else:
        found = importlib.import_module(where)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def call(agent: Any, given: Any, run: Called) -> Any:
    """Return what an agent answers: a function, sync or async, or an object with `invoke`, as a graph."""
    invoke = getattr(agent, "invoke", None)
    if run.graph is not None and hasattr(agent, "astream") and hasattr(agent, "get_state"):
        return _streamed(agent, given, run, run.graph)
    if run.graph is not None and run.graph.update is not None:
        raise ValueError(f"agent {run.agent} is no graph: it has no state that could be updated")
    if invoke is not None and not inspect.isroutine(agent):
        config = {"configurable": {"thread_id": run.session_id}}
        return invoke(_resumed(given) if run.answers or _asks(agent, config) else given, config)
    answer = agent(given, run) if _takes_two(agent) else agent(given)
    return asyncio.run(_awaited(answer)) if inspect.isawaitable(answer) else answer


def _streamed(graph: Any, given: Any, run: Called, how: GraphCall) -> Any:
    """Return what a graph answers a client of LangGraph, and journal what it streams meanwhile."""
    called: Any = importlib.import_module("otel_agent_journal.frameworks.langgraph.called")
    recorder = process_recorder()

    def record(details: Mapping[str, Any]) -> None:
        recorder.record(run.session_id, STREAM_PART, fitted({**details, "run": run.run}, exact=True), level="DEBUG")

    parts = called.Parts(record if recorder.content else None, run.attempt * ATTEMPT)
    return called.call_graph(graph, given, run.session_id, how, parts)


def _asks(graph: Any, config: Any) -> bool:
    """Tell whether a graph waits for an answer by its own word, as in a fork: no run there has asked."""
    try:
        return bool(graph.get_state(config).interrupts)
    except Exception:  # noqa: BLE001 - it has no checkpointer, or is no graph
        return False


def _resumed(given: Any) -> Any:
    """Return an answer to its interrupt as a graph takes it."""
    command: Any = importlib.import_module("langgraph.types").Command
    return command(resume=given)


async def _awaited(answer: Any) -> Any:
    return await answer


def _takes_two(agent: Any) -> bool:
    try:
        parameters = inspect.signature(agent).parameters.values()
    except (TypeError, ValueError):
        return False
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in places if one.default is one.empty]
    return len(required) == 2 or (len(places) >= 2 and places[1].name == "run")


def _failed(error: BaseException, code: str | None = None) -> int:
    traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        return 130
    info = error_info(error)
    stack = "".join(traceback.format_exception(error))[-_MAX_STACK:]
    said = {"type": info.type, "message": info.message, "code": info.code or code, "stack": stack}
    _write(Result(error=said))
    return 1


def _write(result: Result) -> None:
    """Write the result in one go: whoever reads it has all of it, or nothing."""
    file = Path(os.environ[RESULT])
    beside = file.with_suffix(".part")
    beside.write_bytes(msgspec.json.encode(cast("Any", result)))
    beside.replace(file)


if __name__ == "__main__":
    sys.exit(main())
