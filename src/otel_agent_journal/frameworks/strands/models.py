"""Model calls: a step for each attempt, from a middleware around Strands' own call.

A middleware sees every way out: the answer, an exception, a cancelled task, a stream that is broken off.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry import context as context_api

from otel_agent_journal.event import REASONING, REQUEST, WARNING, derived_id
from otel_agent_journal.frameworks.strands import outcomes
from otel_agent_journal.frameworks.strands.contexts import context_of
from otel_agent_journal.frameworks.strands.invocations import Invocation, Invocations
from otel_agent_journal.frameworks.strands.messages import answer, raw_of, usage_of
from otel_agent_journal.frameworks.strands.points import point_details
from otel_agent_journal.frameworks.strands.replaying import model_events
from otel_agent_journal.frameworks.strands.requests import Asked, asked_of, offered
from otel_agent_journal.mapping.converse import reasoning_of, system_message
from otel_agent_journal.mapping.genai import (
    RESPONSE_FINISH_REASONS,
    RESPONSE_TIME_TO_FIRST_CHUNK,
)
from otel_agent_journal.pipeline.answers import say_if_stopped
from otel_agent_journal.pipeline.conversation import request_details
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step, current_step


class ModelCall:
    """One model call while it runs."""

    __slots__ = ("first_s", "step", "stop", "thought")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.first_s: float | None = None
        self.stop: Any = None
        self.thought = False  # it has streamed what it thinks

    def take(self, event: Any) -> None:
        """Journal what the model streams, and keep its answer."""
        text, thought = event.get("data"), event.get("reasoningText")
        if isinstance(text, str) or isinstance(thought, str):
            if self.first_s is None:
                self.first_s = (recorder_of(self.step).clock.now_ns() - self.step.start_ns) / 1e9
            if isinstance(thought, str):
                self.thought = True
                self.step.chunk(thought, REASONING)
            else:
                self.step.chunk(text)
        elif "stop" in event:
            self.stop = event["stop"]


class ModelSteps(Invocations):
    """The middleware of model calls."""

    def __init__(self) -> None:
        super().__init__()
        self._requests: WeakKeyDictionary[Any, tuple[Any, Asked]] = WeakKeyDictionary()
        self._told_within: WeakSet[Any] = WeakSet()  # agents whose requests are told behind all middleware

    def before_invocation(self, event: Any) -> None:
        """Open an agent's step, as `Invocations` does; see to it that we see what the model will see."""
        if self.enabled:
            with contextlib.suppress(Exception):  # a registry of another shape: the request is told as it comes to us
                if _look_behind(event.agent._middleware_registry._handlers, self):  # noqa: SLF001
                    self._told_within.add(event.agent)
        super().before_invocation(event)

    async def within_model(self, context: Any, call: Any) -> AsyncGenerator[Any, None]:
        """Tell the request as middleware of the program's has left it."""
        recorder, step = get_recorder(), current_step()
        try:
            if recorder is not None and self.enabled and step is not None and step.kind == "MODEL":
                details = self._request(recorder, context, step.session_id, self._asked(context.model))
                if step.pending is not None:
                    step.pending.details.update(details)
                else:
                    step.note(REQUEST, details)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            if recorder is not None:
                recorder.failed("a request could not be journaled")
        is_ours = step is not None and step.kind == "MODEL" and self.enabled
        events = model_events(step, context, call) if is_ours and step is not None else call(context)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def around_model(self, context: Any, call: Any) -> AsyncGenerator[Any, None]:
        """Run a model call as a step."""
        model = self._start_model(context)
        if model is None:
            async for event in call(context):
                yield event
            return
        step = model.step
        around = context_api.get_current()
        context_api.attach(
            context_of(step, around, "chat")
        )  # for the whole call, as Strands does: its stream as a whole is isolated
        try:
            within = context.agent in self._told_within  # then what is innermost serves, behind all middleware
            try:
                events = call(context) if within else model_events(step, context, call)
            except BaseException:
                context_api.attach(around)
                raise
            try:
                async for event in events:
                    try:
                        if "data" in event or "stop" in event or "reasoningText" in event:
                            model.take(event)
                    except Exception:  # noqa: BLE001 - an event of another shape
                        pass
                    yield event
            finally:
                await events.aclose()
                context_api.attach(around)
        except BaseException as error:
            self._model_failed(model, error, context.agent)
            raise
        self._model_ended(model, context.agent)

    def _asked(self, model: Any) -> Asked:
        """Return what a model is asked for beside messages, looked at anew where its configuration is."""
        configured: Any = getattr(model, "config", None)
        if type(configured) is not dict:
            return asked_of(model)
        known = self._requests.get(model)
        if known is None or known[0] != configured:
            self._requests[model] = known = (dict(cast("dict[str, Any]", configured)), asked_of(model))
        return known[1]

    def _start_model(self, context: Any) -> ModelCall | None:
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return None
        try:
            invocation = self.of(context.agent, context.invocation_state)
            if invocation is None:
                return None
            invocation.step.begin()
            asked = self._asked(context.model)
            step = recorder.start_step(
                "MODEL",
                asked.name,
                parent=invocation.step,
                step_id=_step_id(invocation, context.invocation_state),
                attributes=asked.attributes,
                details=point_details(context.agent)
                | (
                    {}
                    if context.agent in self._told_within
                    else self._request(recorder, context, invocation.step.session_id, asked)
                ),
                waits=self.native_span() is not None,
            )
            return ModelCall(step)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed("a step could not be journaled")
            return None

    def _request(self, recorder: Recorder, context: Any, session_id: str, asked: Asked) -> dict[str, Any]:
        """Return the details of a model's START: its request."""
        try:
            history = recorder.histories.of(session_id)
            prompt: Any = context.system_prompt
            messages = [system_message(prompt), *context.messages] if prompt else context.messages
            shown = self.conversation(context.agent).request(messages, history, content=recorder.content)
            tools, choice = offered(context), context.tool_choice
            return request_details(
                history,
                model=asked.name,
                content=recorder.content,
                messages=shown,
                tools=tools,
                params=asked.params if choice is None else {**asked.params, "tool_choice": choice},
            )
        except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its step
            return {"messages": "[could not be read]"}

    def _model_ended(self, model: ModelCall, agent: Any) -> None:
        step = model.step
        recorder = recorder_of(step)
        try:
            if model.stop is None:
                step.end("ok")
                return
            reason, message, counted, _ = model.stop
            usage = usage_of(counted)
            attributes: dict[str, Any] = {RESPONSE_FINISH_REASONS: [str(reason)]}
            if model.first_s is not None:
                attributes[RESPONSE_TIME_TO_FIRST_CHUNK] = model.first_s
            say_if_stopped(step, str(reason))
            details: dict[str, Any] = {}
            if recorder.content:
                thoughts = reasoning_of(message)
                if thoughts and not model.thought:
                    step.note(REASONING, {"text": thoughts})
                details["output"] = answer(message, recorder.histories.of(step.session_id))
                more = raw_of(details["output"], usage, model.stop)
                if more:
                    details["raw"] = more
            step.end(outcomes.outcome_of_stop(reason), usage=usage, attributes=attributes, details=details)
        except Exception:  # noqa: BLE001 - the one boundary
            self.lost(step, "ok")

    def _model_failed(self, model: ModelCall, error: BaseException, agent: Any) -> None:
        step = model.step
        if model.stop is not None and isinstance(error, GeneratorExit):  # closed by a consumer that has the answer
            self._model_ended(model, agent)
            return
        try:
            outcome = outcomes.outcome_of_exception(error)
            if outcome == "error":
                _say_retry(step, error, getattr(agent, "_retry_strategy", None))
            step.end(outcome, error=error)
        except Exception:  # noqa: BLE001 - the one boundary
            self.lost(step, "error", error)


def _look_behind(handlers: Mapping[Any, list[Any]], steps: ModelSteps) -> bool:
    """Have our second middleware be the innermost where others were added after our first; tell whether it is there."""
    for tagged in handlers.values():
        first = next((one for one in tagged if one.handler == steps.around_model), None)
        if first is None or tagged[-1] is first:
            continue
        second = next((one for one in tagged if one.handler == steps.within_model), None)
        if second is None:
            second = type(first)(phase=first.phase, handler=steps.within_model)
        if tagged[-1] is not second:
            tagged[:] = [*(one for one in tagged if one is not second), second]
        return True
    return False


def _step_id(invocation: Invocation, state: Mapping[str, Any]) -> str:
    """Return the call's step id: in the same cycle of the loop it is the same call, tried again."""
    cycle = state.get("event_loop_cycle_id")
    if cycle is None or cycle != invocation.cycle:
        invocation.cycle = cycle
        invocation.calls += 1
    return derived_id(f"{invocation.step.step_id}:{invocation.resumes or ''}:model:{invocation.calls}")


def _say_retry(step: Step, error: BaseException, strategy: Any) -> None:
    """Journal that the call was throttled and is tried again, and when: at once, not after the wait."""
    if not hasattr(strategy, "is_retryable") or not strategy.is_retryable(error):
        return
    made, most = strategy._current_attempt + 1, strategy._max_attempts  # noqa: SLF001 - a private pace; without it the
    # journal still has every attempt
    if made >= most:
        return
    wait_s = strategy._calculate_delay(made - 1)  # noqa: SLF001
    said = f"throttled; attempt {made + 1} of {most} follows in {wait_s} s"
    step.note(WARNING, {"message": said, "attempt": made, "max_attempts": most, "backoff_s": wait_s}, level="WARNING")
