"""Hooks botocore: the one method that every call of every client goes through, and its retry loop.

Patched when botocore is imported, which this package never does. Clients made before are journaled too: they find
the method by their class.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from contextvars import Token
from importlib import metadata as distributions
from typing import Any, Final, Self, cast

from opentelemetry import context as context_api
from wrapt import register_post_import_hook

from otel_agent_journal.frameworks.bedrock_agents import retries
from otel_agent_journal.frameworks.bedrock_agents.invocation import Invocation, Memory, begin
from otel_agent_journal.frameworks.bedrock_agents.requests import SERVICE, STREAMS, request_of
from otel_agent_journal.frameworks.bedrock_agents.stream import journaled
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder

_log = logging.getLogger(__name__)

MINIMUM: Final = {"botocore": (1, 38)}  # the first whose traces carry the service's own times


class BedrockAgentsInstrumentor:
    """Journals agents of Amazon Bedrock to this process's recorder. One a process: every instance is the same one.

    `instrument()` may be called before boto3 is imported, and as often as one likes. After `uninstrument()` its
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
        self._said_untraced = False
        self._recorder: Recorder | None = None
        self._memory = Memory()
        self._restore: list[Callable[[], None]] = []
        self._patches: dict[str, Callable[[Any], None]] = {
            "botocore.client": self._patch_client,
            "botocore.endpoint": lambda module: retries.patch_endpoint(module, self._is_enabled, self._replace),
            "botocore.retries.bucket": lambda module: retries.patch_bucket(module, self._is_enabled, self._replace),
        }

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
        """Hook botocore now or, where it is not imported yet, when it is."""
        self._enabled = True
        if not self._hooked:
            self._hooked = True
            for name, patch in self._patches.items():
                register_post_import_hook(self._guarded(patch), name)
        elif not self._restore:
            for name, patch in self._patches.items():
                module = sys.modules.get(name)
                if module is not None:
                    self._guarded(patch)(module)

    def uninstrument(self, **_: Any) -> None:
        """Journal no new invocation from here on; streams that are open are journaled to their end."""
        self._enabled = False
        for restore in self._restore:
            restore()
        self._restore.clear()

    # --- patches ---

    def _is_enabled(self) -> bool:
        return self._enabled

    def _guarded(self, patch: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(module: Any) -> None:
            if not self._enabled:
                return
            try:
                patch(module)
            except Exception:  # noqa: BLE001 - an import of the program's must not fail for us
                _log.warning("module=<%s> | could not be instrumented", module.__name__, exc_info=True)

        return guarded

    def _replace(self, owner: Any, name: str, original: Any, replacement: Any) -> None:
        setattr(owner, name, replacement)

        def restore() -> None:
            if owner.__dict__.get(name) is replacement:
                setattr(owner, name, original)

        self._restore.append(restore)

    def _patch_client(self, module: Any) -> None:
        original = module.BaseClient._make_api_call  # noqa: SLF001 - where every instrumentation of botocore hooks

        @functools.wraps(original)
        def with_journal(client: Any, operation_name: Any, api_params: Any, *args: Any, **kwargs: Any) -> Any:
            invocation = self._begin(client, operation_name, api_params) if operation_name in STREAMS else None
            if invocation is None:
                return original(client, operation_name, api_params, *args, **kwargs)
            token = cast("Token[Any]", context_api.attach(invocation.root.context()))
            try:
                response = original(client, operation_name, api_params, *args, **kwargs)
            except BaseException as error:
                invocation.died(error)
                raise
            finally:
                token.var.reset(token)
            return self._follow(invocation, response, STREAMS[operation_name])

        self._replace(module.BaseClient, "_make_api_call", original, with_journal)

    # --- an invocation ---

    def _begin(self, client: Any, operation: str, given: Any) -> Invocation | None:
        recorder = get_recorder()
        if recorder is None or not self._enabled:
            return None
        try:
            if client.meta.service_model.service_name != SERVICE:
                return None
            if recorder is not self._recorder:  # what another one's journal holds is not in this one's
                self._recorder, self._memory = recorder, Memory()
            request = request_of(operation, given, str(client.meta.endpoint_url))
            if not request.traced:
                self._say_untraced(operation)
            return begin(recorder, operation, request, self._memory)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            self._memory.failed(recorder)
            return None

    def _follow(self, invocation: Invocation, response: Any, member: str) -> Any:
        """Put what journals it in the place of the response's stream; without one the invocation is over."""
        try:
            invocation.answered(response)
            stream = response.get(member)
            if stream is not None:
                response[member] = journaled(stream, invocation)
                return response
        except Exception:  # noqa: BLE001 - the one boundary
            self._memory.failed(invocation.root.recorder)
        invocation.ended()
        return response

    def _say_untraced(self, operation: str) -> None:
        if not self._said_untraced:
            self._said_untraced = True
            _log.warning(
                "operation=<%s> | enableTrace is off: what the agent does on its way to the answer (models, action"
                " groups, knowledge bases, collaborators) is not told and not journaled; pass enableTrace=True",
                operation,
            )
