"""Hooks AgentCore's app: methods of `BedrockAgentCoreApp`, patched when the SDK's runtime is imported.

`_invoke_handler` is where the app runs an entrypoint, whatever kind it is of; it copies the context that it is called
in, so that a step made current around it is the current one in the handler too. It is private, and looked for: where a
version of the SDK has it not, that is said once, and background tasks are still journaled.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from importlib import metadata as distributions
from typing import TYPE_CHECKING, Any, Final, Self

from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from otel_agent_journal.frameworks.agentcore.hooks import Hooks

_log = logging.getLogger(__name__)

MINIMUM: Final = {"bedrock-agentcore": (1, 2)}
APP: Final = "bedrock_agentcore.runtime.app"
OURS: Final = "_agent_journal"  # marks what we have put in place of a method
LOST: Final = {
    "_invoke_handler": "requests to entrypoints are",
    "_handle_websocket": "websocket connections are",
}


class AgentCoreInstrumentor:
    """Journals the requests and background tasks of AgentCore apps. One a process: every instance is the same one.

    `instrument()` may be called before the SDK is imported, and as often as one likes. After `uninstrument()` its
    wrappers do nothing but end what is open; one that another instrumentation has wrapped since is left in place.
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
        self._hooks: Hooks | None = None
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
        """Hook the SDK now or, where it is not imported yet, when it is."""
        self._enabled = True
        if self._hooks is not None:
            self._hooks.enabled = True
        if not self._hooked:
            self._hooked = True
            register_post_import_hook(self._patch, APP)
        elif not self._restore and APP in sys.modules:
            self._patch(sys.modules[APP])

    def uninstrument(self, **_: Any) -> None:
        """Journal no new request and no new task from here on; those that are open are still ended."""
        self._enabled = False
        if self._hooks is not None:
            self._hooks.enabled = False
        for restore in self._restore:
            restore()
        self._restore.clear()

    # --- patches ---

    def _patch(self, module: Any) -> None:
        try:
            # Not before the SDK is there: who does not serve need not load them.
            from otel_agent_journal.frameworks.agentcore.hooks import Hooks

            if self._hooks is None:
                self._hooks = Hooks()
            self._hooks.enabled = self._enabled
            for name, wrapper in self._hooks.wrappers.items():
                self._replace(module.BedrockAgentCoreApp, name, wrapper)
        except Exception:  # noqa: BLE001 - an import of the program's must not fail for us
            _log.warning("module=<%s> | could not be instrumented", APP, exc_info=True)

    def _replace(self, app: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        original = app.__dict__.get(name)
        if original is None:
            _log.warning(
                "method=<%s> | this version of bedrock-agentcore has no such method, %s not journaled",
                name,
                LOST.get(name, "background tasks are"),
            )
            return
        if getattr(original, OURS, False):  # left in place, or wrapped by another since
            return
        replacement: Any = functools.wraps(original)(wrapper(original))
        setattr(replacement, OURS, True)
        setattr(app, name, replacement)

        def restore() -> None:
            needed = name == "complete_async_task" and self._hooks is not None and len(self._hooks.tasks) > 0
            if app.__dict__.get(name) is replacement and not needed:
                setattr(app, name, original)

        self._restore.append(restore)
