"""Invocations of agents: a step for each, from Strands' own hooks.

`BeforeInvocation` comes after Strands has opened its span, which the step adopts; `AfterInvocation` comes however the
invocation ends. What is open is found by the agent, and by the state where one agent runs twice at a time.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext

from otel_agent_journal.event import WARNING, ErrorInfo
from otel_agent_journal.foreign import is_a, own
from otel_agent_journal.frameworks.strands import outcomes
from otel_agent_journal.frameworks.strands.contexts import Call, call_of
from otel_agent_journal.frameworks.strands.messages import conversation, plain_messages, said_in
from otel_agent_journal.mapping.genai import (
    AGENT_ID,
    CONVERSATION_ID,
    PROVIDER_NAME,
    RESPONSE_FINISH_REASONS,
    STEP_ID,
)
from otel_agent_journal.pipeline.adopted_span import AdoptedSpan
from otel_agent_journal.pipeline.adoption import CLAIM_KEY, Claim
from otel_agent_journal.pipeline.conversation import Conversation
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import STEP_KEY, Step, current_step
from otel_agent_journal.pipeline.who import said_of_run

SCOPE: Final = "strands.telemetry.tracer"
PROVIDER: Final = "strands-agents"
_NOT_SAID: Final = frozenset((CONVERSATION_ID, "session.id"))  # of trace attributes: the session is told elsewhere


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


class Paused:
    """How an agent, graph or swarm was interrupted, for the invocation that resumes it in this process."""

    __slots__ = ("checkpoint", "nodes", "session_id", "span")

    def __init__(self, checkpoint: str, session_id: str, span: SpanContext, nodes: Mapping[str, str]) -> None:
        self.checkpoint = checkpoint
        self.session_id = session_id
        self.span = span
        self.nodes = nodes


class Invocations:
    """Callbacks for agents, and what the other callbacks ask of them."""

    def __init__(self) -> None:
        self.enabled = True
        self.adopting = True
        self._open: dict[int, list[Invocation]] = {}
        self._conversations: WeakKeyDictionary[Any, Conversation] = WeakKeyDictionary()
        self.paused: WeakKeyDictionary[Any, Paused] = WeakKeyDictionary()

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
            details={**said_of(recorder, agent), **_input(recorder, messages or _asked(call))},
            on_span=None if self.adopting else dict(getattr(agent, "trace_attributes", None) or {}),
            links=self.links(agent) if resumes is not None else (),
            waits=native is not None or bool(follows),
        )
        invocation = Invocation(step, event.invocation_state, around, sys.exc_info()[1])
        self._open.setdefault(id(agent), []).append(invocation)
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
        self.resumed(step, agent, resumes)

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
            details = self.pause(step, event.agent, list(result.interrupts or ()), {})
        else:
            details = _output(step, result)
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
                    step.end("ok", details={} if result is None else _output(step, result))
                if isinstance(step.span, AdoptedSpan):
                    step.span.release()
            except Exception:  # noqa: BLE001 - the one boundary
                recorder_of(step).failed("a step could not be journaled")

    def left_below(self, step: Step, outcome: str, error: BaseException | ErrorInfo | None) -> None:
        """End the agents that are open below a tool or node which is over: as in `left`, where Strands called them."""
        if not step._open:  # noqa: SLF001 - almost always; else every open invocation is looked at
            return
        for key in list(self._open):  # not the items: a collection may run, and end some, as their tuples are made
            opened = self._open.get(key, [])
            for invocation in [one for one in opened if one.step.parent is step]:
                opened.remove(invocation)
                invocation.step.end(outcome, error=error)
            if not opened:
                self._open.pop(key, None)

    def forget(self, owner: Any, opened: Any) -> None:
        """Forget an invocation, where it is still remembered."""
        known = self._open.get(id(owner), [])
        if opened in known:
            known.remove(opened)
            if not known:
                del self._open[id(owner)]

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
        opened = self._open.get(id(agent))
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

    def pause(self, step: Step, owner: Any, interrupts: list[Any], nodes: Mapping[str, str]) -> dict[str, Any]:
        """Return the details of an interrupted ending, and remember it for the invocation that resumes it."""
        details: dict[str, Any] = {"interrupts": outcomes.asked(interrupts, content=recorder_of(step).content)}
        checkpoint = outcomes.checkpoint_of(interrupts)
        if checkpoint is not None:
            details["checkpoint_id"] = checkpoint
            self.paused[owner] = Paused(checkpoint, step.session_id, step.span.get_span_context(), nodes)
        return details

    def resumed(self, step: Step, owner: Any, checkpoint: str | None) -> Mapping[str, str]:
        """Journal that an invocation goes on from an interrupted one; return the nodes that had been interrupted."""
        if checkpoint is None:
            self.paused.pop(owner, None)
            return {}
        before = self.paused.pop(owner, None)
        recorder_of(step).resumed(step, checkpoint if before is None else before.checkpoint)
        if before is None:
            return {}
        return before.nodes

    def links(self, owner: Any) -> tuple[Link, ...]:
        """Return the link of an invocation that resumes: to the span of the interrupted one, where that is known."""
        before = self.paused.get(owner)
        return () if before is None else (Link(before.span),)

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


def session_id_of(owner: Any) -> str | None:
    """Return the framework's own session id: the session manager's, that of the agent's attributes, or the agent's."""
    manager = getattr(owner, "_session_manager", None) or getattr(owner, "session_manager", None)
    known = getattr(manager, "session_id", None)
    if known:
        return str(known)
    for given in ("trace_attributes", "baggage_attributes"):
        said: Any = getattr(owner, given, None) or {}
        for key in (CONVERSATION_ID, "session.id"):
            if said.get(key):
                return str(said[key])
    own = getattr(owner, "session_id", None)
    return str(own) if own else None


def said_of(recorder: Recorder, owner: Any) -> dict[str, Any]:
    """Return whose a run is, as the `trace_attributes` of an agent, graph or swarm say."""
    said: Any = own(owner, "trace_attributes")
    if not recorder.content or type(said) is not dict or not said:
        return {}
    others = {name: value for name, value in cast("dict[str, Any]", said).items() if name not in _NOT_SAID}
    tags: Any = others.get("tags")
    return said_of_run(others, cast("list[Any]", tags) if isinstance(tags, list | tuple) else ())


def context_of(step: Step, current: Context, claimed: str, *, outlives: bool = False) -> Context:
    """Return the context that a step runs in: where it waits for a span of Strands', with its claim on that.

    Args:
        step: that has been started.
        current: the context around it.
        claimed: how the span's name begins.
        outlives: as for `Step.adopt`.
    """
    if step.pending is None:
        return step.context(current)
    return Context({**current, STEP_KEY: step, CLAIM_KEY: Claim(step, claimed, outlives=outlives)})


def _asked(call: Call | None) -> Any:
    """Return what a call that Strands' hooks say nothing of is asked."""
    if call is None or not call.span or not is_a(call.prompt, str):
        return None
    return [{"role": "user", "content": [{"text": call.prompt}]}]


def _output(step: Step, result: Any) -> dict[str, Any]:
    """Return the details of an invocation's ending: what the agent answered."""
    if not recorder_of(step).content:
        return {}
    given: Any = getattr(result, "structured_output", None)
    message: Any = getattr(result, "message", None)
    if given is not None or message is None:
        return {"output": result if given is None else given}
    return {"output": said_in(message)}


def _input(recorder: Recorder, messages: Any) -> dict[str, Any]:
    if not recorder.content or not messages:
        return {}
    said = [one for message in messages for one in plain_messages(message)]
    return {"input": said[0]["content"] if len(said) == 1 and said[0]["role"] == "user" else said}
