"""The tool calls of a session: what was asked, what came, and what of the world each may have changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.event import ErrorInfo, JournalEvent, kind_of
from otel_agent_journal.mapping.genai import TOOL_CALL_ID
from otel_agent_journal.mapping.harmless import CUT
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.values import mappings_in

READ: Final = "read"
UNDECLARED: Final = "undeclared"


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a tool call. `outcome` is None while it runs, `interrupted` where its process died within it.

    `number` is the step's in its session. `whole`: what it was given and what it returned are in the journal as they
    were. `raw` is what the framework's own form of the result holds more.
    """

    session_id: str
    step_id: str
    number: int
    name: str
    start_ns: int
    call_id: str | None = None
    arguments: Any = None
    output: Any = None
    raw: Any = None
    outcome: str | None = None
    error: ErrorInfo | None = None
    effects: str = UNDECLARED
    end_ns: int | None = None
    whole: bool = False

    @property
    def may_have_changed_the_world(self) -> bool:
        """Whether it was not declared to read only."""
        return self.effects != READ


def tree_with_tools(events: Iterable[JournalEvent], *, lost_writers: Collection[str] = frozenset()) -> StepTree:
    """Return a session's steps with what its tools took and gave; of others that is left out."""
    kept = (event if kind_of(event.type) == "TOOL" else outline(event) for event in events)
    return fold_steps(kept, lost_writers=lost_writers)


def tool_calls(
    session_id: str, tree: StepTree, resolved: Callable[[str, Any], Any], *, since_ns: int = 0
) -> Iterator[ToolCall]:
    """Yield the attempts at tool calls that began at a time or later, in order of their steps.

    Args:
        session_id: whose tree it is.
        tree: with the details of tools.
        resolved: replaces blob references, given a session and a value.
        since_ns: UTC nanoseconds.
    """
    for step in tree.steps:
        if step.kind != "TOOL":
            continue
        for attempt in step.attempts:
            if attempt.start_ns < since_ns:
                continue
            start, end = attempt.details_start, attempt.details_end
            given, got = resolved(session_id, start.get("input")), resolved(session_id, end.get("output"))
            raw = resolved(session_id, end.get("raw"))
            whole = "input" in start and "output" in end and not start.get(CUT) and not end.get(CUT)
            yield ToolCall(
                session_id=session_id,
                step_id=step.step_id,
                number=step.number,
                name=step.name,
                call_id=_call_id(start),
                arguments=given,
                output=got,
                raw=raw,
                outcome=attempt.outcome,
                error=attempt.error,
                effects=str(start.get("effects") or UNDECLARED),
                start_ns=attempt.start_ns,
                end_ns=attempt.end_ns,
                whole=whole and not any(map(_has_reference, (given, got, raw))),
            )


def distinct(calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Return each attempt once, where a session turned back to before it more than once."""
    return list({(call.session_id, call.step_id, call.start_ns): call for call in calls}.values())


def _call_id(details: Mapping[str, Any]) -> str | None:
    attributes: Any = details.get("attributes")
    found = cast("Mapping[str, Any]", attributes).get(TOOL_CALL_ID) if isinstance(attributes, Mapping) else None
    return found if isinstance(found, str) else None


def _has_reference(value: Any) -> bool:
    return any(map(refers_to_blob, mappings_in(value, lambda mapping: not refers_to_blob(mapping))))
