"""Hooks Strands: the constructors and streams of agents, graphs and swarms, patched when they are imported.

A constructor gives its object our hooks and middleware, the documented ways; so does the stream of one that was made
before us. The stream also runs in a context of its own, for what Strands attaches there would stay with a caller that
breaks it off.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from types import FrameType
from typing import Any, ClassVar, Final, cast
from weakref import WeakSet

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context

from otel_agent_journal.frameworks.strands import going_on
from otel_agent_journal.frameworks.strands.contexts import CALL_KEY, Call, Left, awaited, isolated
from otel_agent_journal.frameworks.strands.invocations import SCOPE
from otel_agent_journal.frameworks.strands.models import ModelSteps
from otel_agent_journal.frameworks.strands.multiagent import MultiAgentSteps
from otel_agent_journal.frameworks.strands.replaying import with_other_session
from otel_agent_journal.frameworks.strands.tools import ToolSteps
from otel_agent_journal.pipeline.current import adopt_scope, get_recorder
from otel_agent_journal.pipeline.patching import Instrumentor, Patch
from otel_agent_journal.replays.current import replaying

_log = logging.getLogger(__name__)

SPANS_VARIABLE: Final = "AGENT_JOURNAL_STRANDS_SPANS"  # adopt (the default) or replace
_MULTI_AGENT: Final = {"strands.multiagent.graph": "Graph", "strands.multiagent.swarm": "Swarm"}


class StrandsSteps(ModelSteps, ToolSteps, MultiAgentSteps):
    """Every callback."""


class StrandsInstrumentor(Instrumentor):
    """Journals Strands agents to this process's recorder. One a process: every instance is the same one.

    `instrument()` may be called before Strands is imported, and as often as one likes. After `uninstrument()` its hooks
    and wrappers do nothing.
    """

    minimum: ClassVar = {"strands-agents": (1, 62)}

    def set_up(self) -> None:
        """Hook nothing yet."""
        self.steps = StrandsSteps()
        self._hooked: WeakSet[Any] = WeakSet()
        self._every_agent = False
        self._native_tracers: list[tuple[Any, Any]] = []

    def patches(self) -> Mapping[str, Patch]:
        """Return what patches a module once it is imported, by the module's name."""
        return {"strands.agent.agent": self._patch_agent, **dict.fromkeys(_MULTI_AGENT, self._patch_multi_agent)}

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Tell whether every agent is hooked, and not only those that were given the plugin."""
        return self._every_agent

    def instrument(self, **_: Any) -> None:
        """Hook every agent, graph and swarm from here on, those that are there too once they run."""
        self._every_agent = True
        self.watch()

    def uninstrument(self, **_: Any) -> None:
        """Journal nothing from here on; steps that are open are still ended."""
        self._every_agent = False
        self.steps.enabled = False
        adopt_scope(SCOPE, adopted=False)
        super().uninstrument()
        for native, tracer in self._native_tracers:
            native.tracer = tracer
        self._native_tracers.clear()

    # --- patches ---

    def watch(self) -> None:
        """Patch what is imported, and what will be; hook nothing yet."""
        self.steps.enabled = True
        self.steps.adopting = os.environ.get(SPANS_VARIABLE, "").strip().lower() != "replace"
        adopt_scope(SCOPE, adopted=self.steps.adopting)
        super().instrument()

    def _patch_agent(self, module: Any) -> None:
        self._wrap(module.Agent, self.hook_agent, prompted=False)
        self._patch_awaited(module.Agent, "invoke_async")
        self._patch_awaited(module.Agent, "structured_output_async", span="execute_structured_output")

    def _patch_awaited(self, owner: Any, name: str, *, span: str = "") -> None:
        """Have a method that is awaited run in a context of its own, and end what it leaves open."""
        ask = getattr(owner, name)

        @functools.wraps(ask)
        async def asked(self_: Any, *args: Any, **kwargs: Any) -> Any:
            if span and self.steps.enabled and (replay := replaying()) is not None:
                raise replay.lost("structured_output, which calls the model past every hook; structured_output_model=")
            answer = ask(self_, *args, **kwargs)
            self._hook(self.hook_agent, self_)
            if not self._journals(self_):
                return await answer
            return await awaited(
                answer, *self._within(Call(self_, kwargs.get("prompt", args[1] if len(args) > 1 else None), span))
            )

        self.replace(owner, name, ask, asked)

    def _journals(self, owner: Any) -> bool:
        return self.steps.enabled and owner in self._hooked and get_recorder() is not None

    def _within(self, call: Call) -> tuple[Context, Left]:
        """Return the context that a call runs in, and what to tell when it is over."""
        return Context({**context_api.get_current(), CALL_KEY: call}), functools.partial(self.steps.left, call)

    def _patch_multi_agent(self, module: Any) -> None:
        self._wrap(getattr(module, _MULTI_AGENT[module.__name__]), self.hook_multi_agent, prompted=True)

    def _wrap(self, owner: Any, hook: Callable[[Any], None], *, prompted: bool) -> None:
        """Have a class give its objects our hooks, and stream in a context of its own.

        A stream that Strands itself reads to its end needs none; `prompted` are those whose hooks do not tell the task.
        """
        make, stream = owner.__init__, owner.stream_async

        @functools.wraps(make)
        def made(self_: Any, *args: Any, **kwargs: Any) -> None:
            make(self_, *args, **(with_other_session(kwargs) if self.steps.enabled else kwargs))
            self._hook(hook, self_)

        @functools.wraps(stream)
        def streamed(self_: Any, *args: Any, **kwargs: Any) -> Any:
            events = stream(self_, *args, **kwargs)
            self._hook(hook, self_)
            if not self._journals(self_) or not inspect.isasyncgen(events):
                return events
            if _is_own(sys._getframe(1), prompted):  # noqa: SLF001 - who asks
                return events
            call = Call(self_, args[0] if args else kwargs.get("prompt", kwargs.get("task")))
            return isolated(cast("AsyncGenerator[Any, None]", events), *self._within(call))

        self.replace(owner, "__init__", make, made)
        self.replace(owner, "stream_async", stream, streamed)

    def _hook(self, hook: Callable[[Any], None], owner: Any) -> None:
        if not self._every_agent:
            return
        try:
            hook(owner)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            _log.warning("agent=<%s> | could not be hooked", type(owner).__name__, exc_info=True)

    def hook_agent(self, agent: Any) -> None:
        """Give an agent our hooks and middleware, once."""
        if agent in self._hooked:
            return
        from strands.hooks import AfterInvocationEvent, AfterToolCallEvent, BeforeInvocationEvent, HookOrder
        from strands.middleware import ExecuteToolStage, InvokeModelStage

        first = HookOrder.SDK_FIRST - 1
        agent.hooks.add_callback(BeforeInvocationEvent, self.steps.before_invocation, order=first)
        agent.hooks.add_callback(AfterInvocationEvent, self.steps.after_invocation, order=first)
        agent.hooks.add_callback(AfterToolCallEvent, self.steps.after_tool_call, order=first)
        agent.add_middleware(InvokeModelStage, self.steps.around_model)
        agent.add_middleware(ExecuteToolStage, self.steps.around_tool)
        self._hooked.add(agent)
        self._replace_spans(agent.tracer)

    def hook_multi_agent(self, source: Any) -> None:
        """Give a graph or swarm our hooks, once."""
        if source in self._hooked:
            return
        from strands.hooks import (
            AfterMultiAgentInvocationEvent,
            AfterNodeCallEvent,
            BeforeMultiAgentInvocationEvent,
            BeforeNodeCallEvent,
            HookOrder,
        )

        first = HookOrder.SDK_FIRST - 1
        source.hooks.add_callback(BeforeMultiAgentInvocationEvent, self.steps.before_multi_agent, order=first)
        source.hooks.add_callback(AfterMultiAgentInvocationEvent, self.steps.after_multi_agent, order=first)
        source.hooks.add_callback(BeforeNodeCallEvent, self.steps.before_node, order=first)
        source.hooks.add_callback(AfterNodeCallEvent, self.steps.after_node, order=first)
        self._hooked.add(source)
        self._replace_spans(source.tracer)

    def _replace_spans(self, native: Any) -> None:
        """Where our spans shall replace Strands' own, keep its tracer from opening any.

        There is one a process, or a few where the first agents are made in several threads at once.
        """
        if not self.steps.adopting and not isinstance(native.tracer, trace_api.NoOpTracer):
            self._native_tracers.append((native, native.tracer))
            native.tracer = _Silent()


class _Silent(trace_api.NoOpTracer):
    """Opens no span, and leaves the one around it current: OpenTelemetry's own did not before 1.40."""

    def start_span(self, name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> trace_api.Span:
        """Return the span around it, as one that records nothing."""
        return trace_api.NonRecordingSpan(trace_api.get_current_span(context).get_span_context())


def _is_own(caller: FrameType, prompted: bool) -> bool:
    """Tell whether it is Strands that reads a stream, and not the program."""
    name = str(caller.f_globals.get("__name__", ""))
    if name == going_on.__name__ and caller.f_back is not None:
        return _is_own(caller.f_back, prompted)
    return not prompted and name.startswith("strands.")
