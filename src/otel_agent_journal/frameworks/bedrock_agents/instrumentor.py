"""Hooks botocore: the one method that every call of every client goes through, and its retry loop.

Patched when botocore is imported, which this package never does. Clients made before are journaled too: they find
the method by their class.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from contextvars import Token
from typing import Any, ClassVar, Final, cast

from opentelemetry import context as context_api

from otel_agent_journal.frameworks.bedrock_agents import model_calls, retries
from otel_agent_journal.frameworks.bedrock_agents.invocation import NOT_JOURNALED, Invocation, Memory, begin
from otel_agent_journal.frameworks.bedrock_agents.model_calls import ModelCall
from otel_agent_journal.frameworks.bedrock_agents.replaying import answer_of, asking
from otel_agent_journal.frameworks.bedrock_agents.requests import SERVICE, STREAMS, request_of
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.patching import Instrumentor, Patch
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.streams import journaled
from otel_agent_journal.replays.current import replaying

_log = logging.getLogger(__name__)
_STREAMS: Final[Mapping[str, str | None]] = {**STREAMS, **model_calls.STREAMS}


class BedrockAgentsInstrumentor(Instrumentor):
    """Journals agents of Amazon Bedrock to this process's recorder. One a process: every instance is the same one.

    `instrument()` may be called before boto3 is imported, and as often as one likes. After `uninstrument()` its
    wrappers do nothing; one that another instrumentation has wrapped since is left in place, so that theirs stays.
    """

    minimum: ClassVar = {"botocore": (1, 38)}  # the first whose traces carry the service's own times

    def set_up(self) -> None:
        """Remember no invocation yet."""
        self._said_untraced = False
        self._recorder: Recorder | None = None
        self._memory = Memory()

    def patches(self) -> Mapping[str, Patch]:
        """Return what patches a module once it is imported, by the module's name."""
        return {
            "botocore.client": self._patch_client,
            "botocore.endpoint": lambda module: retries.patch_endpoint(module, self._is_enabled, self.replace),
            "botocore.retries.bucket": lambda module: retries.patch_bucket(module, self._is_enabled, self.replace),
        }

    def _is_enabled(self) -> bool:
        return self.enabled

    # --- patches ---

    def _patch_client(self, module: Any) -> None:
        original = module.BaseClient._make_api_call  # noqa: SLF001 - where every instrumentation of botocore hooks

        @functools.wraps(original)
        def with_journal(client: Any, operation_name: Any, api_params: Any, *args: Any, **kwargs: Any) -> Any:
            invocation = self._begin(client, operation_name, api_params) if operation_name in _STREAMS else None
            if invocation is None:
                return original(client, operation_name, api_params, *args, **kwargs)
            if isinstance(invocation, ModelCall):
                api_params = model_calls.changed(replaying(), invocation, operation_name, api_params)
            token = cast("Token[Any]", context_api.attach(invocation.root.context()))
            try:
                with asking(invocation.root):
                    response = original(client, operation_name, api_params, *args, **kwargs)
            except BaseException as error:
                invocation.died(error)
                raise
            finally:
                token.var.reset(token)
            return self._follow(invocation, response, _STREAMS[operation_name])

        self.replace(module.BaseClient, "_make_api_call", original, with_journal)
        send = module.BaseClient._make_request  # noqa: SLF001 - around it all is as with a service that answers

        @functools.wraps(send)
        def served(client: Any, operation_model: Any, *args: Any, **kwargs: Any) -> Any:
            found = answer_of(operation_model) if self.enabled else None
            return send(client, operation_model, *args, **kwargs) if found is None else found

        self.replace(module.BaseClient, "_make_request", send, served)

    # --- an invocation ---

    def _begin(self, client: Any, operation: str, given: Any) -> Invocation | ModelCall | None:
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return None
        try:
            service, endpoint = client.meta.service_model.service_name, str(client.meta.endpoint_url)
            if service == model_calls.SERVICE and operation in model_calls.STREAMS:
                return model_calls.begin(recorder, operation, given, endpoint)
            if service != SERVICE:
                return None
            if recorder is not self._recorder:  # what another one's journal holds is not in this one's
                self._recorder, self._memory = recorder, Memory()
            request = request_of(operation, given, endpoint)
            if not request.traced:
                self._say_untraced(operation)
            return begin(recorder, operation, request, self._memory)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed(NOT_JOURNALED)
            return None

    def _follow(self, invocation: Invocation | ModelCall, response: Any, member: str | None) -> Any:
        """Put what journals it in the place of the response's stream; without one the invocation is over."""
        try:
            invocation.answered(response)
            stream = None if member is None else response.get(member)
            if stream is not None:
                response[member] = journaled(stream, invocation)
                return response
        except Exception:  # noqa: BLE001 - the one boundary
            recorder_of(invocation.root).failed(NOT_JOURNALED)
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
