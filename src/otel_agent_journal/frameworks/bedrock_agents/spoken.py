"""The stream of a model's answer, folded to the message that it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

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
        self._blocks: dict[Any, dict[str, Any]] = {}

    def take(self, event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Take an event; yield what of it is text: CHUNK or REASONING, and the text."""
        for name, body in event.items():
            said = mapping(body)
            match name:
                case "messageStart":
                    self._role = text(said.get("role")) or self._role
                case "contentBlockStart":
                    self._block(said).update(mapping(said.get("start")))
                case "contentBlockDelta":
                    yield from self._delta(self._block(said), mapping(said.get("delta")))
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
        blocks = [_whole(one) for _, one in sorted(self._blocks.items(), key=lambda pair: str(pair[0]).zfill(9))]
        message = {"role": self._role, "content": blocks} if blocks or self.is_over else None
        return Answer(message, self._stop, self._usage or None)

    def _block(self, said: Mapping[str, Any]) -> dict[str, Any]:
        return self._blocks.setdefault(said.get("contentBlockIndex", 0), {})

    def _delta(self, block: dict[str, Any], delta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for name, found in delta.items():
            if isinstance(found, str):
                block[name] = text(block.get(name)) + found
                if name == "text":
                    yield CHUNK, found
            elif name == "toolUse":
                use = dict(mapping(block.get(name)))
                block[name] = {**use, "input": text(use.get("input")) + text(mapping(found).get("input"))}
            elif name == "reasoningContent":
                yield from self._thought(block, mapping(found))
            else:
                block.setdefault(name, []).append(found)

    def _thought(self, block: dict[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if "redactedContent" in found:
            block["reasoningContent"] = dict(found)
            return
        known = dict(mapping(mapping(block.get("reasoningContent")).get("reasoningText")))
        for name, said in found.items():
            known[name] = text(known.get(name)) + text(said)
        block["reasoningContent"] = {"reasoningText": known}
        if thought := text(found.get("text")):
            yield REASONING, thought


def _whole(block: dict[str, Any]) -> dict[str, Any]:
    use = block.get("toolUse")
    if use is None:
        return block
    said: Any = cast("Mapping[str, Any]", use).get("input", "")
    asked: Any = decoded(said) if said else {}
    return {**block, "toolUse": {**use, "input": said if asked is None else asked}}
