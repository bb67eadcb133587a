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
from weakref import ref

import msgspec

from otel_agent_journal.frameworks.langgraph.calls import bind
from otel_agent_journal.frameworks.langgraph.messages import plain_update
from otel_agent_journal.pipeline.conversation import Conversation
from otel_agent_journal.pipeline.place import Place
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step import Step, current_context, current_step
from otel_agent_journal.plain import text_of

_MAX_RUNS: Final = 100_000  # runs whose end never came are forgotten, the oldest first
_PURGE_RUNS: Final = 1_000  # from how many on they are looked through


class Memory:
    """What is kept with a step: its run, its namespace, and the graph it runs in."""

    __slots__ = (
        "agent",
        "call_id",
        "calls",
        "conversation",
        "cut",
        "failure",
        "first_chunk_s",
        "held",
        "interrupts",
        "loop",
        "ns",
        "run_id",
        "served",
        "thought",
        "timed_out",
    )

    def __init__(self, run_id: UUID, ns: str, agent: Step | None) -> None:
        self.run_id = run_id
        self.ns = ns
        self.agent = agent
        self.loop: ref[Any] | None = None  # of a root graph: LangGraph's own loop, which has its checkpoints
        self.conversation: Conversation | None = None  # of a graph: what it last showed its model
        self.interrupts: list[dict[str, Any]] | None = None  # what was asked in it, or below it
        self.cut = False  # something below it was cancelled
        self.failure: int | None = None  # the id of the error that something below it failed with last
        self.held: list[tuple[Step, BaseException]] = []  # of a graph: nodes whose cancel its end explains
        self.timed_out: BaseException | None = None  # of a node: it is cancelled for this
        self.call_id: str | None = None  # of a tool
        self.served: str | None = None  # of a tool that was not called: the step whose result stands for it
        self.calls: dict[str, Call] = {}  # of the tools below, by the call's id
        self.first_chunk_s: float | None = None
        self.thought = False  # a model has streamed what it thinks


class Call(msgspec.Struct):
    """The tool calls of one id in one step: how many steps they are, and what may still be tried again."""

    asked: tuple[str, str]  # the tool and its input, of the last of them
    steps: int = 1
    failed: bool = False


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
        self._purge_at = _PURGE_RUNS

    def _parent(self, parent_run_id: UUID | None) -> Step | None:
        """Return the step of the parent run; of a run that another tracer opened, the step of ours around it."""
        if parent_run_id is None:
            return None
        known = self.runs.get(parent_run_id)
        if known is None:
            around = current_step()
            if around is not None and isinstance(around.memory, Memory) and not around.ended:
                return around
        return known

    def _opened(self, step: Step, run_id: UUID, ns: str, parent: Step | None) -> Memory:
        """Keep a node's, model's, tool's or retriever's step until its run ends."""
        agent = parent.memory.agent if parent is not None and parent.memory is not None else None
        memory = step.memory = Memory(run_id, ns, agent)
        step.place = Place.here()
        self.runs[run_id] = step
        if step.kind != "TOOL":
            bind(step)
        return memory

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

    def _content(self, recorder: Recorder, value: Any, step: Step) -> dict[str, Any]:
        """Return the details of an ending: what was returned."""
        if not recorder.content or value is None:
            return {}
        try:
            history = recorder.histories.of(step.session_id)
            return {"output": plain_update(value, history, conversation=step.memory.conversation)}
        except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its step
            return {"output": "[could not be read]"}

    def _input(self, recorder: Recorder, value: Any, session_id: str | None) -> dict[str, Any]:
        """Return the details of a root's START: what was given, messages that the journal has by reference."""
        if not recorder.content or value is None:
            return {}
        try:
            history = recorder.histories.of(recorder.session_of(current_context(), session_id))
            return {"input": plain_update(value, history, given=True)}
        except Exception:  # noqa: BLE001 - as above
            return {"input": "[could not be read]"}


def session_id_of(metadata: Any, parent: Step | None = None) -> str | None:
    """Return the framework's own session id for a root: its thread."""
    thread = metadata.get("thread_id")
    return None if parent is not None or thread is None else text_of(thread)
