"""What the commands share that go back: which point is meant, and what has happened in the world after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError, note
from otel_agent_journal.cli.lines import preview

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.reading.points import Point
    from otel_agent_journal.reading.tool_calls import ToolCall

_USAGE: Final = 2
_MAX_SHOWN: Final = 20
_MAX_SAID: Final = 60  # characters of what a tool was given or returned


def found_point(
    journal: Journal, text: str, *, sequence: str | None = None, option: str = "--to-point"
) -> tuple[SessionHead, Point]:
    """Return the session of `SESSION[@STEP]`, and the point; says where that lies before the step that was asked for.

    Args:
        journal: where it is looked for.
        text: as on the command line.
        sequence: an event of an agent's context, `[INSTANCE:]SEQ`, in place of a step.
        option: which gave that.

    Raises:
        CliError: both were given, or `sequence` is no number.
        SessionNotFound, NoSuchStep, NoSuchPoint: there is none.
    """
    from otel_agent_journal.bootstrap.going_back import point_of
    from otel_agent_journal.reading.points import point_at_event

    head, step = journal.session_and_step(text)
    if sequence is None:
        point = point_of(journal, head, step)
        if point.asked is not None and point.number is not None and point.asked != point.number:
            earlier = readable.plural(point.asked - point.number, "step")
            note(f"no context is known just before step {point.asked}: step {point.number}, {earlier} earlier, it is")
        return head, point
    if step is not None:
        raise CliError(f"{option} goes in place of @{step}: name a step, or an event of the context", _USAGE)
    instance_id, _, event = sequence.rpartition(":")
    if not event.isdecimal():
        raise CliError(f"{option} is '{sequence}'; the number of an event is expected: SEQ, or INSTANCE:SEQ", _USAGE)
    return head, point_at_event(journal.store, head.session_id, int(event), instance_id or None)


def happened_after(journal: Journal, head: SessionHead, at_ns: int) -> list[ToolCall]:
    """Return the tool calls of a session from a time on that may have changed the world, in order of their steps."""
    from otel_agent_journal.reading.tool_calls import tool_calls, tree_with_tools

    tree = tree_with_tools(journal.events(head.session_id), lost_writers=journal.silent(head))
    calls = tool_calls(head.session_id, tree, journal.resolved, since_ns=at_ns)
    return [call for call in calls if call.may_have_changed_the_world]


def shown(calls: Sequence[ToolCall]) -> Iterator[str]:
    """Yield a line a tool call, for people: which, what it may have changed, when, and what it returned."""
    for call in calls[:_MAX_SHOWN]:
        given = readable.one_line(preview(call.arguments), _MAX_SAID)
        yield (
            f"{call.session_id}@{call.number}  {readable.one_line(call.name, 40)}({given})  {call.effects}"
            f"  {readable.clock(call.start_ns)}  {_came(call)}"
        )
    if len(calls) > _MAX_SHOWN:
        yield f"and {len(calls) - _MAX_SHOWN} more"


def _came(call: ToolCall) -> str:
    if call.outcome is None or call.outcome == "interrupted":
        return "was running when the process ended: it may have happened"
    if call.outcome != "ok":
        return call.outcome
    return f"→ {readable.one_line(preview(call.output), _MAX_SAID)}"


once_option = click.option(
    "--once", is_flag=True, help="Serve what tools returned after the point, and call none of them twice."
)
