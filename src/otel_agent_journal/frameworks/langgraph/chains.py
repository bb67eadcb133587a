"""Chain runs: graphs, nodes and tasks become steps, plumbing vanishes; interrupts pause a graph and resumes go on.

Runs are told apart by their checkpoint namespace: a chain run with another namespace than its parent's is a node or
task, a run that a graph itself began is a graph, all other chain runs are plumbing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from otel_agent_journal.event import derived_id
from otel_agent_journal.foreign import own
from otel_agent_journal.frameworks.langgraph.messages import conversation
from otel_agent_journal.frameworks.langgraph.runs import Callers, Memory, Runs, begun_by_graph, session_id_of
from otel_agent_journal.mapping.genai import INVOKE_WORKFLOW, OPERATION_NAME
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step, current_step

_MAX_INTERRUPTED: Final = 1_000  # interrupted runs that a resumed one in this process can be linked to
_WORKFLOW: Final[Mapping[str, Any]] = {OPERATION_NAME: INVOKE_WORKFLOW}
_FRAMEWORK_METADATA: Final = frozenset(
    ("thread_id", "ls_integration", "lc_agent_name", "lc_versions", "checkpoint_ns", "checkpoint_id", "run_id")
)


class ChainSteps(Runs):
    """Callbacks for graphs, nodes and tasks, and for their interrupts."""

    def __init__(self, callers: Callable[[], Callers]) -> None:
        super().__init__(callers)
        self._interrupted: OrderedDict[tuple[str, str], Any] = OrderedDict()

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
            parent = self._parent(parent_run_id)
            metadata = metadata or {}
            if parent is None:
                self._start_root(recorder, run_id, parent_run_id, name, inputs, metadata)
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
            elif begun_by_graph(self._callers()):
                self._start_graph(recorder, run_id, name, inputs, metadata, parent)
            else:
                self.runs[run_id] = parent
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed("a run could not be journaled")

    def _start_root(
        self,
        recorder: Recorder,
        run_id: UUID,
        parent_run_id: UUID | None,
        name: str | None,
        inputs: Any,
        metadata: Mapping[str, Any],
    ) -> None:
        if len(self.runs) > self._purge_at:
            self._purge()
        if begun_by_graph(self._callers()):
            self._start_graph(recorder, run_id, name, inputs, metadata, None)
            return
        if parent_run_id is not None or current_step() is not None:
            return  # plumbing within a run that began before us, or within a step of other code
        step = recorder.start_step(
            "STEP",
            name or "chain",
            session_id=session_id_of(metadata),
            details=self._input(recorder, inputs, session_id_of(metadata)),
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
        details = self._input(recorder, inputs, session_id_of(metadata)) if parent is None else {}
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
            session_id=session_id_of(metadata),
            parent=parent,
            attributes=None if metadata.get("ls_integration") == "langchain_create_agent" else dict(_WORKFLOW),
            details=details,
        )
        ns = metadata.get("langgraph_checkpoint_ns", "") if parent is not None else ""
        step.memory = memory = Memory(run_id, ns, step)
        memory.conversation = conversation()
        self.runs[run_id] = step

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """End a graph's, node's or task's step with what it returned."""
        step = self._ending(run_id)
        if step is None:
            return
        recorder = recorder_of(step)
        try:
            memory = step.memory
            if memory.interrupts is not None:
                at = {} if memory.checkpoint is None else {"checkpoint_id": memory.checkpoint}
                step.end("interrupted", details={**at, "interrupts": memory.interrupts})
                return
            step.end("ok", details=self._content(recorder, outputs, step))
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a run could not be journaled")
            step.end("ok")

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a step as failed, cancelled, or interrupted by a question to a human."""
        self._failed_with(error, run_id)

    def on_interrupt(self, event: Any) -> None:
        """Remember that a graph pauses; its run ends right after, as any other."""
        step = self.runs.get(event.run_id)
        if step is None or step.memory is None:
            return
        memory = step.memory
        memory.checkpoint = event.checkpoint_id
        content = recorder_of(step).content
        memory.interrupts = [
            {"id": own(item, "id"), **({"value": own(item, "value")} if content else {})} for item in event.interrupts
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
            recorder_of(step).resumed(step, event.checkpoint_id)
            before = self._interrupted.get((step.session_id, event.checkpoint_id))
            if before is not None:
                step.span.add_link(before)
        except Exception:  # noqa: BLE001 - the one boundary
            recorder_of(step).failed("a run could not be journaled")
