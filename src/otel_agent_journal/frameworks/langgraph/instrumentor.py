"""Hooks LangGraph: two functions of langchain-core and one of LangGraph, patched when they are imported.

`BaseCallbackManager.__init__` gets our handler, as in every other instrumentation; `register_configure_hook`, the
documented way, never sees an interrupt. `_set_config_context`, which both libraries call in the copied context that a
node or tool then runs in, makes the step's span current there, so nothing has to be detached.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from importlib import metadata as distributions
from typing import Any, Final, Self, cast

from opentelemetry import context as context_api
from wrapt import register_post_import_hook

from otel_agent_journal.frameworks.langgraph.handler import GraphSteps
from otel_agent_journal.frameworks.langgraph.runs import Callers
from otel_agent_journal.pipeline.step import STEP_KEY

_log = logging.getLogger(__name__)

MINIMUM: Final = {"langgraph": (1, 0), "langchain-core": (1, 0)}


class LangGraphInstrumentor:
    """Journals LangGraph runs to this process's recorder. One a process: every instance is the same one.

    `instrument()` may be called before LangGraph is imported, and as often as one likes. After `uninstrument()` its
    wrappers do nothing; one that another instrumentation has wrapped since is left in place, so that theirs stays.
    """

    _instance: Self | None = None
    _ready = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Return the one instance."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __init__(self) -> None:
        if self._ready:
            return
        self._ready = True
        self._enabled = False
        self._hooked = False
        self._callers: Callers | None = None
        self._handler: Any = None
        self._graph_aware = False
        self._restore: list[Callable[[], None]] = []

    # --- what OpenTelemetry's loader calls ---

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """Return what must be installed for this to do anything."""
        return tuple(f"{name} >= {'.'.join(map(str, version))}" for name, version in MINIMUM.items())

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Tell whether it is active."""
        return self._enabled

    def missing(self) -> str | None:
        """Return why there is nothing to instrument, or None where there is."""
        for name, version in MINIMUM.items():
            try:
                found = distributions.version(name)
            except distributions.PackageNotFoundError:
                return f"{name} is not installed"
            if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) < version:
                return f"{name} {found} is older than {'.'.join(map(str, version))}"
        return None

    def instrument(self, **_: Any) -> None:
        """Hook LangGraph now or, where it is not imported yet, when it is."""
        self._enabled = True
        if self._handler is not None:
            self._handler.enabled = True
        if not self._restore and self._hooked:
            self._patch_imported()
        if not self._hooked:
            self._hooked = True
            register_post_import_hook(self._guarded(self._patch_managers), "langchain_core.callbacks.base")
            register_post_import_hook(self._guarded(self._patch_context), "langchain_core.runnables.config")
            register_post_import_hook(self._guarded(self._patch_context), "langgraph._internal._runnable")

    def uninstrument(self, **_: Any) -> None:
        """Journal nothing from here on; steps that are open are still ended."""
        self._enabled = False
        if self._handler is not None:
            self._handler.enabled = False
        for restore in self._restore:
            restore()
        self._restore.clear()

    # --- patches ---

    def _guarded(self, patch: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(module: Any) -> None:
            try:
                patch(module)
            except Exception:  # noqa: BLE001 - an import of the program's must not fail for us
                _log.warning("module=<%s> | could not be instrumented", module.__name__, exc_info=True)

        return guarded

    def _patch_imported(self) -> None:
        for name, patch in (
            ("langchain_core.callbacks.base", self._patch_managers),
            ("langchain_core.runnables.config", self._patch_context),
            ("langgraph._internal._runnable", self._patch_context),
        ):
            module = sys.modules.get(name)
            if module is not None:
                self._guarded(patch)(module)

    def _patch_managers(self, module: Any) -> None:
        manager = module.BaseCallbackManager
        original = manager.__init__

        @functools.wraps(original)
        def with_our_handler(manager_self: Any, *args: Any, **kwargs: Any) -> None:
            original(manager_self, *args, **kwargs)
            # A run's own managers inherit our handler from that of the root, which alone has no parent run.
            if self._enabled and manager_self.parent_run_id is None:
                self._add_handler(manager_self)

        self._replace(manager, "__init__", original, with_our_handler)

    def _add_handler(self, manager: Any) -> None:
        try:
            handler = self._handler
            if handler is None or not self._graph_aware:
                handler = self._make_handler()
            for present in manager.inheritable_handlers:
                if present is handler:
                    return
            manager.add_handler(handler, True)  # noqa: FBT003 - LangChain's own signature
        except Exception:  # noqa: BLE001 - the one boundary
            _log.debug("a callback manager could not be given our handler", exc_info=True)

    def _patch_context(self, module: Any) -> None:
        original = module._set_config_context  # noqa: SLF001 - feature-detected: a missing one is logged, and only
        # costs that the user's own spans do not nest

        @functools.wraps(original)
        def with_our_span(config: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(config, *args, **kwargs)
            if self._enabled:
                self._enter(config)
            return result

        self._replace(module, "_set_config_context", original, with_our_span)

    def _enter(self, config: Any) -> None:
        try:
            handler = self._handler
            manager = config.get("callbacks")
            if handler is None or manager is None:
                return
            step = handler.runs.get(manager.parent_run_id)
            if step is not None:
                current = context_api.get_current()
                if current.get(STEP_KEY) is not step:
                    context_api.attach(step.context(current))
        except Exception:  # noqa: BLE001 - the one boundary
            _log.debug("a step's span could not be made current", exc_info=True)

    def _replace(self, owner: Any, name: str, original: Any, replacement: Any) -> None:
        setattr(owner, name, replacement)

        def restore() -> None:
            if owner.__dict__.get(name) is replacement:
                setattr(owner, name, original)

        self._restore.append(restore)

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
        if self._handler is not None:
            handler.runs = self._handler.runs
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
