"""The stream of a flow as steps: its nodes, the agents within them, its outputs and its questions. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from otel_agent_journal.event import FINAL_RESPONSE, PROGRESS
from otel_agent_journal.frameworks.bedrock_agents import shapes
from otel_agent_journal.frameworks.bedrock_agents.actions import ROOT, Action, Begin, End, Ending, Note, Text
from otel_agent_journal.frameworks.bedrock_agents.agents import left_open
from otel_agent_journal.frameworks.bedrock_agents.shapes import mapping, present, text
from otel_agent_journal.frameworks.bedrock_agents.traces import AgentTraces

_MAX_NODES = 10_000  # that are open at once; the oldest is taken to be over


class FlowFold:
    """Folds the parts of a flow's response stream into actions.

    Args:
        execution_id: of this execution; a question is answered under it.
    """

    def __init__(self, execution_id: str = "") -> None:
        self.execution_id = execution_id
        self._keys = itertools.count(ROOT + 1)
        self._open: list[tuple[str, int]] = []  # nodes by name and key: a loop has the same one open more than once
        self._agents: dict[int, AgentTraces] = {}
        self._decided: set[str] = set()
        self._outputs: list[Any] = []
        self._questions: list[dict[str, Any]] = []
        self._completed = False

    @property
    def is_answered(self) -> bool:
        """Tell whether the flow has said that it is complete."""
        return self._completed

    def part(self, event: Mapping[str, Any]) -> Iterator[Action]:
        """Yield what one event of the stream says."""
        for kind, body in event.items():
            said = mapping(body)
            match kind:
                case "flowTraceEvent":
                    yield from self._trace(mapping(said.get("trace")))
                case "flowOutputEvent":
                    yield from self._output(said)
                case "flowMultiTurnInputRequestEvent":
                    asked = mapping(said.get("content")).get("document")
                    self._questions.append({"id": text(said.get("nodeName")), "value": asked})
                case "flowCompletionEvent":
                    self._completed = True
                case _:
                    pass

    def ending(self) -> Ending:
        """Return how the flow ended, its stream being over."""
        output = self._outputs[0] if len(self._outputs) == 1 else self._outputs
        details = present(output=output)
        if not self._questions:
            return Ending("ok", details)
        at = {"checkpoint_id": self.execution_id} if self.execution_id else {}
        return Ending("interrupted", {**at, "interrupts": self._questions, **details})

    def left_open(self, ending: Ending) -> Iterator[Action]:
        """End the nodes that nothing ended, as the flow ends, and say what came of it."""
        for name, key in reversed(self._open):
            yield from self._close(name, key, End(key, ending.outcome, error=ending.error))
        self._open.clear()
        if ending.outcome == "ok" and ending.details:
            yield Note(ROOT, FINAL_RESPONSE, dict(ending.details))

    def _output(self, said: Mapping[str, Any]) -> Iterator[Action]:
        document = mapping(said.get("content")).get("document")
        self._outputs.append(document)
        if isinstance(document, str):
            yield Text(document)
        name = text(said.get("nodeName"))
        key = self._take(name)
        if key is not None:
            yield from self._close(name, key, End(key, details=present(output=document)))

    def _trace(self, trace: Mapping[str, Any]) -> Iterator[Action]:
        for kind, body in trace.items():
            said = mapping(body)
            name = text(said.get("nodeName")) or "node"
            match kind:
                case "nodeInputTrace":
                    yield from self._begin(name, _fields(said, "nodeInputName"))
                case "nodeOutputTrace":
                    yield from self._end(name, present(output=_fields(said, "nodeOutputName")))
                case "conditionNodeResultTrace":
                    held = [text(one.get("conditionName")) for one in shapes.items(said.get("satisfiedConditions"))]
                    yield from self._end(name, {"output": held})
                    self._decided.add(name)
                case "nodeActionTrace":
                    called = f"{text(said.get('serviceName'))}.{text(said.get('operationName'))}".strip(".")
                    details = {"message": called or "called a service"}
                    request, response = said.get("operationRequest"), said.get("operationResponse")
                    yield Note(self._find(name), PROGRESS, {**details, **present(input=request, output=response)})
                case "nodeDependencyTrace":
                    if self._find(name) == ROOT:
                        yield from self._begin(name, {})
                    agent = self._agent(self._find(name))
                    for part in shapes.items(mapping(said.get("traceElements")).get("agentTraces")):
                        yield from agent.part(part)
                case _:
                    pass

    def _begin(self, name: str, given: dict[str, Any]) -> Iterator[Action]:
        if len(self._open) >= _MAX_NODES:
            stale_name, stale = self._open.pop(0)
            yield from self._close(stale_name, stale, End(stale))
        key = next(self._keys)
        self._open.append((name, key))
        yield Begin(key, ROOT, "NODE", name, present(input=given), {})

    def _end(self, name: str, details: dict[str, Any]) -> Iterator[Action]:
        key = self._take(name)
        if key is None:
            if name in self._decided:  # a condition node's result was its end
                return
            key = next(self._keys)
            yield Begin(key, ROOT, "NODE", name, {}, {})
        yield from self._close(name, key, End(key, details=details))

    def _close(self, name: str, key: int, end: End) -> Iterator[Action]:
        agent = self._agents.pop(key, None)
        if agent is not None:
            failure = agent.agent.failure
            yield from left_open(agent.agent, "error" if failure else end.outcome, failure or end.error)
            if failure is not None:
                end = end._replace(outcome="error", error=failure)
        yield end

    def _agent(self, key: int) -> AgentTraces:
        found = self._agents.get(key)
        if found is None:
            found = self._agents[key] = AgentTraces(key, lambda: next(self._keys))
        return found

    def _find(self, name: str) -> int:
        return next((key for known, key in self._open if known == name), ROOT)

    def _take(self, name: str) -> int | None:
        for place, (known, key) in enumerate(self._open):
            if known == name:
                del self._open[place]
                return key
        return None


def _fields(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the fields of a node's input or output by name."""
    return {
        text(one.get(name)): mapping(one.get("content")).get("document") for one in shapes.items(said.get("fields"))
    }
