"""Invocations of agents: a step for each, from Strands' own hooks.

`BeforeInvocation` comes after Strands has opened its span, which the step adopts; `AfterInvocation` comes however the
invocation ends. What is open is found by the agent, and by the state where one agent runs twice at a time.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context

from otel_agent_journal.event import WARNING, ErrorInfo
from otel_agent_journal.frameworks.strands import outcomes
from otel_agent_journal.frameworks.strands.contexts import Call, call_of, context_of
from otel_agent_journal.frameworks.strands.messages import conversation
from otel_agent_journal.frameworks.strands.opened import Opened
from otel_agent_journal.frameworks.strands.pauses import Pauses
from otel_agent_journal.frameworks.strands.said import asked_by, input_of, output_of, said_of, session_id_of
from otel_agent_journal.mapping.genai import (
    AGENT_ID,
    PROVIDER_NAME,
    RESPONSE_FINISH_REASONS,
    STEP_ID,
)
from otel_agent_journal.pipeline.adopted_span import AdoptedSpan
from otel_agent_journal.pipeline.conversation import Conversation
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import STEP_KEY, Step, current_step

SCOPE: Final = "strands.telemetry.tracer"
PROVIDER: Final = "strands-agents"


class Invocation:
    """One invocation of an agent while it runs."""

    __slots__ = ("around", "calls", "cycle", "passing", "resumes", "state", "step", "told_later")

    def __init__(self, step: Step, state: Any, around: Context, passing: BaseException | None) -> None:
        self.step = step
        self.state = state
        self.around = around
        self.passing = passing  # an exception that the caller was handling when it called the agent
        self.told_later = False  # a result that no hook tells is known once the call for it is over
        self.cycle: Any = None
        self.calls = 0
        self.resumes: str | None = None  # the checkpoint it goes on from: its model calls are others than before it


class Invocations:
    """Callbacks for agents, and what the other callbacks ask of them."""

    def __init__(self) -> None:
        self.enabled = True
        self.adopting = True
        self.pauses = Pauses()
        self._open: Opened[Invocation] = Opened()
        self._conversations: WeakKeyDictionary[Any, Conversation] = WeakKeyDictionary()

    # --- hooks ---

    def before_invocation(self, event: Any) -> None:
        """Open an agent's step, and make it the current one."""
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return
        try:
            self._begin(recorder, event)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed("a step could not be journaled")

    def _begin(self, recorder: Recorder, event: Any) -> None:
        agent, around, call = event.agent, context_api.get_current(), call_of(event.agent)
        messages: Any = getattr(event, "messages", None)
        native = self.native_span()
        if native is not None and STEP_ID in native.attributes:
            native = None  # of the tool that calls the agent, or of its invocation before one that Strands adds itself
        resumes = outcomes.answered(getattr(agent, "_interrupt_state", None))
        follows = call.span if call is not None and self.adopting and recorder.spans_are_real() else ""
        step = recorder.start_step(
            "AGENT",
            agent.name,
            session_id=session_id_of(agent),
            attributes={PROVIDER_NAME: PROVIDER, AGENT_ID: agent.agent_id},
            details={**said_of(recorder, agent), **input_of(recorder, messages or asked_by(call))},
            on_span=None if self.adopting else dict(getattr(agent, "trace_attributes", None) or {}),
            links=self.pauses.links(agent) if resumes is not None else (),
            waits=native is not None or bool(follows),
        )
        invocation = Invocation(step, event.invocation_state, around, sys.exc_info()[1])
        self._open.add(agent, invocation)
        if call is not None:
            call.opened.append(invocation)
            invocation.told_later = True
        if native is not None:
            step.adopt(native, outlives=True)
            context_api.attach(Context({**around, STEP_KEY: step}))
        elif follows:
            context_api.attach(context_of(step, around, follows, outlives=True))
        else:
            context_api.attach(step.context(around))
        invocation.resumes = resumes
        self.pauses.end(step, agent, resumes)

    def after_invocation(self, event: Any) -> None:
        """End an agent's step with what it answered, or by the exception that is passing."""
        invocation = self._ending(event.agent, event.invocation_state)
        if invocation is None:
            return
        step = invocation.step
        try:
            context_api.attach(invocation.around)
            self._end(invocation, event)
        except Exception:  # noqa: BLE001 - the one boundary
            self.lost(step, "ok")

    def _end(self, invocation: Invocation, event: Any) -> None:
        step, result = invocation.step, event.result
        error = outcomes.live_exception(invocation.passing)
        if result is None:
            if error is None:
                if not invocation.told_later:
                    step.end("ok")
            else:
                step.end(outcomes.outcome_of_exception(error), error=outcomes.error_of(error))
            return
        outcome = outcomes.outcome_of_stop(result.stop_reason)
        if outcome == "interrupted":
            details = self.pauses.begin(step, event.agent, list(result.interrupts or ()), {})
        else:
            details = output_of(step, result)
        step.end(outcome, attributes={RESPONSE_FINISH_REASONS: [str(result.stop_reason)]}, details=details)

    def left(self, call: Call, error: BaseException | None, result: Any) -> None:
        """End what a call has left open: a hook of the program's may keep Strands from saying that it is over.

        Of a call for structured output Strands says it without the result, so that ends here.
        """
        for one in call.opened:
            step: Step = one.step
            try:
                self.forget(call.owner, one)
                if not step.ended and error is not None:
                    step.end(outcomes.outcome_of_exception(error), error=outcomes.error_of(error))
                elif not step.ended:
                    step.end("ok", details={} if result is None else output_of(step, result))
                if isinstance(step.span, AdoptedSpan):
                    step.span.release()
            except Exception:  # noqa: BLE001 - the one boundary
                recorder_of(step).failed("a step could not be journaled")

    def left_below(self, step: Step, outcome: str, error: BaseException | ErrorInfo | None) -> None:
        """End the agents that are open below a tool or node which is over: as in `left`, where Strands called them."""
        if not step._open:  # noqa: SLF001 - almost always; else every open invocation is looked at
            return
        for invocation in self._open.take(lambda one: one.step.parent is step):
            invocation.step.end(outcome, error=error)

    def forget(self, owner: Any, opened: Any) -> None:
        """Forget an invocation, where it is still remembered."""
        self._open.remove(owner, opened)

    def after_tool_call(self, event: Any) -> None:
        """Journal that a hook of the program's kept a tool from running."""
        invocation = self.of(event.agent, event.invocation_state)
        denied: Any = getattr(event, "cancel_message", None)
        if invocation is None or not denied:
            return
        with contextlib.suppress(Exception):
            name = event.tool_use.get("name")
            invocation.step.note(WARNING, {"message": f"tool {name} was not run: {denied}"}, level="WARNING")

    # --- what the other callbacks ask ---

    def of(self, agent: Any, state: Any = None) -> Invocation | None:
        """Return the invocation of an agent that a callback belongs to."""
        opened = self._open.of(agent)
        if not opened:
            return None
        if len(opened) > 1:
            step = current_step()
            while step is not None:
                for invocation in opened:
                    if invocation.step is step:
                        return invocation
                step = step.parent
            for invocation in opened:
                if invocation.state is state:
                    return invocation
        return opened[-1]

    def native_span(self) -> Any:
        """Return the span of Strands' own that this code runs in, or None where there is none to adopt."""
        span: Any = trace_api.get_current_span()
        if not self.adopting or not span.is_recording():
            return None
        scope = getattr(span, "instrumentation_scope", None)
        return span if scope is not None and scope.name == SCOPE else None

    def conversation(self, agent: Any) -> Conversation:
        """Return what an agent last showed its model."""
        shown = self._conversations.get(agent)
        if shown is None:
            shown = self._conversations[agent] = conversation()
        return shown

    def lost(self, step: Step, outcome: str, error: BaseException | None = None) -> None:
        """End a step of which something could not be journaled."""
        recorder_of(step).failed("a step could not be journaled")
        with contextlib.suppress(Exception):
            step.end(outcome, error=error)

    def _ending(self, agent: Any, state: Any) -> Invocation | None:
        invocation = self.of(agent, state)
        if invocation is not None:
            self.forget(agent, invocation)
        return invocation
