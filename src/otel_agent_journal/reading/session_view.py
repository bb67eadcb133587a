"""A session as a test looks at it: which tools were called, what models were asked and said, what it cost.

assert view.tools == ["search", "fetch"]
assert view.model("plan").prompt[0]["content"].startswith("You plan")
assert view.cost < 0.10
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import msgspec

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.steps import Step, StepTree, fold_steps
from otel_agent_journal.reading.answers import answer_of
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.prompts import prompt_of


class ModelCall:
    """One call of a model.

    Attributes:
        name: of the model.
        answer: what it said: role, content, and tool calls; None where it failed.
        input_tokens, output_tokens: what the call counted.
    """

    def __init__(self, step: Step, asked: Callable[[], dict[str, Any] | None], answer: Any) -> None:
        usage = step.last.usage
        self.name = step.name
        self._ask = asked
        self.answer = answer
        self.input_tokens = usage.input_tokens if usage else 0
        self.output_tokens = usage.output_tokens if usage else 0

    @cached_property
    def _asked(self) -> dict[str, Any]:
        """The request: made when somebody looks at it, since each is as long as all that was said before."""
        return self._ask() or {}

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """The messages that it was shown: role, content, and tool calls."""
        return self._asked.get("messages") or []

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The definitions of the tools that it was offered."""
        return self._asked.get("tools") or []

    @property
    def params(self) -> dict[str, Any]:
        """What else it was called with."""
        return self._asked.get("params") or {}


class ToolCall:
    """One call of a tool.

    Attributes:
        name: of the tool.
        input: its arguments.
        output: what it returned; None where it failed.
        status: ok, error, cancelled, interrupted or running.
    """

    def __init__(self, step: Step, given: Any, output: Any) -> None:
        self.name = step.name
        self.input = given
        self.output = output
        self.status = step.status


class SessionView:
    """A session, read whole when it is made.

    Args:
        journal: where it is.
        session_id: the session.

    Raises:
        SessionNotFound: there is none.
        StoreUnreachable: and other errors of the store.
    """

    def __init__(self, journal: Journal, session_id: str) -> None:
        head = journal.session(session_id)
        events = [_whole(journal, event) for event in journal.events(session_id, head)]
        tree: StepTree = fold_steps(events, lost_writers=journal.silent(head))
        usd = journal.cost(head).usd
        self.session_id = session_id
        self.status = head.status
        self.cost: float = usd or 0.0
        self.steps: list[str] = [f"{step.kind} {step.name}" for step in tree.steps]
        self._models: list[tuple[tuple[str, ...], ModelCall]] = []
        self._tools: list[ToolCall] = []
        for step in tree.steps:
            if step.kind == "MODEL":
                asked = partial(prompt_of, lambda: events, session_id, step, _as_it_is)
                answer = (answer_of(session_id, step, _as_it_is) or {}).get("output")
                self._models.append((_around(tree, step), ModelCall(step, asked, answer)))
            elif step.kind == "TOOL":
                start, end = step.last.details_start, step.last.details_end
                self._tools.append(ToolCall(step, start.get("input"), end.get("output")))

    @property
    def tools(self) -> list[str]:
        """The names of the tools that were called, in order."""
        return [one.name for one in self._tools]

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls of tools, in order."""
        return list(self._tools)

    @property
    def models(self) -> list[ModelCall]:
        """The calls of models, in order."""
        return [call for _, call in self._models]

    def tool(self, name: str) -> ToolCall:
        """Return the first call of a tool.

        Raises:
            LookupError: it was not called.
        """
        found = next((one for one in self._tools if one.name == name), None)
        if found is None:
            raise LookupError(f"tool {name} was not called; what was: {', '.join(self.tools) or 'none'}")
        return found

    def model(self, name: str) -> ModelCall:
        """Return the first call of the model of that name, or of one within the node, tool or agent of that name.

        Raises:
            LookupError: there is none.
        """
        found = next((call for around, call in self._models if name in around), None)
        if found is None:
            known = sorted({one for around, _ in self._models for one in around})
            raise LookupError(f"no model was called in {name}; what has one: {', '.join(known) or 'nothing'}")
        return found


def _whole(journal: Journal, event: JournalEvent) -> JournalEvent:
    """Return an event with the values that it keeps apart: the store may be gone when somebody looks at them."""
    return msgspec.structs.replace(event, details=journal.resolved(event.session_id, event.details))


def _as_it_is(_: str, value: Any) -> Any:
    return value


def _around(tree: StepTree, step: Step) -> tuple[str, ...]:
    """Return the names of a step and of those around it."""
    names: list[str] = []
    one: Step | None = step
    while one is not None and len(names) < 1000:
        names.append(one.name)
        one = tree.step(one.parent_step_id) if one.parent_step_id else None
    return tuple(names)
