"""How a run ends its step: by its exception, at a question, with its parent where LangChain tells of no end.

A node that asyncio cancels is held until its graph ends, or goes on: only then is it known whether the node was over
its time, which is an error of its own, or was cancelled for something else.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID
from weakref import ref

from otel_agent_journal.frameworks.langgraph.outcomes import (
    explains,
    interrupts_of,
    is_task_cancel,
    left_at_interrupt,
    outcome_of,
)
from otel_agent_journal.frameworks.langgraph.runs import Callers, Memory, Runs
from otel_agent_journal.pipeline.recorder import recorder_of
from otel_agent_journal.pipeline.step import Step

_MAX_INTERRUPTED: Final = 1_000  # interrupted runs that a resumed one in this process can be linked to


class Endings(Runs):
    """What the callbacks for chains, models and tools share at the end of a run."""

    def __init__(self, callers: Callable[[], Callers]) -> None:
        super().__init__(callers)
        self._interrupted: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def _end(self, step: Step, outcome: str, **said: Any) -> None:
        """End a step, and forget the runs of those that end with it."""
        with_others = step.has_open
        step.end(outcome, **said)
        if with_others:
            self._purge()

    def _failed_with(self, error: BaseException, run_id: UUID) -> None:
        """End a run's step by the exception that ended the run."""
        step = self._ending(run_id)
        if step is None:
            return
        memory: Memory = step.memory
        outcome = outcome_of(error)
        if outcome == "cancelled":
            if memory.timed_out is not None:
                outcome, error = "error", memory.timed_out
            elif memory.interrupts is not None and left_at_interrupt(error, memory.cut or bool(memory.held)):
                outcome = "interrupted"
            elif step.kind == "NODE" and is_task_cancel(error) and memory.agent is not None:
                memory.agent.memory.held.append((step, error))
                return
        details = {**self._stands(step), **(self._asked(step, error) if outcome == "interrupted" else {})}
        self._release(memory, error)
        self._tell_above(step, outcome, error, details)
        self._end(step, outcome, error=error if outcome in ("error", "cancelled") else None, details=details)

    def runs_in_loop(self, run_id: Any, loop: Any) -> None:
        """Keep the loop of a root's run, as long as LangGraph does."""
        step = self.runs.get(run_id)
        if step is not None and step.parent is None and step.memory.run_id == run_id:
            step.memory.loop = ref(loop)

    def _stands(self, step: Step) -> dict[str, Any]:
        """Return of a root that has a checkpointer the checkpoint it stands at, and the one it began from."""
        found: dict[str, Any] = {}
        loop = step.memory.loop() if step.memory.loop is not None else None
        if loop is not None and loop.checkpointer is not None:
            with contextlib.suppress(Exception):  # it failed before it had read any
                found["checkpoint_id"] = loop.checkpoint["id"]
                if loop._has_persisted_parent:  # noqa: SLF001 - an older LangGraph does not tell it
                    found["from_checkpoint_id"] = loop.checkpoint_id_saved
        return found

    def _asked(self, step: Step, error: BaseException) -> dict[str, Any]:
        """Return the questions of an interrupted step."""
        if step.kind == "AGENT" and step.parent is None:
            self._pauses(step, self._stands(step).get("checkpoint_id"))
        return {"interrupts": step.memory.interrupts or interrupts_of(error)} if recorder_of(step).content else {}

    def _tell_above(self, step: Step, outcome: str, error: BaseException, details: Mapping[str, Any]) -> None:
        """Let the step around one that failed know: it pauses with it, and is cancelled or left with it.

        LangGraph says so too, with the checkpoint, in versions that have `langgraph.callbacks`; in older ones, and of
        a stream that is left at the question, this is all there is to know it by.
        """
        above = step.parent.memory if step.parent is not None else None
        if isinstance(above, Memory):
            above.failure = id(error)
            above.cut = above.cut or outcome == "cancelled"
            if outcome == "interrupted" and above.interrupts is None:
                above.interrupts = details.get("interrupts", [])

    def ran_out_of_time(self, task: Any, error: BaseException) -> None:
        """Remember why the node that runs in an asyncio task is about to be cancelled."""
        for run_id in list(self.runs):  # as in `_purge`
            step = self.runs.get(run_id)
            if step is not None and step.kind == "NODE" and step.place is not None and step.place.runs_in(task):
                step.memory.timed_out = error

    def _pauses(self, graph: Step, checkpoint: str | None) -> None:
        """Remember where a root pauses, for the one that goes on from there."""
        known = self._interrupted
        if checkpoint is not None:
            known[(graph.session_id, checkpoint)] = graph.span.get_span_context()
            if len(known) > _MAX_INTERRUPTED:
                known.popitem(last=False)

    def _release(self, memory: Memory, error: BaseException | None) -> None:
        """End the nodes that were cancelled as their graph ended, or by now would have."""
        held, memory.held = memory.held, []
        for node, cancel in held:
            if error is not None and explains(error, node.name, id(error) == memory.failure):
                self._end(node, "error", error=error)
            else:
                memory.cut = True
                self._end(node, "cancelled", error=cancel)
