"""The stream of a model's answer, folded to the message that it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otel_agent_journal.event import CHUNK, REASONING
from otel_agent_journal.frameworks.bedrock_agents.bodies import Answer, decoded
from otel_agent_journal.frameworks.bedrock_agents.shapes import mapping, text


class Spoken:
    """Folds events of ConverseStream."""

    def __init__(self) -> None:
        self.is_over = False  # the model has said why it stops
        self._role = "assistant"
        self._stop = ""
        self._usage: dict[str, Any] = {}
        self._blocks: dict[Any, _Block] = {}

    def take(self, event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Take an event; yield what of it is text: CHUNK or REASONING, and the text."""
        for name, body in event.items():
            said = mapping(body)
            match name:
                case "messageStart":
                    self._role = text(said.get("role")) or self._role
                case "contentBlockStart":
                    self._block(said).started.update(mapping(said.get("start")))
                case "contentBlockDelta":
                    yield from self._block(said).take(mapping(said.get("delta")))
                case "messageStop":
                    self._stop = text(said.get("stopReason"))
                    self.is_over = True
                case "metadata":
                    self._usage |= mapping(said.get("usage"))
                case _:
                    pass

    @property
    def answer(self) -> Answer:
        """What was said so far."""
        blocks = [self._blocks[index].whole() for index in sorted(self._blocks)]
        message = {"role": self._role, "content": blocks} if blocks or self.is_over else None
        return Answer(message, self._stop, self._usage or None)

    def _block(self, said: Mapping[str, Any]) -> _Block:
        index = said.get("contentBlockIndex")
        return self._blocks.setdefault(index if type(index) is int else 0, _Block())


class _Block:
    """One block of the answer: how it began, and the pieces of its texts."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self._pieces: dict[tuple[str, str], list[str]] = {}
        self._others: dict[str, list[Any]] = {}

    def take(self, delta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for name, found in delta.items():
            if isinstance(found, str):
                self._add(name, "", found)
                if name == "text":
                    yield CHUNK, found
            elif name == "toolUse":
                self._add(name, "input", text(mapping(found).get("input")))
            elif name == "reasoningContent" and "redactedContent" not in mapping(found):
                for part, said in mapping(found).items():
                    self._add(name, part, text(said))
                if thought := text(mapping(found).get("text")):
                    yield REASONING, thought
            else:
                self._others.setdefault(name, []).append(found)

    def _add(self, name: str, part: str, said: str) -> None:
        self._pieces.setdefault((name, part), []).append(said)

    def whole(self) -> dict[str, Any]:
        found = {**self.started, **{name: one[0] if len(one) == 1 else one for name, one in self._others.items()}}
        for (name, part), pieces in self._pieces.items():
            said = "".join(pieces)
            if name == "reasoningContent":
                known = mapping(mapping(found.get(name)).get("reasoningText"))
                found[name] = {"reasoningText": {**known, part: said}}
            elif not part:
                found[name] = said
        if "toolUse" in found:
            said = "".join(self._pieces.get(("toolUse", "input"), ()))
            asked: Any = decoded(said) if said else {}
            found["toolUse"] = {**mapping(found["toolUse"]), "input": said if asked is None else asked}
        return found
