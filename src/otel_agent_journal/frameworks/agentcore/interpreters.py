"""AgentCore's code interpreter: entries that code prints there become events under the tool that runs it.

Its client returns a stream, which is listened to as the program reads it. What was said is read once, at its end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

from otel_agent_journal.frameworks.agentcore.boundary import kept_from_app
from otel_agent_journal.markers import ENTRY
from otel_agent_journal.pipeline.marked import Output, take_entries
from otel_agent_journal.pipeline.step import Step, current_step
from otel_agent_journal.pipeline.streams import journaled


def listening(original: Callable[..., Any], is_enabled: Callable[[], bool]) -> Callable[..., Any]:
    """Return what stands for `CodeInterpreter.invoke`: it answers the same, and is listened to within a step."""

    @functools.wraps(original)
    def invoke(*args: Any, **kwargs: Any) -> Any:
        answer: Any = original(*args, **kwargs)
        with kept_from_app("what a code interpreter printed"):
            step = current_step() if is_enabled() else None
            if step is not None and type(answer) is dict:
                response = cast("dict[str, Any]", answer)
                if response.get("stream") is not None:
                    response["stream"] = journaled(response["stream"], Printed(step))
        return cast("Any", answer)

    return invoke


class Printed:
    """Gathers what a code interpreter prints, for the step in which it was called; see `streams.Listener`."""

    def __init__(self, step: Step) -> None:
        self._step: Step | None = step
        self._output = Output()

    def part(self, event: Any) -> None:
        """Take what a part of the stream says: the text of its content, or else its stdout."""
        with kept_from_app("what a code interpreter printed"):
            result = _mapping(_mapping(event).get("result"))
            content: Any = result.get("content")
            texts = [_mapping(one).get("text") for one in cast("list[Any]", content if type(content) is list else [])]
            if not any(isinstance(text, str) and ENTRY in text for text in texts):
                texts.append(_mapping(result.get("structuredContent")).get("stdout"))
            for text in texts:
                self._output.take(text)

    def ended(self) -> None:
        """Journal the entries in what was said, once."""
        step, self._step = self._step, None
        if step is not None:
            take_entries(step, self._output.texts, itself=True)

    def died(self, error: BaseException) -> None:
        """Journal what was said until then."""
        self.ended()

    def left(self) -> None:
        """Journal what was read."""
        self.ended()


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if type(value) is dict else {}
