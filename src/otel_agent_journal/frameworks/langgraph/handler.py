"""The callback handler: LangChain's runs become steps, plumbing runs vanish into the step that holds them.

Runs inline and sync in LangChain's callback managers, sync and async, so that a step's START is durable before its
code runs. Runs are told apart by their checkpoint namespace: a chain run with another namespace than its parent's is
a node or task, a run that a graph itself began is a graph, all other chain runs are plumbing.
"""

from __future__ import annotations

import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, Final
from uuid import UUID

import msgspec

from otel_agent_journal.event import ErrorInfo, derived_id
from otel_agent_journal.frameworks.langgraph.messages import (
    Conversation,
    Histories,
    History,
    is_message,
    plain_message,
    plain_update,
)
from otel_agent_journal.frameworks.langgraph.outcomes import outcome_of, response_attributes, usage_of
from otel_agent_journal.mapping.genai import (
    INPUT_MESSAGES,
    INVOKE_WORKFLOW,
    OPERATION_NAME,
    OUTPUT_MESSAGES,
    PROVIDER_NAME,
    REQUEST_MAX_TOKENS,
    REQUEST_MODEL,
    REQUEST_TEMPERATURE,
    RESPONSE_TIME_TO_FIRST_CHUNK,
    TOOL_CALL_ARGUMENTS,
    TOOL_CALL_ID,
    TOOL_CALL_RESULT,
    TOOL_DESCRIPTION,
)
from otel_agent_journal.pipeline.content import to_plain
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, Step

_log = logging.getLogger(__name__)

_MAX_RUNS: Final = 100_000  # runs whose end never came are forgotten, the oldest first
_PURGE_RUNS: Final = 1_000  # from how many on they are looked through
_MAX_INTERRUPTED: Final = 1_000  # interrupted runs that a resumed one in this process can be linked to
_WORKFLOW: Final[Mapping[str, Any]] = {OPERATION_NAME: INVOKE_WORKFLOW}
_FRAMEWORK_METADATA: Final = frozenset(
    ("thread_id", "ls_integration", "lc_agent_name", "lc_versions", "checkpoint_ns", "checkpoint_id", "run_id")
)


class Memory:
    """What the handler keeps with a step: its run, its namespace, and the conversation of its agent."""

    __slots__ = ("agent", "checkpoint", "first_chunk_s", "interrupts", "ns", "request", "run_id", "started_s")

    def __init__(self, run_id: UUID, ns: str, agent: Step | None) -> None:
        self.run_id = run_id
        self.ns = ns
        self.agent = agent
        self.checkpoint: str | None = None
        self.interrupts: list[dict[str, Any]] | None = None
        self.request: Any = None
        self.started_s = 0.0
        self.first_chunk_s: float | None = None


class GraphSteps:
    """Runs to steps. One a process; every `on_*` method is called by LangChain and never raises."""

    def __init__(self, callers: Callable[[], Callers]) -> None:
        self.enabled = True
        self.runs: dict[UUID, Step] = {}
        self._callers = callers
        self._histories = Histories()
        self._interrupted: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._failures = 0
        self._purge_at = _PURGE_RUNS

    # --- chains: graphs, nodes, tasks ---

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        """Open a step for a graph, a node or a task; let plumbing stand for the step that holds it."""
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return
        try:
            parent = self.runs.get(parent_run_id) if parent_run_id is not None else None
            metadata = metadata or {}
            if parent is None:
                self._start_root(recorder, run_id, name, inputs, metadata)
                return
            memory = parent.memory
            ns = metadata.get("langgraph_checkpoint_ns", "")
            if ns and (memory is None or ns != memory.ns):
                step = recorder.start_step(
                    "NODE",
                    name or metadata.get("langgraph_node") or "node",
                    parent=parent,
                    step_id=derived_id(f"{parent.session_id}:{ns}"),
                )
                step.memory = Memory(run_id, ns, memory.agent if memory is not None else None)
                self.runs[run_id] = step
            elif _begun_by_graph(self._callers()):
                self._start_graph(recorder, run_id, name, inputs, metadata, parent)
            else:
                self.runs[run_id] = parent
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            self._failed(recorder)

    def _start_root(
        self, recorder: Recorder, run_id: UUID, name: str | None, inputs: Any, metadata: Mapping[str, Any]
    ) -> None:
        if len(self.runs) > self._purge_at:
            self._purge()
        if _begun_by_graph(self._callers()):
            self._start_graph(recorder, run_id, name, inputs, metadata, None)
            return
        thread = metadata.get("thread_id")
        step = recorder.start_step(
            "STEP",
            name or "chain",
            session_id=None if thread is None else str(thread),
            details=self._content(recorder, "input", inputs, None),
        )
        step.memory = Memory(run_id, "", step)
        self.runs[run_id] = step

    def _start_graph(
        self,
        recorder: Recorder,
        run_id: UUID,
        name: str | None,
        inputs: Any,
        metadata: Mapping[str, Any],
        parent: Step | None,
    ) -> None:
        thread = metadata.get("thread_id")
        details = self._content(recorder, "input", inputs, None) if parent is None else {}
        of_user = {
            key: value
            for key, value in metadata.items()
            if key not in _FRAMEWORK_METADATA and not key.startswith(("langgraph_", "ls_"))
        }
        if of_user and parent is None:
            details["metadata"] = of_user
        step = recorder.start_step(
            "AGENT",
            name or "LangGraph",
            session_id=None if thread is None else str(thread),
            parent=parent,
            attributes=None if metadata.get("ls_integration") == "langchain_create_agent" else dict(_WORKFLOW),
            details=details,
        )
        ns = metadata.get("langgraph_checkpoint_ns", "") if parent is not None else ""
        step.memory = memory = Memory(run_id, ns, step)
        memory.request = Conversation()
        self.runs[run_id] = step

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """End a graph's, node's or task's step with what it returned."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = step.recorder
        try:
            memory = step.memory
            if memory.interrupts is not None:
                step.end("interrupted", details={"checkpoint_id": memory.checkpoint, "interrupts": memory.interrupts})
                return
            step.end("ok", details=self._content(recorder, "output", outputs, step))
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed(recorder)
            step.end("ok")

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a step as failed, cancelled, or interrupted by a question to a human."""
        step = self._ending(run_id)
        if step is None:
            return
        outcome = outcome_of(error)
        details: dict[str, Any] = {}
        if outcome == "interrupted":
            details = self._interrupts(step, error)
        step.end(outcome, error=error if outcome in ("error", "cancelled") else None, details=details)
        if outcome == "cancelled":
            self._purge()

    # --- interrupt and resume ---

    def on_interrupt(self, event: Any) -> None:
        """Remember that a graph pauses; its run ends right after, as any other."""
        step = self.runs.get(event.run_id)
        if step is None or step.memory is None:
            return
        memory = step.memory
        memory.checkpoint = event.checkpoint_id
        content = step.recorder.content
        memory.interrupts = [
            {"id": getattr(item, "id", None), **({"value": to_plain(item.value)} if content else {})}
            for item in event.interrupts
        ]
        if not event.checkpoint_ns:
            known = self._interrupted
            known[(step.session_id, event.checkpoint_id)] = step.span.get_span_context()
            if len(known) > _MAX_INTERRUPTED:
                known.popitem(last=False)

    def on_resume(self, event: Any) -> None:
        """Journal that a root goes on from an interrupted one, and link their spans where this process knows both."""
        step = self.runs.get(event.run_id)
        if step is None or event.checkpoint_ns:
            return
        try:
            step.recorder.resumed(step, event.checkpoint_id)
            before = self._interrupted.get((step.session_id, event.checkpoint_id))
            if before is not None:
                step.span.add_link(before)
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed(step.recorder)

    # --- models ---

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
            parent = self.runs.get(parent_run_id) if parent_run_id is not None else None
            metadata = metadata or {}
            attributes, name = _request(metadata, more, serialized)
            thread = metadata.get("thread_id")
            session_id = parent.session_id if parent is not None else (None if thread is None else str(thread))
            agent = parent.memory.agent if parent is not None and parent.memory is not None else None
            details = self._prompt(recorder, messages, session_id, agent)
            on_span = (
                {INPUT_MESSAGES: _json(details["messages"])}
                if recorder.span_content and details.get("messages")
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
            memory = step.memory = Memory(run_id, metadata.get("langgraph_checkpoint_ns", ""), agent)
            memory.request = attributes
            self.runs[run_id] = step
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed(recorder)

    def _prompt(
        self, recorder: Recorder, messages: Sequence[Any], session_id: str | None, agent: Step | None
    ) -> dict[str, Any]:
        if not recorder.content and not recorder.span_content:
            return {}
        if messages and not is_message(messages[0]):
            return {"input": list(messages)}
        conversation = agent.memory.request if agent is not None else None
        if not isinstance(conversation, Conversation):
            conversation = Conversation()
        return conversation.split(messages, self._histories.of(session_id or ""))

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **_: Any) -> None:
        """Journal streamed text, gathered."""
        step = self.runs.get(run_id)
        if step is None or step.memory is None or step.memory.run_id != run_id:
            return
        memory = step.memory
        if memory.first_chunk_s is None:
            memory.first_chunk_s = (step.recorder.clock.now_ns() - step.start_ns) / 1e9
        if isinstance(token, str):
            step.chunk(token)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """End a model step with its answer and its tokens."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = step.recorder
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
                history = self._histories.of(step.session_id)
                output = history.origin(message) if message is not None else getattr(first, "text", None)
                details["output"] = output
                if recorder.span_content:
                    on_span = {OUTPUT_MESSAGES: _json([output])}
            recorder.metrics.operation(
                {OPERATION_NAME: "chat", **(step.memory.request or {}), **attributes},
                recorder.clock.now_ns() - step.start_ns,
                usage,
                None,
            )
            step.end("ok", usage=usage, attributes=attributes, details=details, on_span=on_span)
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed(recorder)
            step.end("ok")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a model step as failed or cancelled."""
        step = self._ending(run_id)
        if step is None:
            return
        outcome = outcome_of(error)
        step.end(outcome, error=error)
        if outcome == "error":
            step.recorder.metrics.operation(
                {OPERATION_NAME: "chat", **(step.memory.request or {})},
                step.recorder.clock.now_ns() - step.start_ns,
                None,
                ErrorInfo(type=type(error).__qualname__),
            )

    # --- tools and retrievers ---

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
        """Open a tool step; its id follows from the tool call, so that a repeated call is another attempt at it."""
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return
        try:
            parent = self.runs.get(parent_run_id) if parent_run_id is not None else None
            metadata = metadata or {}
            name = more.get("name") or (serialized or {}).get("name") or "tool"
            call_id = more.get("tool_call_id")
            on_span: dict[str, Any] | None = None
            if recorder.span_content:
                on_span = {TOOL_CALL_ARGUMENTS: _json(more.get("inputs") or input_str)}
                if serialized and serialized.get("description"):
                    on_span[TOOL_DESCRIPTION] = serialized["description"]
            thread = metadata.get("thread_id")
            given = more.get("inputs")
            step = recorder.start_step(
                "TOOL",
                name,
                session_id=None if parent is not None or thread is None else str(thread),
                parent=parent,
                step_id=derived_id(f"{parent.step_id}:tool:{call_id}") if call_id and parent is not None else None,
                attributes={TOOL_CALL_ID: call_id} if call_id else None,
                details={"input": input_str if given is None else given} if recorder.content else {},
                on_span=on_span,
            )
            agent = parent.memory.agent if parent is not None and parent.memory is not None else None
            step.memory = Memory(run_id, metadata.get("langgraph_checkpoint_ns", ""), agent)
            self.runs[run_id] = step
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed(recorder)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """End a tool step with its result; a result that says it is an error fails the step."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = step.recorder
        try:
            if recorder.content and is_message(output):
                details = {"output": self._histories.of(step.session_id).origin(output)}
            else:
                details = self._content(recorder, "output", output, step)
            on_span: dict[str, Any] | None = None
            if recorder.span_content:
                content = output.content if is_message(output) else output
                on_span = {TOOL_CALL_RESULT: content if isinstance(content, str) else _json(content)}
            if getattr(output, "status", None) == "error":
                said = ErrorInfo(type="ToolException", message=str(getattr(output, "content", ""))[:4096])
                step.end("error", error=said, details=details, on_span=on_span)
            else:
                step.end("ok", details=details, on_span=on_span)
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed(recorder)
            step.end("ok")

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """End a tool step as failed, cancelled or interrupted."""
        self.on_chain_error(error, run_id=run_id)

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
            parent = self.runs.get(parent_run_id) if parent_run_id is not None else None
            metadata = metadata or {}
            thread = metadata.get("thread_id")
            step = recorder.start_step(
                "RETRIEVAL",
                more.get("name") or (serialized or {}).get("name") or "retriever",
                session_id=None if parent is not None or thread is None else str(thread),
                parent=parent,
                details={"input": query} if recorder.content else {},
            )
            agent = parent.memory.agent if parent is not None and parent.memory is not None else None
            step.memory = Memory(run_id, metadata.get("langgraph_checkpoint_ns", ""), agent)
            self.runs[run_id] = step
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed(recorder)

    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_: Any) -> None:
        """End a retrieval step with the documents it found."""
        step = self._ending(run_id)
        if step is None:
            return
        found = [
            {
                "content": getattr(document, "page_content", None),
                "metadata": getattr(document, "metadata", None),
                "id": getattr(document, "id", None),
            }
            for document in (documents or ())
        ]
        step.end("ok", details={"output": found} if step.recorder.content else {})

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a retrieval step as failed or cancelled."""
        self.on_chain_error(error, run_id=run_id)

    # --- inside ---

    def _purge(self) -> None:
        """Forget runs whose end LangChain did not tell: of cancelled tools, of generators that were dropped."""
        for run_id, step in list(self.runs.items()):
            if step.ended:
                self.runs.pop(run_id, None)
        for stale in list(self.runs)[:-_MAX_RUNS]:
            self.runs.pop(stale, None)
        self._purge_at = max(_PURGE_RUNS, 2 * len(self.runs))

    def _ending(self, run_id: UUID) -> Step | None:
        """Return the step that a run's end ends; None for plumbing and for runs we never saw begin."""
        step = self.runs.pop(run_id, None)
        if step is None or step.memory is None or step.memory.run_id != run_id:
            return None
        return step

    def _content(self, recorder: Recorder, field: str, value: Any, step: Step | None) -> dict[str, Any]:
        if not recorder.content or value is None:
            return {}
        if step is None:
            return {field: to_plain(plain_update(value, History()))}
        return {field: plain_update(value, self._histories.of(step.session_id))}

    def _interrupts(self, step: Step, error: BaseException) -> dict[str, Any]:
        if not step.recorder.content:
            return {}
        found: Any = error.args[0] if error.args else ()
        if not isinstance(found, list | tuple):
            return {}
        return {
            "interrupts": [
                {"id": getattr(item, "id", None), "value": to_plain(getattr(item, "value", None))} for item in found
            ]
        }

    def _failed(self, recorder: Recorder) -> None:
        self._failures += 1
        recorder.dropped += 1
        if self._failures == 1 or self._failures % 1000 == 0:
            _log.warning("failures=<%d> | a run could not be journaled", self._failures, exc_info=True)


def _request(metadata: Mapping[str, Any], more: Mapping[str, Any], serialized: Any) -> tuple[dict[str, Any], str]:
    parameters: Mapping[str, Any] = more.get("invocation_params") or {}
    model = (
        metadata.get("ls_model_name")
        or parameters.get("model")
        or parameters.get("model_name")
        or parameters.get("model_id")
    )
    attributes: dict[str, Any] = {}
    if isinstance(model, str) and model:
        attributes[REQUEST_MODEL] = model
    provider = metadata.get("ls_provider")
    if provider:
        attributes[PROVIDER_NAME] = provider
    for key, attribute in (("ls_temperature", REQUEST_TEMPERATURE), ("ls_max_tokens", REQUEST_MAX_TOKENS)):
        value = metadata.get(key)
        if isinstance(value, int | float):
            attributes[attribute] = value
    name = attributes.get(REQUEST_MODEL)
    if name is None:
        ids: Any = (serialized or {}).get("id") or ()
        name = more.get("name") or (serialized or {}).get("name") or (ids[-1] if ids else None) or "model"
    return attributes, str(name)


class Callers(msgspec.Struct, frozen=True):
    """The code objects by which a run that a graph began is told from the run of any other runnable."""

    managers: frozenset[CodeType] = frozenset()
    graphs: frozenset[CodeType] = frozenset()


def _begun_by_graph(callers: Callers) -> bool:
    """Tell whether a graph's own `stream` called the callback manager that called us."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - LangChain tells the two apart nowhere else
    for _ in range(8):
        if frame is None:
            return False
        if frame.f_code in callers.managers:
            break
        frame = frame.f_back
    for _ in range(3):  # another instrumentation may have wrapped the manager's method
        frame = frame.f_back if frame is not None else None
        if frame is not None and frame.f_code in callers.graphs:
            return True
    return False


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(to_plain(value)).decode()
    except Exception:  # noqa: BLE001 - content of the user's
        return "[not encodable]"
