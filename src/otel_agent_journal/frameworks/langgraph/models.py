"""Model runs: a step for each call, with the messages that are new, the answer, its tokens and its stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from otel_agent_journal.frameworks.langgraph.messages import Conversation, is_message
from otel_agent_journal.frameworks.langgraph.outcomes import outcome_of, response_attributes, usage_of
from otel_agent_journal.frameworks.langgraph.runs import Runs, session_id_of
from otel_agent_journal.mapping.genai import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    PROVIDER_NAME,
    REQUEST_MAX_TOKENS,
    REQUEST_MODEL,
    REQUEST_TEMPERATURE,
    RESPONSE_TIME_TO_FIRST_CHUNK,
    provider_name,
)
from otel_agent_journal.pipeline.content import as_json
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step


class ModelSteps(Runs):
    """Callbacks for chat models and text models."""

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: Sequence[Sequence[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Open a model step with the messages that the journal does not hold yet."""
        self._start_model(serialized, messages[0] if messages else (), run_id, parent_run_id, metadata, more)

    def on_llm_start(
        self,
        serialized: Any,
        prompts: Sequence[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Open a model step with its prompts."""
        self._start_model(serialized, list(prompts), run_id, parent_run_id, metadata, more)

    def _start_model(
        self,
        serialized: Any,
        messages: Sequence[Any],
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: Mapping[str, Any] | None,
        more: Mapping[str, Any],
    ) -> None:
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return
        try:
            parent = self._parent(parent_run_id)
            metadata = metadata or {}
            attributes, name = _request(metadata, more, serialized)
            session_id = parent.session_id if parent is not None else session_id_of(metadata)
            agent = parent.memory.agent if parent is not None and parent.memory is not None else None
            details = self._prompt(recorder, messages, session_id, agent)
            on_span = (
                {INPUT_MESSAGES: as_json(recorder.encoder.redacted("messages", details["messages"]))}
                if details.get("messages") and recorder.shows_content(parent)
                else None
            )
            step = recorder.start_step(
                "MODEL",
                name,
                session_id=session_id,
                parent=parent,
                attributes=attributes,
                details=details,
                on_span=on_span,
            )
            self._opened(step, run_id, metadata.get("langgraph_checkpoint_ns", ""), parent)
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a run could not be journaled")

    def _prompt(
        self, recorder: Recorder, messages: Sequence[Any], session_id: str | None, agent: Step | None
    ) -> dict[str, Any]:
        if not recorder.content and not recorder.span_content:
            return {}
        if messages and not is_message(messages[0]):
            return {"input": list(messages)}
        conversation = agent.memory.conversation if agent is not None else None
        try:
            return (conversation or Conversation()).split(messages, self._history(recorder, session_id or ""))
        except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its step
            return {"messages": "[could not be read]"}

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **_: Any) -> None:
        """Journal streamed text, gathered."""
        step = self.runs.get(run_id)
        if step is None or step.memory is None or step.memory.run_id != run_id:
            return
        memory = step.memory
        if memory.first_chunk_s is None:
            memory.first_chunk_s = (recorder_of(step).clock.now_ns() - step.start_ns) / 1e9
        if isinstance(token, str):
            step.chunk(token)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """End a model step with its answer and its tokens."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = recorder_of(step)
        try:
            first = response.generations[0][0] if response.generations and response.generations[0] else None
            message = getattr(first, "message", None)
            usage = usage_of(message, response.llm_output)
            attributes = response_attributes(message, getattr(first, "generation_info", None))
            if step.memory.first_chunk_s is not None:
                attributes[RESPONSE_TIME_TO_FIRST_CHUNK] = step.memory.first_chunk_s
            details: dict[str, Any] = {}
            on_span: dict[str, Any] | None = None
            if recorder.content or recorder.span_content:
                history = self._history(recorder, step.session_id)
                output = history.origin(message) if message is not None else getattr(first, "text", None)
                details["output"] = output
                if recorder.shows_content(step):
                    on_span = {OUTPUT_MESSAGES: as_json([recorder.encoder.redacted("output", output)])}
            step.end("ok", usage=usage, attributes=attributes, details=details, on_span=on_span)
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a run could not be journaled")
            step.end("ok")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a model step as failed or cancelled."""
        step = self._ending(run_id)
        if step is None:
            return
        step.end(outcome_of(error), error=error)


def _request(metadata: Mapping[str, Any], more: Mapping[str, Any], serialized: Any) -> tuple[dict[str, Any], str]:
    """Return the attributes of a request, and the model's name: its class's where it does not say."""
    parameters: Mapping[str, Any] = more.get("invocation_params") or {}
    model = metadata.get("ls_model_name") or next(
        (parameters[key] for key in ("model", "model_name", "model_id") if parameters.get(key)), None
    )
    attributes: dict[str, Any] = {}
    if isinstance(model, str) and model:
        attributes[REQUEST_MODEL] = model
    provider = metadata.get("ls_provider")
    if provider:
        attributes[PROVIDER_NAME] = provider_name(str(provider))
    for key, attribute in (("ls_temperature", REQUEST_TEMPERATURE), ("ls_max_tokens", REQUEST_MAX_TOKENS)):
        value = metadata.get(key)
        if isinstance(value, int | float):
            attributes[attribute] = value
    name = attributes.get(REQUEST_MODEL)
    if name is None:
        described = cast("Mapping[str, Any]", serialized or {})
        path: Sequence[str] = described.get("id") or ()
        name = more.get("name") or described.get("name") or (path[-1] if path else None) or "model"
    return attributes, str(name)
