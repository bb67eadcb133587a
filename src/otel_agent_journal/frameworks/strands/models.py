"""Model calls: a step for each attempt, from a middleware around Strands' own call.

A middleware sees every way out: the answer, an exception, a cancelled task, a stream that is broken off.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from opentelemetry import context as context_api

from otel_agent_journal.event import REASONING, WARNING, derived_id
from otel_agent_journal.frameworks.strands import outcomes
from otel_agent_journal.frameworks.strands.invocations import Invocation, Invocations, context_of
from otel_agent_journal.frameworks.strands.messages import flattened, reasoning_of, usage_of
from otel_agent_journal.mapping.genai import (
    PROVIDER_NAME,
    REQUEST_MAX_TOKENS,
    REQUEST_MODEL,
    REQUEST_TEMPERATURE,
    REQUEST_TOP_P,
    RESPONSE_FINISH_REASONS,
    RESPONSE_TIME_TO_FIRST_CHUNK,
    provider_name,
)
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step

_SETTINGS: Final = {"temperature": REQUEST_TEMPERATURE, "max_tokens": REQUEST_MAX_TOKENS, "top_p": REQUEST_TOP_P}


class ModelCall:
    """One model call while it runs."""

    __slots__ = ("first_s", "step", "stop")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.first_s: float | None = None
        self.stop: Any = None

    def take(self, event: Any) -> None:
        """Journal what the model streams, and keep its answer."""
        text = event.get("data")
        if isinstance(text, str):
            if self.first_s is None:
                self.first_s = (recorder_of(self.step).clock.now_ns() - self.step.start_ns) / 1e9
            self.step.chunk(text)
        elif "stop" in event:
            self.stop = event["stop"]


class ModelSteps(Invocations):
    """The middleware of model calls."""

    def __init__(self) -> None:
        super().__init__()
        self._requests: WeakKeyDictionary[Any, tuple[Any, tuple[str, dict[str, Any]]]] = WeakKeyDictionary()

    async def around_model(self, context: Any, call: Any) -> AsyncGenerator[Any, None]:
        """Run a model call as a step."""
        model = self._start_model(context)
        if model is None:
            async for event in call(context):
                yield event
            return
        step = model.step
        around, events = context_api.get_current(), call(context)
        context_api.attach(
            context_of(step, around, "chat")
        )  # for the whole call, as Strands does: its stream as a whole is isolated
        try:
            try:
                async for event in events:
                    try:
                        if "data" in event or "stop" in event:
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

    def _request(self, model: Any) -> tuple[str, dict[str, Any]]:
        """Return a model's name and the attributes of a request to it, looked at anew where its configuration is."""
        configured: Any = getattr(model, "config", None)
        if type(configured) is not dict:
            return _request(model)
        known = self._requests.get(model)
        if known is None or known[0] != configured:
            self._requests[model] = known = (dict(cast("dict[str, Any]", configured)), _request(model))
        return known[1]

    def _start_model(self, context: Any) -> ModelCall | None:
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return None
        try:
            invocation = self.of(context.agent, context.invocation_state)
            if invocation is None:
                return None
            name, request = self._request(context.model)
            step = recorder.start_step(
                "MODEL",
                name,
                parent=invocation.step,
                step_id=_step_id(invocation, context.invocation_state),
                attributes=request,
                details=self._prompt(recorder, context, invocation.step.session_id),
                waits=self.native_span() is not None,
            )
            return ModelCall(step)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed("a step could not be journaled")
            return None

    def _prompt(self, recorder: Recorder, context: Any, session_id: str) -> dict[str, Any]:
        if not recorder.content:
            return {}
        try:
            agent = context.agent
            # The context has copies, new ones at each call; the agent's own messages tell which are new.
            given = agent.messages if len(agent.messages) == len(context.messages) else context.messages
            known = self.known(recorder, session_id)
            shown = self.shown(agent)
            details = flattened(shown.split(given, known, known.recent))
            prompt: Any = context.system_prompt
            if prompt:
                fingerprint = hash(str(prompt))
                if not known.holds(f"system:{agent.agent_id}:{agent.name}", fingerprint):
                    known.add(f"system:{agent.agent_id}:{agent.name}", fingerprint)
                    details["system_instructions"] = prompt
        except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its step
            return {"messages": "[could not be read]"}
        return details

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
            if str(reason) in ("guardrail_intervened", "content_filtered"):
                step.note(WARNING, {"message": f"the model's answer was stopped: {reason}"}, level="WARNING")
            details: dict[str, Any] = {}
            if recorder.content:
                thoughts = reasoning_of(message)
                if thoughts:
                    step.note(REASONING, {"text": thoughts})
                details["output"] = self.known(recorder, step.session_id).answer(message)
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


def _step_id(invocation: Invocation, state: Mapping[str, Any]) -> str:
    """Return the call's step id: in the same cycle of the loop it is the same call, tried again."""
    cycle = state.get("event_loop_cycle_id")
    if cycle is None or cycle != invocation.cycle:
        invocation.cycle = cycle
        invocation.calls += 1
    return derived_id(f"{invocation.step.step_id}:{invocation.resumes or ''}:model:{invocation.calls}")


def _request(model: Any) -> tuple[str, dict[str, Any]]:
    """Return a model's name and the attributes of a request to it."""
    kind = cast("type[Any]", type(model))
    configured: Any = getattr(model, "config", None)
    config = cast("Mapping[str, Any]", configured if isinstance(configured, Mapping) else model.get_config() or {})
    attributes: dict[str, Any] = {}
    home = kind.__module__.rpartition(".")[2]
    if kind.__module__.startswith("strands.models."):
        attributes[PROVIDER_NAME] = provider_name(home)
    name: Any = config.get("model_id")
    if name:
        attributes[REQUEST_MODEL] = name = str(name)
    params: Any = config.get("params")
    asked = cast("Mapping[str, Any]", params if isinstance(params, Mapping) else {})
    for source in (config, asked):
        for key, attribute in _SETTINGS.items():
            value: Any = source.get(key)
            if isinstance(value, int | float):
                attributes[attribute] = value
    return name or kind.__name__, attributes


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
