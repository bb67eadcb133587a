"""The runs of LangChain that are open, and the step each stands for.

What the callbacks for chains, models and tools share. A plumbing run stands for the step that holds it; a run whose
end LangChain never tells is forgotten once its step has ended.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final
from uuid import UUID

import msgspec

from otel_agent_journal.frameworks.langgraph.calls import bind
from otel_agent_journal.frameworks.langgraph.messages import Conversation, Histories, History, plain_update
from otel_agent_journal.frameworks.langgraph.outcomes import interrupts_of, outcome_of
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.plain import text_of

_MAX_RUNS: Final = 100_000  # runs whose end never came are forgotten, the oldest first
_PURGE_RUNS: Final = 1_000  # from how many on they are looked through


class Memory:
    """What is kept with a step: its run, its namespace, and the graph it runs in."""

    __slots__ = ("agent", "checkpoint", "conversation", "first_chunk_s", "interrupts", "ns", "run_id")

    def __init__(self, run_id: UUID, ns: str, agent: Step | None) -> None:
        self.run_id = run_id
        self.ns = ns
        self.agent = agent
        self.checkpoint: str | None = None
        self.conversation: Conversation | None = None  # of a graph: what it last showed its model
        self.interrupts: list[dict[str, Any]] | None = None
        self.first_chunk_s: float | None = None


class Callers(msgspec.Struct, frozen=True):
    """The code objects by which a run that a graph began is told from the run of any other runnable."""

    managers: frozenset[CodeType] = frozenset()
    graphs: frozenset[CodeType] = frozenset()


def begun_by_graph(callers: Callers) -> bool:
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


class Runs:
    """Runs to steps. `callers` tells which code a graph's own runs come from, once that is imported."""

    def __init__(self, callers: Callable[[], Callers]) -> None:
        self.enabled = True
        self.runs: dict[UUID, Step] = {}
        self._callers = callers
        self._recorder: Recorder | None = None
        self._histories = Histories()
        self._purge_at = _PURGE_RUNS

    def _parent(self, parent_run_id: UUID | None) -> Step | None:
        return self.runs.get(parent_run_id) if parent_run_id is not None else None

    def _opened(self, step: Step, run_id: UUID, ns: str, parent: Step | None) -> Memory:
        """Keep a model's, tool's or retriever's step until its run ends."""
        agent = parent.memory.agent if parent is not None and parent.memory is not None else None
        memory = step.memory = Memory(run_id, ns, agent)
        self.runs[run_id] = step
        if step.kind != "TOOL":
            bind(step)
        return memory

    def _history(self, recorder: Recorder, session_id: str) -> History:
        """Return what of a session is in the recorder's journal; another recorder's is another journal."""
        if recorder is not self._recorder:
            self._recorder = recorder
            self._histories = Histories()
        return self._histories.of(session_id)

    def _purge(self) -> None:
        """Forget runs whose end LangChain did not tell: of cancelled tools, of generators that were dropped."""
        for run_id in list(self.runs):  # not the items: a collection may run, and end runs, as their tuples are made
            step = self.runs.get(run_id)
            if step is not None and step.ended:
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

    def _failed_with(self, error: BaseException, run_id: UUID) -> None:
        """End a run's step by the exception that ended the run."""
        step = self._ending(run_id)
        if step is None:
            return
        outcome = outcome_of(error)
        details: dict[str, Any] = {}
        if outcome == "interrupted":
            asked = interrupts_of(error)
            if recorder_of(step).content:
                details["interrupts"] = asked
            if step.kind == "NODE" and step.memory.agent is not None:
                # The graph pauses with its node. LangGraph says so too, with the checkpoint, in versions that have
                # `langgraph.callbacks`; in older ones this is all there is to know it by.
                graph: Memory = step.memory.agent.memory
                graph.interrupts = graph.interrupts or (asked if recorder_of(step).content else [])
        step.end(outcome, error=error if outcome in ("error", "cancelled") else None, details=details)
        if outcome == "cancelled":
            self._purge()

    def _content(self, recorder: Recorder, field: str, value: Any, step: Step | None) -> dict[str, Any]:
        if not recorder.content or value is None:
            return {}
        try:
            if step is None:
                return {field: plain_update(value, History())}
            return {field: plain_update(value, self._history(recorder, step.session_id))}
        except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its step
            return {field: "[could not be read]"}


def session_id_of(metadata: Any, parent: Step | None = None) -> str | None:
    """Return the framework's own session id for a root: its thread."""
    thread = metadata.get("thread_id")
    return None if parent is not None or thread is None else text_of(thread)
