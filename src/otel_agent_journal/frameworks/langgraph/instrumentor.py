"""Hooks LangGraph: two functions of langchain-core and five of LangGraph, patched when they are imported.

`BaseCallbackManager.__init__` gets our handler, as in every other instrumentation; `register_configure_hook`, the
documented way, never sees an interrupt. `_set_config_context`, which both libraries call in the copied context that a
node or tool then runs in, makes the step's span current there, so nothing has to be detached.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

from opentelemetry import context as context_api

from otel_agent_journal.foreign import is_a
from otel_agent_journal.frameworks.langgraph.calls import Calls
from otel_agent_journal.frameworks.langgraph.chains import graph_is_called
from otel_agent_journal.frameworks.langgraph.going_on import begins_anew, goes_on, with_checkpoints
from otel_agent_journal.frameworks.langgraph.handler import GraphSteps
from otel_agent_journal.frameworks.langgraph.receipts import serve_receipts
from otel_agent_journal.frameworks.langgraph.remote import patched_astream, patched_stream
from otel_agent_journal.frameworks.langgraph.runs import Callers
from otel_agent_journal.pipeline.patching import Instrumentor, Patch
from otel_agent_journal.pipeline.step import STEP_KEY, Step

_CHAT_MODELS: Final = "langchain_core.language_models.chat_models"
_log = logging.getLogger(__name__)


class LangGraphInstrumentor(Instrumentor):
    """Journals LangGraph runs to this process's recorder. One a process: every instance is the same one.

    `instrument()` may be called before LangGraph is imported, and as often as one likes. After `uninstrument()` its
    wrappers do nothing; one that another instrumentation has wrapped since is left in place, so that theirs stays.
    """

    minimum: ClassVar = {"langgraph": (1, 2, 6), "langchain-core": (1, 4, 7)}

    def set_up(self) -> None:
        """Know no handler yet: its class is LangChain's."""
        self._callers: Callers | None = None
        self._handler: Any = None
        self._runs: dict[Any, Step] = {}  # the handler's
        self._graph_aware = False

    def patches(self) -> Mapping[str, Patch]:
        """Return what patches a module once it is imported, by the module's name."""
        calls = Calls(self.replace, self._step_of).patches()
        return {
            "langchain_core.callbacks.base": self._patch_managers,
            "langchain_core.runnables.config": self._patch_context,
            "langgraph._internal._runnable": self._patch_context,
            "langgraph.pregel.main": self._patch_graphs,
            "langgraph.errors": self._patch_timeout,
            "langgraph.pregel._loop": self._patch_loop,
            "langgraph.pregel.remote": self._patch_remote,
            "langchain_core.tools.base": lambda module: serve_receipts(module, self.replace, lambda: self.enabled),
            **calls,
            _CHAT_MODELS: lambda module: self._patch_chat_models(module, calls[_CHAT_MODELS]),
        }

    def instrument(self, **_: Any) -> None:
        """Hook LangGraph now or, where it is not imported yet, when it is."""
        if self._handler is not None:
            self._handler.enabled = True
        super().instrument()

    def uninstrument(self, **_: Any) -> None:
        """Journal nothing from here on; steps that are open are still ended."""
        if self._handler is not None:
            self._handler.enabled = False
        super().uninstrument()

    # --- patches ---

    def _patch_managers(self, module: Any) -> None:
        manager = module.BaseCallbackManager
        original = manager.__init__

        @functools.wraps(original)
        def with_our_handler(manager_self: Any, *args: Any, **kwargs: Any) -> None:
            original(manager_self, *args, **kwargs)
            # The managers of a run that we know inherit our handler. Others are a root's, or below a run that another
            # tracer opened, as LangSmith's does.
            if self.enabled and manager_self.parent_run_id not in self._runs:
                self._add_handler(manager_self)

        self.replace(manager, "__init__", original, with_our_handler)

    def _add_handler(self, manager: Any) -> None:
        try:
            handler = self._handler
            if handler is None or not self._graph_aware:
                handler = self._make_handler()
            for present in manager.inheritable_handlers:
                if present is handler:
                    return
                if is_a(present, GraphSteps):  # of a manager made before LangGraph was imported
                    manager.remove_handler(present)
                    break
            manager.add_handler(handler, True)  # noqa: FBT003 - LangChain's own signature
        except Exception:  # noqa: BLE001 - the one boundary
            _log.debug("a callback manager could not be given our handler", exc_info=True)

    def _patch_chat_models(self, module: Any, calls: Patch) -> None:
        """Know the messages behind those that callbacks are shown: LangChain writes pictures anew for them."""
        calls(module)
        original = getattr(module, "_format_for_tracing", None)
        if original is None:
            return

        @functools.wraps(original)
        def with_the_originals(messages: Any) -> Any:
            shown = original(messages)
            if self.enabled and self._handler is not None:
                self._handler.shows(shown, messages)
            return shown

        self.replace(module, "_format_for_tracing", original, with_the_originals)

    def _patch_context(self, module: Any) -> None:
        original = module._set_config_context  # noqa: SLF001 - feature-detected: a missing one is logged, and only
        # costs that the user's own spans do not nest

        @functools.wraps(original)
        def with_our_span(config: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(config, *args, **kwargs)
            if self.enabled:
                self._enter(config)
            return result

        self.replace(module, "_set_config_context", original, with_our_span)

    def _patch_graphs(self, module: Any) -> None:
        """Hear what a graph is called with, as its callbacks are made of that; give it a checkpointer if asked to."""
        for name in ("stream", "astream"):
            original = module.Pregel.__dict__[name]
            self.replace(module.Pregel, name, original, with_checkpoints(original, lambda: self.enabled))
        made = module.Pregel.__init__
        self.replace(module.Pregel, "__init__", made, begins_anew(made, lambda: self.enabled))
        for name in ("get_callback_manager_for_config", "get_async_callback_manager_for_config"):
            original = getattr(module, name, None)
            if original is not None:
                self.replace(module, name, original, self._heard(original))

    def _heard(self, original: Any) -> Any:
        @functools.wraps(original)
        def with_our_ear(config: Any, *args: Any, **kwargs: Any) -> Any:
            if self.enabled:
                graph_is_called(config)
            return original(config, *args, **kwargs)

        return with_our_ear

    def _patch_timeout(self, module: Any) -> None:
        """Learn of a node's timeout as its error is made: next LangGraph cancels the node, and raises elsewhere."""
        error = getattr(module, "NodeTimeoutError", None)
        if error is None:
            return
        original = error.__init__

        @functools.wraps(original)
        def with_its_node(error_self: Any, *args: Any, **kwargs: Any) -> None:
            original(error_self, *args, **kwargs)
            task = sys._getframe(1).f_locals.get("bg")  # noqa: SLF001 - LangGraph's own name of the node's task
            if self.enabled and self._handler is not None and task is not None:
                self._handler.ran_out_of_time(task, error_self)

        self.replace(error, "__init__", original, with_its_node)

    def _patch_loop(self, module: Any) -> None:
        """Know the loop of each run of a graph: it alone has the checkpoint that the run stands at."""
        loop = module.PregelLoop
        original = loop.__init__

        @functools.wraps(original)
        def with_its_run(loop_self: Any, *args: Any, **kwargs: Any) -> None:
            original(loop_self, *args, **kwargs)
            if self.enabled and self._handler is not None:
                self._handler.runs_in_loop(getattr(loop_self.manager, "run_id", None), loop_self)

        self.replace(loop, "__init__", original, with_its_run)
        first = loop.__dict__.get("_first")
        if first is not None:
            self.replace(loop, "_first", first, goes_on(first, lambda: self.enabled))

    def _patch_remote(self, module: Any) -> None:
        remote = module.RemoteGraph
        for name, patched in (("stream", patched_stream), ("astream", patched_astream)):
            original = getattr(remote, name)
            self.replace(remote, name, original, patched(original, lambda: self.enabled))

    def _enter(self, config: Any) -> None:
        try:
            manager = config.get("callbacks")
            if manager is None:
                return
            step = self._runs.get(manager.parent_run_id)
            if step is not None:
                current = context_api.get_current()
                if current.get(STEP_KEY) is not step:
                    context_api.attach(step.context(current))
        except Exception:  # noqa: BLE001 - the one boundary
            _log.debug("a step's span could not be made current", exc_info=True)

    def _step_of(self, manager: Any) -> Step | None:
        """Return the step of the run that a manager is of."""
        return self._runs.get(manager.run_id)

    # --- the handler ---

    def _make_handler(self) -> Any:
        """Return the handler: of LangGraph's own kind once LangGraph is there, so that it hears of interrupts."""
        graph_callbacks = sys.modules.get("langgraph.callbacks")
        base = getattr(graph_callbacks, "GraphCallbackHandler", None)
        if self._handler is not None and base is None:
            return self._handler
        self._graph_aware = base is not None
        if base is None:
            base = sys.modules["langchain_core.callbacks.base"].BaseCallbackHandler
        kind = cast("type[Any]", type("AgentJournalHandler", (GraphSteps, base), {"run_inline": True}))
        handler = kind(self._known_callers)
        handler.runs = self._runs
        self._handler = handler
        return handler

    def _known_callers(self) -> Callers:
        if self._callers is None:
            managers = sys.modules.get("langchain_core.callbacks.manager")
            pregel = sys.modules.get("langgraph.pregel.main")
            if managers is None or pregel is None:
                return Callers()
            self._callers = Callers(
                _codes(managers.CallbackManager.on_chain_start, managers.AsyncCallbackManager.on_chain_start),
                _codes(pregel.Pregel.stream, pregel.Pregel.astream),
            )
        return self._callers


def _codes(*functions: Any) -> frozenset[Any]:
    return frozenset(inspect.unwrap(function).__code__ for function in functions)
