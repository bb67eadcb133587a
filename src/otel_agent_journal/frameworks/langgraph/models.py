"""Model runs: a step for each call, with the messages that are new, the answer, its tokens and its stream."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from otel_agent_journal.event import REASONING, Usage
from otel_agent_journal.foreign import own
from otel_agent_journal.frameworks.langgraph.answers import answer, event_piece, is_cached, pieces, reasoning_of
from otel_agent_journal.frameworks.langgraph.endings import Endings
from otel_agent_journal.frameworks.langgraph.messages import conversation, is_message, plain_message
from otel_agent_journal.frameworks.langgraph.outcomes import outcome_of, response_attributes, usage_of
from otel_agent_journal.frameworks.langgraph.requests import attributes_of, tools_and_params
from otel_agent_journal.frameworks.langgraph.runs import Callers, session_id_of
from otel_agent_journal.mapping.genai import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    RESPONSE_FINISH_REASONS,
    RESPONSE_TIME_TO_FIRST_CHUNK,
    USAGE_COST,
)
from otel_agent_journal.pipeline.answers import say_if_stopped
from otel_agent_journal.pipeline.content import as_json
from otel_agent_journal.pipeline.conversation import request_details, without_digests
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step, current_context

_MAX_ORIGINALS: Final = 16


class ModelSteps(Endings):
    """Callbacks for chat models and text models."""

    def __init__(self, callers: Callable[[], Callers]) -> None:
        super().__init__(callers)
        self._originals: dict[int, tuple[Any, Any]] = {}

    def shows(self, shown: Any, messages: Any) -> None:
        """Remember which messages a list stands for that callbacks are shown, until it comes to us."""
        if len(shown) == len(messages) and not all(map(operator.is_, shown, messages)):
            self._originals[id(shown)] = (shown, messages)
            while len(self._originals) > _MAX_ORIGINALS:  # of calls whose callbacks did not come to us
                self._originals.pop(next(iter(self._originals)), None)

    def _original(self, shown: Any) -> Any:
        kept = self._originals.pop(id(shown), None) if self._originals else None
        return kept[1] if kept is not None and kept[0] is shown else shown

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
        shown = self._original(messages[0]) if messages else ()
        self._start_model(serialized, shown, run_id, parent_run_id, metadata, more)

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
            attributes, name = attributes_of(metadata, more, serialized)
            session_id = parent.session_id if parent is not None else session_id_of(metadata)
            details = self._request(recorder, messages, session_id, parent, name, more)
            shown = without_digests(details.get("messages", ())) if recorder.shows_content(parent) else None
            on_span = {INPUT_MESSAGES: as_json(recorder.encoder.redacted("messages", shown))} if shown else None
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

    def _request(
        self,
        recorder: Recorder,
        messages: Sequence[Any],
        session_id: str | None,
        parent: Step | None,
        model: str,
        more: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the details of a model's START: its request."""
        content = recorder.content or recorder.shows_content(parent)
        try:
            if parent is None:
                session_id = recorder.session_of(current_context(), session_id)
            history = recorder.histories.of(session_id)
            tools, params = tools_and_params(more)
            of_chat = not messages or is_message(messages[0])
            agent = parent.memory.agent if parent is not None and parent.memory is not None else None
            shown = (agent.memory.conversation if agent is not None else None) or conversation()
            details = request_details(
                history,
                model=model,
                content=content,
                messages=shown.request(messages, history, content=content) if of_chat else None,
                tools=tools,
                params=params,
            )
            if not of_chat:
                details["input"] = list(messages)
        except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its step
            return {"messages": "[could not be read]"}
        return details

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **_: Any) -> None:
        """Journal streamed text and thoughts, gathered."""
        step = self._streaming(run_id)
        if step is None:
            return
        try:
            self._say(step, pieces(token, chunk))
        except Exception:  # noqa: BLE001 - a part of another shape
            recorder_of(step).failed("a part of a stream could not be journaled")

    def on_stream_event(self, event: Any, *, run_id: UUID, **_: Any) -> None:
        """Journal streamed text and thoughts that come as LangChain's events of content blocks."""
        step = self._streaming(run_id)
        if step is None:
            return
        try:
            self._say(step, [event_piece(event)])
        except Exception:  # noqa: BLE001 - an event of another shape
            recorder_of(step).failed("a part of a stream could not be journaled")

    def _streaming(self, run_id: UUID) -> Step | None:
        """Return the step of a model that streams, where its text is wanted."""
        step = self.runs.get(run_id)
        if step is None or step.memory is None or step.memory.run_id != run_id:
            return None
        memory = step.memory
        if memory.first_chunk_s is None:
            memory.first_chunk_s = (recorder_of(step).clock.now_ns() - step.start_ns) / 1e9
        return step if step.keeper.content else None

    def _say(self, step: Step, said: Iterable[tuple[str, Any]]) -> None:
        for event_type, text in said:
            if isinstance(text, str) and text:
                step.memory.thought = step.memory.thought or event_type is REASONING
                step.chunk(text, event_type)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """End a model step with its answer and its tokens."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = recorder_of(step)
        try:
            usage, ending = self._answered(recorder, step, response)
            step.end("ok", usage=usage, **ending)
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a run could not be journaled")
            step.end("ok")

    def _answered(self, recorder: Recorder, step: Step, response: Any) -> tuple[Usage | None, dict[str, Any]]:
        """Return the tokens of an answer that were paid for, and what the ending says of the answer."""
        candidates = [one for of_prompt in response.generations or () for one in of_prompt]
        first = candidates[0] if candidates else None
        message = own(first, "message")
        attributes = response_attributes(message, own(first, "generation_info"))
        for reason in attributes.get(RESPONSE_FINISH_REASONS, ()):
            say_if_stopped(step, reason)
        if step.memory.first_chunk_s is not None:
            attributes[RESPONSE_TIME_TO_FIRST_CHUNK] = step.memory.first_chunk_s
        details: dict[str, Any] = {}
        on_span: dict[str, Any] | None = None
        if recorder.content or recorder.span_content:
            history = recorder.histories.of(step.session_id)
            details, plain = answer(candidates, response.llm_output, lambda one: history.origin(plain_message(one)))
            if recorder.shows_content(step):
                shown = [recorder.encoder.redacted("output", one) for one in without_digests(plain)]
                on_span = {OUTPUT_MESSAGES: as_json(shown)}
            thoughts = reasoning_of(message) if recorder.content and message is not None else ""
            if thoughts and not step.memory.thought:
                step.note(REASONING, {"text": thoughts})
        cached = is_cached(message)
        if cached:
            details["cached"] = True
            attributes.pop(USAGE_COST, None)  # what the call cost that the cache has it from
        usage = None if cached else usage_of(message, response.llm_output)
        return usage, {"attributes": attributes, "details": details, "on_span": on_span}

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """End a model step as failed or cancelled, with what was answered until then."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = recorder_of(step)
        usage, ending = None, {}
        try:
            response = more.get("response")
            if response is not None and response.generations and response.generations[0]:
                usage, ending = self._answered(recorder, step, response)
        except Exception:  # noqa: BLE001 - an answer of another shape
            recorder.failed("a part of an answer could not be journaled")
        step.end(outcome_of(error), error=error, usage=usage, **ending)
