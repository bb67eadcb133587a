"""A scripted model for Strands, in place of the LLM: it answers as told, and streams as providers do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from strands.models.model import Model


def say(text: str, *, thought: str | None = None, stop: str = "end_turn") -> dict[str, Any]:
    """Return a turn in which the model answers."""
    return {"text": text, "thought": thought, "calls": [], "stop": stop}


def call(*calls: tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str], text: str = "") -> dict[str, Any]:
    """Return a turn in which the model asks for tools: each a name, its input and, if it matters, the call's id."""
    return {"text": text, "thought": None, "calls": list(calls), "stop": "tool_use"}


class ScriptedModel(Model):
    """Gives one turn after the other; a turn that is an exception is raised, one that is callable is asked.

    Args:
        turns: what `say` and `call` return, exceptions, or functions from the messages to one of these.
        model_id: the model's name.
        delay_s: between two pieces of the stream.
        usage: what each call counts.
    """

    def __init__(
        self,
        turns: Iterable[Any],
        *,
        model_id: str = "scripted-1",
        delay_s: float = 0.0,
        usage: dict[str, int] | None = None,
    ) -> None:
        self.turns = list(turns)
        self.config: dict[str, Any] = {"model_id": model_id, "temperature": 0.0}
        self.delay_s = delay_s
        self.usage = usage or {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
        self.asked: list[Any] = []
        self._calls = 0

    def update_config(self, **model_config: Any) -> None:
        """Change the configuration."""
        self.config.update(model_config)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return self.config

    async def structured_output(
        self, output_model: Any, prompt: Any, system_prompt: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Answer with the next turn's text as the fields of a model."""
        turn = self._next(prompt)
        yield {"output": output_model(**json.loads(turn["text"]))}

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """Stream the next turn: word by word, then each call."""
        turn = self._next(messages)
        yield {"messageStart": {"role": "assistant"}}
        if turn["thought"]:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"reasoningContent": {"text": turn["thought"]}}}}
            yield {"contentBlockStop": {}}
        if turn["text"]:
            yield {"contentBlockStart": {"start": {}}}
            for piece in _words(turn["text"]):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                yield {"contentBlockDelta": {"delta": {"text": piece}}}
            yield {"contentBlockStop": {}}
        for name, given, *given_id in turn["calls"]:
            self._calls += 1
            call_id = given_id[0] if given_id else f"call-{self._calls}"
            yield {"contentBlockStart": {"start": {"toolUse": {"name": name, "toolUseId": call_id}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(given)}}}}
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": turn["stop"]}}
        yield {"metadata": {"usage": dict(self.usage), "metrics": {"latencyMs": 7}}}

    def _next(self, messages: Any) -> Any:
        self.asked.append(list(messages))
        turn = self.turns.pop(0) if self.turns else say("done")
        if callable(turn) and not isinstance(turn, type):
            turn = turn(messages)
        if isinstance(turn, BaseException):
            raise turn
        return turn


def _words(text: str) -> Sequence[str]:
    head, *rest = text.split(" ")
    return [head, *(f" {word}" for word in rest)]
