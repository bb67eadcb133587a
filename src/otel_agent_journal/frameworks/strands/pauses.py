"""How agents, graphs and swarms were interrupted, until they go on in this process. None of it is needed to go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.trace import Link, SpanContext

from otel_agent_journal.frameworks.strands import outcomes
from otel_agent_journal.pipeline.recorder import recorder_of
from otel_agent_journal.pipeline.step import Step


class Pause:
    """One interruption: at which checkpoint, in which session and span, and the step ids of the nodes that wait."""

    __slots__ = ("checkpoint", "nodes", "session_id", "span")

    def __init__(self, checkpoint: str, session_id: str, span: SpanContext, nodes: Mapping[str, str]) -> None:
        self.checkpoint = checkpoint
        self.session_id = session_id
        self.span = span
        self.nodes = nodes


class Pauses:
    """The pauses of those that still wait."""

    def __init__(self) -> None:
        self._waiting: WeakKeyDictionary[Any, Pause] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._waiting)

    def of(self, owner: Any) -> Pause | None:
        """Return how an owner was interrupted, where that was in this process."""
        return self._waiting.get(owner)

    def begin(self, step: Step, owner: Any, interrupts: list[Any], nodes: Mapping[str, str]) -> dict[str, Any]:
        """Remember an interruption; return the details of the ending that says it."""
        details: dict[str, Any] = {"interrupts": outcomes.asked(interrupts, content=recorder_of(step).content)}
        checkpoint = outcomes.checkpoint_of(interrupts)
        if checkpoint is not None:
            details["checkpoint_id"] = checkpoint
            self._waiting[owner] = Pause(checkpoint, step.session_id, step.span.get_span_context(), nodes)
        return details

    def end(self, step: Step, owner: Any, checkpoint: str | None) -> Mapping[str, str]:
        """Journal that a step goes on from a checkpoint, if from any; return the step ids of the nodes that waited."""
        before = self._waiting.pop(owner, None)
        if checkpoint is None:
            return {}
        recorder_of(step).resumed(step, checkpoint if before is None else before.checkpoint)
        return {} if before is None else before.nodes

    def links(self, owner: Any) -> tuple[Link, ...]:
        """Return the link of an invocation that resumes: to the span of the interrupted one, where that is known."""
        before = self._waiting.get(owner)
        return () if before is None else (Link(before.span),)
