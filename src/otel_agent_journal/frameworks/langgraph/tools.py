"""Tool and retriever runs: a step for each call, its input and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from otel_agent_journal.event import ErrorInfo, derived_id
from otel_agent_journal.foreign import own
from otel_agent_journal.frameworks.langgraph.commands import raw_of_result
from otel_agent_journal.frameworks.langgraph.endings import Endings
from otel_agent_journal.frameworks.langgraph.messages import is_message, plain_documents, plain_message
from otel_agent_journal.frameworks.langgraph.runs import Call, Memory, session_id_of
from otel_agent_journal.mapping.genai import (
    TOOL_CALL_ARGUMENTS,
    TOOL_CALL_ID,
    TOOL_CALL_RESULT,
    TOOL_DESCRIPTION,
)
from otel_agent_journal.pipeline.content import as_json
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.effects import effects_hinted
from otel_agent_journal.pipeline.failure import MAX_MESSAGE_CHARACTERS
from otel_agent_journal.pipeline.recorder import recorder_of
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.pipeline.step_span import SERVED
from otel_agent_journal.plain import text_of


class ToolSteps(Endings):
    """Callbacks for tools and retrievers."""

    def on_tool_start(
        self,
        serialized: Mapping[str, Any] | None,
        input_str: str,
        *args: Any,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Open a tool step; its id follows from the tool call, so that one tried again is another attempt at it."""
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return
        try:
            parent = self._parent(parent_run_id)
            metadata = metadata or {}
            name = more.get("name") or (serialized or {}).get("name") or "tool"
            call_id = more.get("tool_call_id")
            on_span: dict[str, Any] | None = None
            if recorder.shows_content(parent):
                on_span = {
                    TOOL_CALL_ARGUMENTS: as_json(recorder.encoder.redacted("input", more.get("inputs") or input_str))
                }
                if serialized and serialized.get("description"):
                    on_span[TOOL_DESCRIPTION] = serialized["description"]
            given = more.get("inputs")
            called = _called(parent, call_id, (name, input_str)) if call_id and parent is not None else None
            step = recorder.start_step(
                "TOOL",
                name,
                session_id=session_id_of(metadata, parent),
                parent=parent,
                step_id=called,
                attributes={TOOL_CALL_ID: call_id} if call_id else None,
                details={
                    **_effects(metadata),
                    **({"input": input_str if given is None else given} if recorder.content else {}),
                },
                on_span=on_span,
            )
            self._opened(step, run_id, metadata.get("langgraph_checkpoint_ns", ""), parent).call_id = call_id
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a run could not be journaled")

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """End a tool step with its result; a result that says it is an error fails the step."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = recorder_of(step)
        try:
            if recorder.content and is_message(output):
                details = {"output": recorder.histories.of(step.session_id).origin(plain_message(output))}
            else:
                details = self._content(recorder, output, step)
            if recorder.content and (more := raw_of_result(output)):
                details["raw"] = more
            if step.memory.served is not None:
                details[SERVED] = step.memory.served
            on_span: dict[str, Any] | None = None
            if recorder.shows_content(step):
                content = recorder.encoder.redacted("output", own(output, "content") if is_message(output) else output)
                on_span = {TOOL_CALL_RESULT: content if type(content) is str else as_json(content)}
            if is_message(output) and own(output, "status") == "error":
                _may_be_tried_again(step)
                said = ErrorInfo(type="ToolException", message=text_of(own(output, "content"))[:MAX_MESSAGE_CHARACTERS])
                self._end(step, "error", error=said, details=details, on_span=on_span)
            else:
                self._end(step, "ok", details=details, on_span=on_span)
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a run could not be journaled")
            step.end("ok")

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """End a tool step as failed, cancelled or interrupted."""
        step = self.runs.get(run_id)
        if step is not None:
            _may_be_tried_again(step)
        self._failed_with(error, run_id)

    def on_retriever_start(
        self,
        serialized: Mapping[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Open a retrieval step with its query."""
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return
        try:
            parent = self._parent(parent_run_id)
            metadata = metadata or {}
            step = recorder.start_step(
                "RETRIEVAL",
                more.get("name") or (serialized or {}).get("name") or "retriever",
                session_id=session_id_of(metadata, parent),
                parent=parent,
                details={"input": query} if recorder.content else {},
            )
            self._opened(step, run_id, metadata.get("langgraph_checkpoint_ns", ""), parent)
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a run could not be journaled")

    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_: Any) -> None:
        """End a retrieval step with the documents it found."""
        step = self._ending(run_id)
        if step is None:
            return
        details = {"output": plain_documents(documents)} if recorder_of(step).content else {}
        step.end("ok", details=details)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a retrieval step as failed or cancelled."""
        self._failed_with(error, run_id)


def _effects(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tool's metadata say of its effects: those of an MCP tool are its annotations."""
    effects = effects_hinted(metadata)
    return {} if effects is None else {"effects": effects}


def _called(parent: Step, call_id: str, asked: tuple[str, str]) -> str:
    """Return the id of the step of a call. One that failed is tried again; others of one id are calls of their own."""
    calls: dict[str, Call] = parent.memory.calls
    call = calls.get(call_id)
    if call is None:
        call = calls[call_id] = Call(asked)
    elif not call.failed or call.asked != asked:
        call.steps += 1
        call.asked = asked
    call.failed = False
    more = f":{call.steps}" if call.steps > 1 else ""
    return derived_id(f"{parent.step_id}:tool:{call_id}{more}")


def _may_be_tried_again(step: Step) -> None:
    """Remember that a call failed: the next one of its id may be another attempt at it."""
    call_id = step.memory.call_id
    if call_id is not None and step.parent is not None and isinstance(step.parent.memory, Memory):
        call = step.parent.memory.calls.get(call_id)
        if call is not None:
            call.failed = True
