"""Tool calls: a step for each attempt, from a middleware around Strands' own run of the tool."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from opentelemetry import context as context_api

from otel_agent_journal.event import EMPTY, PROGRESS, derived_id
from otel_agent_journal.foreign import is_a, own
from otel_agent_journal.frameworks.strands import outcomes
from otel_agent_journal.frameworks.strands.contexts import context_of
from otel_agent_journal.frameworks.strands.invocations import Invocation, Invocations
from otel_agent_journal.frameworks.strands.messages import printed_in, said_in
from otel_agent_journal.frameworks.strands.points import point_details
from otel_agent_journal.frameworks.strands.replaying import tool_result
from otel_agent_journal.frameworks.strands.said import session_id_of
from otel_agent_journal.frameworks.strands.serving import raw_of_result, receipt_for, served
from otel_agent_journal.mapping.converse import plain_result
from otel_agent_journal.mapping.genai import TOOL_CALL_ID, TOOL_DESCRIPTION
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.effects import effects_hinted
from otel_agent_journal.pipeline.marked import runs_code, take_entries
from otel_agent_journal.pipeline.recorder import recorder_of
from otel_agent_journal.pipeline.step import Step, current_step
from otel_agent_journal.pipeline.step_span import SERVED
from otel_agent_journal.plain import text_of

UNKNOWN_TOOL: Final = "unknown tool"  # the name of one that the model has made up is what a model said


class ToolCall:
    """One tool call while it runs."""

    __slots__ = ("interrupts", "result", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.result: Any = None
        self.interrupts: list[Any] | None = None

    def take(self, event: Any) -> None:
        """Keep the tool's result or its questions, and journal what it streams."""
        try:
            if hasattr(event, "tool_result"):
                self.result = event
            elif "tool_interrupt_event" in event:
                self.interrupts = list(event.interrupts)
            elif type(event).__name__ == "ToolStreamEvent" and recorder_of(self.step).content:
                data: Any = event["tool_stream_event"].get("data")
                if is_a(data, str):
                    self.step.chunk(text_of(data))
                elif is_a(data, dict, list):
                    self.step.note(PROGRESS, {"output": data})
        except Exception:  # noqa: BLE001 - an event of another shape
            return


class ToolSteps(Invocations):
    """The middleware of tool calls."""

    async def around_tool(self, context: Any, call: Any) -> AsyncGenerator[Any, None]:
        """Run a tool as a step."""
        receipt = receipt_for(context)
        tool = self._start_tool(context)
        if receipt is not None:
            result = served(receipt, context.tool_use.get("toolUseId"))
            if tool is not None:
                tool.take(result)
                self._tool_ended(tool, {SERVED: receipt.step_id})
            yield result
            return
        if tool is None:
            async for event in call(context):
                yield event
            return
        step = tool.step
        try:
            recorded = tool_result(step, context)
        except BaseException as error:
            self._tool_left(tool, error)
            raise
        if recorded is not None:
            tool.take(recorded)
            self._tool_ended(tool)
            yield recorded
            return
        around, events = context_api.get_current(), call(context)
        context_api.attach(
            context_of(step, around, "execute_tool")
        )  # for the whole run, as Strands does: its stream as a whole is isolated
        try:
            try:
                async for event in events:
                    tool.take(event)
                    yield event
            finally:
                await events.aclose()
                context_api.attach(around)
        except BaseException as error:
            self._tool_left(tool, error)
            raise
        self._tool_ended(tool)

    def _start_tool(self, context: Any) -> ToolCall | None:
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return None
        try:
            agent, use, state = context.agent, context.tool_use, context.invocation_state
            invocation = self.of(agent, state)
            around = current_step()  # a tool that the program calls within a tool is below that one
            call_id: Any = use.get("toolUseId")
            session_id = session_id_of(agent)
            attributes: dict[str, Any] = {TOOL_CALL_ID: str(call_id)} if call_id else {}
            if context.tool is not None:
                description: Any = context.tool.tool_spec.get("description")
                if description:
                    attributes[TOOL_DESCRIPTION] = str(description)
            in_loop = "event_loop_cycle_id" in state  # else the program calls the tool itself: Strands opens no span
            step = recorder.start_step(
                "TOOL",
                UNKNOWN_TOOL if context.tool is None else str(use.get("name")),
                session_id=session_id,
                parent=around if invocation is None or (not in_loop and around is not None) else invocation.step,
                step_id=_step_id(invocation, agent, use) if in_loop and call_id else None,
                attributes=attributes,
                details={
                    **point_details(agent),
                    **_effects(context.tool),
                    **(_asked(context) if recorder.content else {}),
                },
                waits=in_loop and self.native_span() is not None,
            )
            return ToolCall(step)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed("a step could not be journaled")
            return None

    def _tool_ended(self, tool: ToolCall, more: Mapping[str, Any] = EMPTY) -> None:
        step, event = tool.step, tool.result
        try:
            content = recorder_of(step).content
            if event is None:
                asked = outcomes.asked(tool.interrupts or (), content=content)
                if tool.interrupts is None:
                    step.end("ok")
                else:
                    self.left_below(step, "interrupted", None)
                    step.end("interrupted", details={"interrupts": asked})
                return
            result = event.tool_result
            if runs_code(step.name):
                take_entries(step, printed_in(result))
            history = recorder_of(step).histories.of(step.session_id)
            details: dict[str, Any] = {"output": history.origin(plain_result(result))} if content else {}
            raw = raw_of_result(result) if content else {}
            details |= {**more, **({"raw": raw} if raw else {})}
            said = said_in(result) if content else "the tool answered with an error"
            error = outcomes.tool_error(result, getattr(event, "exception", None), said)
            outcome = "ok" if error is None else "error"
            self.left_below(step, outcome, error)
            step.end(outcome, error=error, details=details)
        except Exception:  # noqa: BLE001 - the one boundary
            self.lost(step, "ok")

    def _tool_left(self, tool: ToolCall, error: BaseException) -> None:
        step = tool.step
        if (tool.result is not None or tool.interrupts is not None) and isinstance(error, GeneratorExit):
            self._tool_ended(tool)  # Strands closes the stream of a tool that asks, and a consumer may once it has all
            return
        try:
            outcome = outcomes.outcome_of_exception(error)
            self.left_below(step, outcome, error)
            if outcome == "interrupted":
                asked = outcomes.asked([getattr(error, "interrupt", None)], content=recorder_of(step).content)
                step.end(outcome, details={"interrupts": asked})
            else:
                step.end(outcome, error=error)
        except Exception:  # noqa: BLE001 - the one boundary
            self.lost(step, "error", error)


def _effects(tool: Any) -> dict[str, Any]:
    """Return what an MCP tool's annotations say of its effects."""
    if type(tool).__name__ != "MCPAgentTool":
        return {}
    annotations: Any = own(own(tool, "mcp_tool"), "annotations")
    effects = effects_hinted({name: own(annotations, name) for name in ("readOnlyHint", "destructiveHint")})
    return {} if effects is None else {"effects": effects}


def _asked(context: Any) -> dict[str, Any]:
    """Return what a tool is called with, and by which name, where there is no such tool."""
    use = context.tool_use
    return {"input": use.get("input"), **({"tool": use.get("name")} if context.tool is None else {})}


def _step_id(invocation: Invocation | None, agent: Any, use: Mapping[str, Any]) -> str | None:
    """Return the call's step id: by the message that asked for it, which an agent that is resumed still has."""
    if invocation is None:
        return None
    asking: Any = agent.messages[-1] if agent.messages else {}
    message_id, call_id = asking.get("tracking_id"), use.get("toolUseId")
    asked_by = f"{invocation.step.session_id}:{message_id}" if message_id else invocation.step.step_id
    before = _before(asking, use)
    return derived_id(f"{asked_by}:tool:{call_id}" + (f":{before}" if before else ""))


def _before(asking: Mapping[str, Any], use: Mapping[str, Any]) -> int:
    """Return how many calls of the same id stand before this one, of which a hook gets a copy with its own input."""
    blocks = [block["toolUse"] for block in asking.get("content") or () if "toolUse" in block]
    same = [one.get("input") for one in blocks if one.get("toolUseId") == use.get("toolUseId")]
    return next((number for number, given in enumerate(same) if given is use.get("input")), 0)
