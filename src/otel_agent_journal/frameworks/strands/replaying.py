"""Models, tools and session managers of Strands in a process that is replayed: served from the recording.

Middleware gives Strands the events that a call would: what was streamed, and how it ended. A session manager would
bring back how the recorded session ended, and write to it: agents are given one of a folder that goes with the process.
"""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, cast

from otel_agent_journal.event import REASONING
from otel_agent_journal.frameworks.strands.rebuilding import answered
from otel_agent_journal.frameworks.strands.serving import result_of
from otel_agent_journal.pipeline.resuming import Receipt
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.projections.steps import Attempt
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.replays.errors import Answered

_WAYS: Final = ("strands.agent.", "strands.multiagent.", "strands.tools.structured_output.")
_FOLDER: Final = "strands"
_NAMES: Final = {"model": "model_id"}


def model_events(step: Step, context: Any, call: Any) -> AsyncGenerator[Any, None]:
    """Return the events of a model call: the recorded ones where the process is replayed, else those of the call.

    Raises:
        Diverged: the recording does not have the call.
    """
    replay = replaying()
    if replay is None:
        return call(context)
    attempt = replay.serve(step)
    if attempt is not None:
        return _streamed(attempt)
    change = {_NAMES.get(name, name): value for name, value in replay.rules.change.items()}
    if change:
        context.model.update_config(**change)
    return call(context)


async def _streamed(attempt: Attempt) -> AsyncGenerator[Any, None]:
    from strands.types._events import (
        ModelStopReason,
        ModelStreamChunkEvent,
        ReasoningTextStreamEvent,
        TextStreamEvent,
    )

    replay = replaying()
    assert replay is not None
    for kind, text in replay.recording.chunks(attempt):
        delta: Any = {"reasoningContent": {"text": text}} if kind == REASONING else {"text": text}
        yield ModelStreamChunkEvent(chunk={"contentBlockDelta": {"delta": delta, "contentBlockIndex": 0}})
        yield ReasoningTextStreamEvent(delta, text) if kind == REASONING else TextStreamEvent(delta, text)
    if attempt.outcome != "ok":
        raise replay.error(attempt)
    told: Any = copy.deepcopy(answered(replay.recording.answer(attempt)))
    yield ModelStopReason(stop_reason=told.stop_reason, message=told.message, usage=told.usage, metrics=told.metrics)


def tool_result(step: Step, context: Any) -> Any:
    """Return the event of a tool's recorded result; None where the tool is called.

    Raises:
        Diverged: the recording does not have the call; the agent stops before its model is asked again.
        InterruptException: the tool asked a human.
    """
    replay = replaying()
    if replay is None or _is_of_strands(context.tool) or replay.runs(step):
        return None
    call_id = context.tool_use.get("toolUseId")
    try:
        attempt = replay.serve(step)
    except Answered as error:
        return _event({"toolUseId": call_id, "status": "error", "content": [{"text": str(error)}]}, None)
    except Exception as error:
        context.agent.cancel(message=str(error))
        raise
    if attempt is None:
        return None
    if attempt.outcome == "interrupted":
        _ask(context, attempt.details_end.get("interrupts") or ())
    output, raw = replay.recording.output(attempt)
    error = None if attempt.error is None or attempt.error.type == "ToolError" else replay.error(attempt)
    if output is None and error is not None:
        raise error
    return _event(result_of(Receipt(step_id=attempt.step_id, output=output, raw=raw), call_id), error)


def _is_of_strands(tool: Any) -> bool:
    """Tell whether a tool is a way of Strands itself to go on: to another agent, or to an answer that is structured."""
    function: Any = getattr(tool, "_tool_func", None)
    kind: Any = cast("type[Any]", type(tool))
    home: Any = getattr(kind if function is None else function, "__module__", "")
    return isinstance(home, str) and home.startswith(_WAYS)


def _event(result: Mapping[str, Any], error: Exception | None) -> Any:
    from strands.types._events import ToolResultEvent

    event: Any = ToolResultEvent(copy.deepcopy(dict(result)))  # type: ignore[arg-type]
    if error is not None and hasattr(event, "_exception"):
        event._exception = error  # noqa: SLF001 - what its own constructor keeps, in versions that have it
    return event


def _ask(context: Any, questions: Any) -> None:
    """Ask what a tool asked, as `ToolContext.interrupt` does; one that was answered is not asked again."""
    from strands.interrupt import Interrupt, InterruptException

    known: dict[str, Any] = context.agent._interrupt_state.interrupts  # noqa: SLF001 - nothing public asks for a tool
    for one in questions:
        asked = known.setdefault(one["id"], Interrupt(one["id"], one.get("name"), one.get("value")))
        if asked.response is None:
            raise InterruptException(asked)


def with_other_session(options: dict[str, Any]) -> dict[str, Any]:
    """Return what an agent or graph is made with, without the session manager that it would be given."""
    replay, manager = replaying(), options.get("session_manager")
    if replay is None or manager is None:
        return options
    from strands.session.file_session_manager import FileSessionManager

    folder = replay.in_memory.get(_FOLDER)
    if folder is None:
        folder = replay.in_memory[_FOLDER] = tempfile.mkdtemp(prefix="agent-journal-replay-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    session_id = str(getattr(manager, "session_id", "") or "session").replace("/", "_")
    return {**options, "session_manager": FileSessionManager(session_id, storage_dir=folder)}
