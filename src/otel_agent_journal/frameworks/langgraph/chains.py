"""Chain runs: graphs, nodes and tasks become steps, plumbing vanishes; interrupts pause a graph and resumes go on.

Runs are told apart by their checkpoint namespace: a chain run with another namespace than its parent's is a node or
task, a run that a graph itself began is a graph, all other chain runs are plumbing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, cast
from uuid import UUID

from otel_agent_journal.event import EMPTY, derived_id
from otel_agent_journal.foreign import own
from otel_agent_journal.frameworks.langgraph.endings import Endings
from otel_agent_journal.frameworks.langgraph.messages import conversation
from otel_agent_journal.frameworks.langgraph.runs import Memory, begun_by_graph, session_id_of
from otel_agent_journal.mapping.genai import INVOKE_WORKFLOW, OPERATION_NAME
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step, current_step
from otel_agent_journal.pipeline.who import said_of_run

_WORKFLOW: Final[Mapping[str, Any]] = {OPERATION_NAME: INVOKE_WORKFLOW}
_FRAMEWORK_METADATA: Final = frozenset(
    (
        "thread_id",
        "ls_integration",
        "lc_agent_name",
        "lc_versions",
        "checkpoint_ns",
        "checkpoint_id",
        "run_id",
        "graph_id",
        "assistant_id",
    )
)


_FRAMEWORK_TAGS: Final = ("graph:step:", "langsmith:", "map:key:", "seq:step:")
_CONFIGURABLE: ContextVar[Mapping[Any, Any]] = ContextVar("agent-journal-configurable")


def _is_users(name: Any) -> bool:
    """Tell whether a name of metadata or settings is the program's own, and not LangGraph's or LangChain's."""
    return (
        isinstance(name, str)
        and name not in _FRAMEWORK_METADATA
        and not name.startswith(("__", "langgraph_", "ls_", "checkpoint_"))
    )


def graph_is_called(config: Any) -> None:
    """Remember what a graph is called with, which its callbacks are not told: the START that follows says it."""
    found: Any = cast("Mapping[str, Any]", config).get("configurable") if type(config) is dict else None
    _CONFIGURABLE.set(cast("Mapping[Any, Any]", found) if type(found) is dict else EMPTY)


def _take_settings() -> Mapping[Any, Any]:
    """Return what the graph that begins here was called with; once."""
    found = _CONFIGURABLE.get(EMPTY)
    if found:
        _CONFIGURABLE.set(EMPTY)
    return found


class ChainSteps(Endings):
    """Callbacks for graphs, nodes and tasks, and for their interrupts."""

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: Sequence[Any] | None = None,
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
                self._start_root(recorder, run_id, name, inputs, metadata, tags or ())
                return
            memory = parent.memory
            ns = metadata.get("langgraph_checkpoint_ns", "")
            if ns and (memory is None or ns != memory.ns):
                if memory is not None and memory.held:
                    self._release(memory, None)  # the graph goes on
                place = _place(metadata)
                step = recorder.start_step(
                    "NODE",
                    name or metadata.get("langgraph_node") or "node",
                    parent=parent,
                    step_id=derived_id(f"{parent.session_id}:{ns}"),
                    details={
                        "place": place,
                        **(self._input(recorder, inputs, parent.session_id) if _is_sent(place, inputs) else {}),
                    },
                )
                self._opened(step, run_id, ns, parent)
            elif begun_by_graph(self._callers()):
                self._start_graph(recorder, run_id, name, inputs, metadata, (), parent)
            else:
                self.runs[run_id] = parent
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed("a run could not be journaled")

    def _start_root(
        self,
        recorder: Recorder,
        run_id: UUID,
        name: str | None,
        inputs: Any,
        metadata: Mapping[str, Any],
        tags: Sequence[Any],
    ) -> None:
        if len(self.runs) > self._purge_at:
            self._purge()
        if begun_by_graph(self._callers()):
            self._start_graph(recorder, run_id, name, inputs, metadata, tags, None)
            return
        if metadata.get("langgraph_checkpoint_ns") or current_step() is not None:
            return  # plumbing within a graph that began before us, or within a step of other code
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
        tags: Sequence[Any],
        parent: Step | None,
    ) -> None:
        details = self._input(recorder, inputs, session_id_of(metadata)) if parent is None else {}
        if parent is None and recorder.content:
            details |= said_of_run(
                {name: value for name, value in metadata.items() if _is_users(name)},
                [tag for tag in tags if isinstance(tag, str) and not tag.startswith(_FRAMEWORK_TAGS)],
                {name: value for name, value in _take_settings().items() if _is_users(name)},
            )
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
            if memory.held:
                self._release(memory, None)
            if memory.interrupts is not None and step.kind == "AGENT":
                self._end(step, "interrupted", details={**self._stands(step), "interrupts": memory.interrupts})
                return
            details = self._content(recorder, outputs, step)
            if memory.loop is not None:
                details.update(self._stands(step))
            self._end(step, "ok", details=details)
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
        content = recorder_of(step).content
        memory.interrupts = [
            {"id": own(item, "id"), **({"value": own(item, "value")} if content else {})} for item in event.interrupts
        ]
        if not event.checkpoint_ns:
            self._pauses(step, event.checkpoint_id)

    def on_resume(self, event: Any) -> None:
        """Journal that a root goes on from an interrupted one, and link their spans where this process knows both."""
        step = self.runs.get(event.run_id)
        if step is None or event.checkpoint_ns:
            return
        try:
            recorder_of(step).resumed(step, event.checkpoint_id)
            before = self._interrupted.get((step.session_id, event.checkpoint_id))
            if before is not None:
                step.span.current.add_link(before)
        except Exception:  # noqa: BLE001 - the one boundary
            recorder_of(step).failed("a run could not be journaled")


def _place(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return where in its graph a node or task is: LangGraph's step, the path of the task, and what triggered it."""
    return {
        "step": metadata.get("langgraph_step"),
        "path": metadata.get("langgraph_path"),
        "triggers": metadata.get("langgraph_triggers"),
    }


def _is_sent(place: Mapping[str, Any], inputs: Any) -> bool:
    """Tell whether a node's input is its own, by `Send` or as the arguments of a task, and not the graph's state.

    An agent sends its tools' node a call with the state beside it: the tool's step has that call.
    """
    path = place["path"]
    return bool(path) and path[0] == "__pregel_push" and not (type(inputs) is dict and "__type" in inputs)
