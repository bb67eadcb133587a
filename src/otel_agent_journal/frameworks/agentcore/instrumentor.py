"""Hooks AgentCore's app: methods of `BedrockAgentCoreApp`, patched when the SDK's runtime is imported.

Also the client of its code interpreter, for the entries that code prints there.

`_invoke_handler` is where the app runs an entrypoint, whatever kind it is of; it copies the context that it is called
in, so that a step made current around it is the current one in the handler too. It is private, and looked for: where a
version of the SDK has it not, that is said once, and background tasks are still journaled.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from otel_agent_journal.pipeline.patching import Instrumentor, Patch

if TYPE_CHECKING:
    from otel_agent_journal.frameworks.agentcore.hooks import Hooks

_log = logging.getLogger(__name__)

APP: Final = "bedrock_agentcore.runtime.app"
INTERPRETERS: Final = "bedrock_agentcore.tools.code_interpreter_client"
LOST: Final = {
    "_invoke_handler": "requests to entrypoints are",
    "_handle_websocket": "websocket connections are",
}


class AgentCoreInstrumentor(Instrumentor):
    """Journals the requests and background tasks of AgentCore apps. One a process: every instance is the same one.

    `instrument()` may be called before the SDK is imported, and as often as one likes. After `uninstrument()` its
    wrappers do nothing but end what is open; one that another instrumentation has wrapped since is left in place.
    """

    minimum: ClassVar = {"bedrock-agentcore": (1, 2)}

    def set_up(self) -> None:
        """Make no hooks yet: what they need is loaded with the SDK."""
        self._hooks: Hooks | None = None

    def patches(self) -> Mapping[str, Patch]:
        """Return what patches a module once it is imported, by the module's name."""
        return {APP: self._patch_app, INTERPRETERS: self._patch_interpreter}

    def instrument(self, **_: Any) -> None:
        """Hook the SDK now or, where it is not imported yet, when it is."""
        if self._hooks is not None:
            self._hooks.enabled = True
        super().instrument()

    def uninstrument(self, **_: Any) -> None:
        """Journal no new request and no new task from here on; those that are open are still ended."""
        if self._hooks is not None:
            self._hooks.enabled = False
        super().uninstrument()

    # --- patches ---

    def _patch_app(self, module: Any) -> None:
        # Not before the SDK is there: who does not serve need not load them.
        from otel_agent_journal.frameworks.agentcore.hooks import Hooks

        if self._hooks is None:
            self._hooks = Hooks()
        self._hooks.enabled = self.enabled
        for name, wrapper in self._hooks.wrappers.items():
            self._wrap(module.BedrockAgentCoreApp, name, wrapper)

    def _patch_interpreter(self, module: Any) -> None:
        from otel_agent_journal.frameworks.agentcore.interpreters import listening

        kind = module.CodeInterpreter
        self.replace(kind, "invoke", kind.invoke, listening(kind.invoke, lambda: self.enabled))

    def _wrap(self, app: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        original = app.__dict__.get(name)
        if original is None:
            _log.warning(
                "method=<%s> | this version of bedrock-agentcore has no such method, %s not journaled",
                name,
                LOST.get(name, "background tasks are"),
            )
            return
        replacement = functools.wraps(original)(wrapper(original))
        needed = self._has_open_tasks if name == "complete_async_task" else None
        self.replace(app, name, original, replacement, needed=needed)

    def _has_open_tasks(self) -> bool:
        return self._hooks is not None and len(self._hooks.tasks) > 0
