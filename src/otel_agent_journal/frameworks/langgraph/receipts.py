"""Tool calls whose results the journal has already are served, and not made again, where a session is gone on with.

The tool is run as ever, by LangChain's own code, but for what it calls: arguments are checked, callbacks are told, and
the step is journaled, with `served`. A result that cannot be made again of its record is not served.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from opentelemetry import context as context_api

from otel_agent_journal.errors import JournalError
from otel_agent_journal.foreign import own
from otel_agent_journal.frameworks.langgraph.commands import command_of, is_told
from otel_agent_journal.frameworks.langgraph.rebuilding import message_of
from otel_agent_journal.pipeline.resuming import Receipt, Resumption, resumption
from otel_agent_journal.pipeline.step import STEP_KEY, Step
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.replays.errors import Answered

_log = logging.getLogger(__name__)
_NOTHING: Final = object()


def serve_receipts(module: Any, replace: Callable[[Any, str, Any, Any], None], enabled: Callable[[], bool]) -> None:
    """Patch `BaseTool`'s two ways to run.

    Args:
        module: where it is.
        replace: puts a function in the place of another.
        enabled: tells whether the instrumentation is on.
    """
    for name in ("run", "arun"):
        original = module.BaseTool.__dict__[name]
        replace(module.BaseTool, name, original, _served(original, enabled))


def _served(original: Any, enabled: Callable[[], bool]) -> Any:
    @functools.wraps(original)
    def run(tool: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        one = resumption() if enabled() else None
        if enabled() and replaying() is not None:
            tool = _replayed(tool, kwargs.get("tool_call_id"))
        elif one is not None:
            tool = _stand_in(one, tool, tool_input, kwargs.get("tool_call_id")) or tool
        return original(tool, tool_input, *args, **kwargs)

    return run


def _replayed(tool: Any, call_id: str | None) -> Any:
    """Return a copy of a tool that gives what was recorded, once its step has begun and is known."""
    stand_in = copy.copy(tool)
    call, acall = tool._run, tool._arun  # noqa: SLF001 - what a tool defines itself by

    def served() -> Any:
        """Return what was recorded; `_NOTHING` where the tool is called."""
        replay, step = replaying(), context_api.get_current().get(STEP_KEY)
        if replay is None:
            return _NOTHING
        if not isinstance(step, Step) or step.kind != "TOOL" or step.recorded is None:
            raise replay.lost(f"tool {tool.name}")
        if replay.runs(step):
            return _NOTHING
        try:
            attempt = replay.serve(step)
        except Answered as error:
            if call_id is None:
                raise
            stand_in.__dict__["response_format"] = "content"
            return _failed(str(error), call_id)
        if attempt is None:
            return _NOTHING
        stand_in.__dict__["response_format"] = "content"
        output, raw = replay.recording.output(attempt)
        if attempt.outcome == "interrupted":
            return _asked_again(attempt.details_end.get("interrupts") or ())
        if attempt.outcome != "ok" and output is None:
            raise replay.error(attempt)
        found = _result_of(Receipt(step_id=attempt.step_id, output=output, raw=raw), call_id)
        return output if found is _NOTHING else found

    @functools.wraps(call)
    def run(*args: Any, **kwargs: Any) -> Any:
        found = served()
        return call(*args, **kwargs) if found is _NOTHING else found

    @functools.wraps(acall)
    async def arun(*args: Any, **kwargs: Any) -> Any:
        found = served()
        return await acall(*args, **kwargs) if found is _NOTHING else found

    stand_in.__dict__.update(_run=run, _arun=arun)
    return stand_in


def _failed(why: str, call_id: str) -> Any:
    from langchain_core.messages import ToolMessage

    return ToolMessage(content=why, tool_call_id=call_id, status="error")


def _asked_again(questions: Any) -> Any:
    """Ask what a tool asked; the graph pauses, as it did. One that goes on has the answer of the last."""
    from langgraph.types import interrupt

    answer: Any = None
    for one in questions:
        answer = interrupt(one.get("value"))
    return answer


def _stand_in(one: Resumption, tool: Any, tool_input: Any, call_id: str | None) -> Any:
    """Return a tool that gives what was recorded, or raises where calling again is refused; None where it is called."""
    try:
        arguments = tool._filter_injected_args(tool_input) if isinstance(tool_input, dict) else tool_input  # noqa: SLF001
    except Exception:  # noqa: BLE001 - the tool itself will say what is wrong with it
        return None
    try:
        receipt = one.receipt(tool=tool.name, call_id=call_id, arguments=arguments)
    except JournalError as error:
        return _instead(tool, None, error)
    result = _NOTHING if receipt is None else _result_of(receipt, call_id)
    return None if result is _NOTHING else _instead(tool, receipt, result)


def _result_of(receipt: Receipt, call_id: str | None) -> Any:
    """Return what a tool returned; `_NOTHING` where the record is not enough to make it of."""
    output = receipt.output
    if is_told(receipt.raw):
        try:
            return command_of(output, receipt.raw, call_id)
        except Exception:  # noqa: BLE001 - as below
            _log.debug("a recorded command could not be made again", exc_info=True)
            return _NOTHING
    if isinstance(output, Mapping) and cast("Mapping[str, Any]", output).get("role") == "tool":
        try:
            message = message_of({"output": output, "raw": receipt.raw})
        except Exception:  # noqa: BLE001 - it is called, as it would be without a receipt
            _log.debug("a recorded result could not be made again", exc_info=True)
            return _NOTHING
        if call_id is not None and own(message, "tool_call_id") != call_id:
            message = message.model_copy(update={"tool_call_id": call_id})
        return message
    return output if call_id is None and not isinstance(output, Mapping) else _NOTHING


def _instead(tool: Any, receipt: Receipt | None, result: Any) -> Any:
    """Return a copy of a tool that calls nothing."""

    def give() -> Any:
        if isinstance(result, JournalError):
            raise result
        step: Any = context_api.get_current().get(STEP_KEY)
        if receipt is not None and step is not None and step.kind == "TOOL" and step.memory is not None:
            step.memory.served = receipt.step_id
        return result

    def run(*_: Any, **__: Any) -> Any:
        return give()

    async def arun(*_: Any, **__: Any) -> Any:
        return give()

    stand_in = copy.copy(tool)
    # What an instance has outweighs what its class defines.
    stand_in.__dict__.update(_run=run, _arun=arun, response_format="content")
    return stand_in
