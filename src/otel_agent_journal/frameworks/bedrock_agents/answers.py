"""The stream of an agent's answer: its text, its files, a request to hand control back, and the trace around. Pure."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from otel_agent_journal.event import FINAL_RESPONSE, PROGRESS
from otel_agent_journal.frameworks.bedrock_agents import shapes
from otel_agent_journal.frameworks.bedrock_agents.actions import ROOT, Action, Ending, Note, Text
from otel_agent_journal.frameworks.bedrock_agents.agents import left_open
from otel_agent_journal.frameworks.bedrock_agents.shapes import mapping, present, text
from otel_agent_journal.frameworks.bedrock_agents.traces import AgentTraces


class AnswerFold:
    """Folds the parts of an agent's response stream into actions.

    Args:
        answers_id: under which the invocation before asked for actions, where this one hands in their results.
        answers: the names of those actions, in order.
    """

    def __init__(self, answers_id: str = "", answers: Sequence[str] = ()) -> None:
        keys = itertools.count(ROOT + 1)
        self._traces = AgentTraces(ROOT, lambda: next(keys), (answers_id, list(answers)))
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text: list[str] = []
        self._length = 0
        self._files: list[dict[str, Any]] = []
        self._sources: dict[str, None] = {}
        self._asked: dict[str, Any] | None = None

    @property
    def is_answered(self) -> bool:
        """Tell whether the agent has said its last word, and all of it has arrived."""
        response = self._traces.agent.response
        return self._asked is not None or (response is not None and self._length >= max(1, len(response)))

    def part(self, event: Mapping[str, Any]) -> Iterator[Action]:
        """Yield what one event of the stream says."""
        for kind, body in event.items():
            said = mapping(body)
            match kind:
                case "trace":
                    yield from self._traces.part(said)
                case "chunk":
                    yield from self._chunk(said)
                case "files":
                    yield from self._wrote(said)
                case "returnControl":
                    self._asked = {
                        "checkpoint_id": text(said.get("invocationId")),
                        "interrupts": [_asked(one) for one in shapes.items(said.get("invocationInputs"))],
                    }
                case _:
                    pass

    def ending(self) -> Ending:
        """Return how the invocation ended, its stream being over."""
        said = "".join(self._text) or self._traces.agent.response or ""
        details = present(output=said, sources=list(self._sources), files=self._files)
        failure = self._traces.agent.failure
        if self._asked is not None:
            return Ending("interrupted", {**self._asked, **details})
        return Ending("ok" if failure is None else "error", details, failure)

    def left_open(self, ending: Ending) -> Iterator[Action]:
        """End what the agent has open as it ends, and say its final response where its trace did not."""
        yield from left_open(self._traces.agent, ending.outcome, ending.error)
        if ending.outcome == "ok" and self._traces.agent.response is None and ending.details.get("output"):
            yield Note(ROOT, FINAL_RESPONSE, {"output": ending.details["output"]})

    def _chunk(self, said: Mapping[str, Any]) -> Iterator[Action]:
        data = said.get("bytes")
        if isinstance(data, bytes):
            piece = self._decode(data)  # a character may be cut in two
            self._text.append(piece)
            self._length += len(piece)
            yield Text(piece)
        shapes.cited(said.get("attribution"), self._sources)

    def _wrote(self, said: Mapping[str, Any]) -> Iterator[Action]:
        wrote = [
            present(name=one.get("name"), type=one.get("type"), bytes=_size(one.get("bytes")))
            for one in shapes.items(said.get("files"))
        ]
        self._files += wrote
        names = ", ".join(text(one.get("name")) for one in wrote)
        yield Note(ROOT, PROGRESS, {"message": f"wrote {names}", "files": wrote})


def _asked(member: Mapping[str, Any]) -> dict[str, Any]:
    """Return one action that the program is to run."""
    for given in member.values():
        call = mapping(given)
        value = present(
            tool=shapes.action_name(call),
            input=shapes.action_input(call),
            confirm=None if call.get("actionInvocationType") in (None, "RESULT") else call["actionInvocationType"],
            collaborator=call.get("collaboratorName"),
        )
        return {"id": value["tool"], "value": value}
    return {}


def _size(data: Any) -> int | None:
    return len(data) if isinstance(data, bytes) else None
