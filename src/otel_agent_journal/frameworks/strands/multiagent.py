"""Graphs and swarms: a step for each invocation and for each node, from Strands' own hooks.

Strands opens a span for a graph or swarm, which the step adopts, and none for its nodes. Its hooks say that a node is
over and not how: the state of its graph tells. A node that is interrupted has no such hook, it ends with its graph.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.foreign import is_a
from otel_agent_journal.frameworks.strands import outcomes
from otel_agent_journal.frameworks.strands.contexts import call_of, context_of
from otel_agent_journal.frameworks.strands.invocations import Invocations
from otel_agent_journal.frameworks.strands.opened import Opened
from otel_agent_journal.frameworks.strands.said import said_of, session_id_of
from otel_agent_journal.mapping.converse import plain_messages
from otel_agent_journal.mapping.genai import INVOKE_WORKFLOW, OPERATION_NAME
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step


class Running:
    """One invocation of a graph or swarm while it runs."""

    __slots__ = ("around", "before", "nodes", "passing", "resumes", "step")

    def __init__(self, step: Step, around: Context, passing: BaseException | None) -> None:
        self.step = step
        self.around = around
        self.passing = passing
        self.resumes: str | None = None  # the checkpoint, until it is said that the step goes on from there
        self.before: Mapping[str, str] = {}  # of the invocation that is resumed: its interrupted nodes' step ids
        self.nodes: dict[str, tuple[Step, Context]] = {}


class MultiAgentSteps(Invocations):
    """Callbacks for graphs, swarms and their nodes."""

    def __init__(self) -> None:
        super().__init__()
        self._running: Opened[Running] = Opened()

    def before_multi_agent(self, event: Any) -> None:
        """Open a graph's or swarm's step, and make it the current one."""
        recorder = get_recorder()
        if recorder is None or not self.enabled:
            return
        try:
            source, around, call = event.source, context_api.get_current(), call_of(event.source)
            kind = type(source).__name__.lower()
            state: Any = getattr(source, "_interrupt_state", None)
            resumes = getattr(state, "activated", False)
            before = self.pauses.of(source) if resumes else None
            step = recorder.start_step(
                "AGENT",
                str(getattr(source, "id", None) or kind),
                session_id=session_id_of(source) or (before.session_id if before is not None else None),
                attributes={OPERATION_NAME: INVOKE_WORKFLOW},
                details={**said_of(recorder, source), **_task(recorder, call.prompt if call is not None else None)},
                links=self.pauses.links(source) if resumes else (),
                waits=self.adopting and recorder.spans_are_real(),
            )
            running = Running(step, around, sys.exc_info()[1])
            self._running.add(source, running)
            if call is not None:
                call.opened.append(running)
            context_api.attach(context_of(step, around, "invoke_", outlives=True))
            # The answers are taken after this hook: what waits for one is known already.
            if resumes:
                running.resumes = outcomes.checkpoint_of(state.interrupts.values())
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            recorder.failed("a step could not be journaled")

    def after_multi_agent(self, event: Any) -> None:
        """End a graph's or swarm's step, and the nodes that were interrupted."""
        source = event.source
        running = self._running.pop(source)
        if running is None:
            return
        step = running.step
        try:
            context_api.attach(running.around)
            self._say_resumed(running, source)
            error = outcomes.live_exception(running.passing)
            state: Any = source.state
            status: Any = getattr(state, "completion_status", None) or getattr(state, "status", None)
            outcome = outcomes.outcome_of_status(status)
            if error is not None:
                outcome = outcomes.outcome_of_exception(error)
            for node, _ in running.nodes.values():
                node.end("interrupted" if outcome == "interrupted" else "cancelled")
            if outcome == "interrupted":
                waiting = [one for one in source._interrupt_state.interrupts.values() if one.response is None]  # noqa: SLF001
                nodes = {name: node.step_id for name, (node, _) in running.nodes.items()}
                step.end(outcome, details=self.pauses.begin(step, source, waiting, nodes))
            elif outcome == "error":
                step.end(outcome, error=outcomes.error_of(error) if error else _failure_of(state))
            else:
                step.end(outcome)
        except Exception:  # noqa: BLE001 - the one boundary
            self.lost(step, "ok")

    def forget(self, owner: Any, opened: Any) -> None:
        """Forget an invocation, where it is still remembered, and end the nodes it has left open."""
        super().forget(owner, opened)
        if self._running.remove(owner, opened):
            for node, _ in opened.nodes.values():
                node.end("cancelled")

    def before_node(self, event: Any) -> None:
        """Open a node's step, and make it the current one."""
        runs = self._running.of(event.source)
        if not runs or not self.enabled:
            return
        running = runs[-1]
        recorder = recorder_of(running.step)
        try:
            around = context_api.get_current()
            self._say_resumed(running, event.source)
            step = recorder.start_step(
                "NODE", event.node_id, parent=running.step, step_id=running.before.get(event.node_id)
            )
            running.nodes[event.node_id] = (step, around)
            context_api.attach(step.context(around))
        except Exception:  # noqa: BLE001 - the one boundary
            recorder.failed("a step could not be journaled")

    def after_node(self, event: Any) -> None:
        """End a node's step as its graph's state says."""
        runs = self._running.of(event.source)
        found = runs[-1].nodes.pop(event.node_id, None) if runs else None
        if found is None or not runs:
            return
        step, around = found
        try:
            context_api.attach(around)
            error = outcomes.live_exception(runs[-1].passing)
            if error is not None:
                outcome, failure = outcomes.outcome_of_exception(error), outcomes.error_of(error)
                self.left_below(step, outcome, failure)
                step.end(outcome, error=failure)
                return
            result: Any = event.source.state.results.get(event.node_id)
            outcome = outcomes.outcome_of_status(getattr(result, "status", None))
            inner: Any = getattr(result, "result", None)
            failure = outcomes.error_of(inner) if outcome == "error" and is_a(inner, BaseException) else None
            self.left_below(step, outcome, failure)
            step.end(outcome, error=failure)
        except Exception:  # noqa: BLE001 - the one boundary
            self.lost(step, "ok")

    def _say_resumed(self, running: Running, source: Any) -> None:
        """Journal that a graph or swarm is resumed, now that its step has begun."""
        checkpoint, running.resumes = running.resumes, None
        if checkpoint is not None:
            running.before = self.pauses.end(running.step, source, checkpoint)


def _task(recorder: Recorder, task: Any) -> dict[str, Any]:
    if not recorder.content or task is None:
        return {}
    if is_a(task, list):
        said = plain_messages({"role": "user", "content": task})
        return {"input": said[-1]["content"] if said else task}
    return {"input": task}


def _failure_of(state: Any) -> BaseException | ErrorInfo:
    """Return why a graph or swarm failed: its first failed node's reason, where one says it."""
    for result in list(getattr(state, "results", {}).values()):
        inner: Any = getattr(result, "result", None)
        if is_a(inner, BaseException):
            return outcomes.error_of(inner)
    return ErrorInfo(type="MultiAgentFailed", message="the graph or swarm ended as failed")
