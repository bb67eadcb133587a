"""The routes about many sessions together: the dashboard, the timeline, and two sessions compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_agent_journal.projections.head import REASONS, STATUSES
from otel_agent_journal.server import wire_compare, wire_dashboard
from otel_agent_journal.server.dashboard import Asked
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.server.rooms import encode
from otel_agent_journal.server.routes import Call, Param, Route

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

MOST_ROWS: Final = 1000

STATES: Final = Param("status", "Only sessions of these statuses, or interrupted for these reasons.", several=True)
COUNTED: Final = (
    STATES,
    Param("agent", "Only sessions of this agent."),
    Param("user", "Only sessions of this user."),
    Param("tag", "Only sessions that were given this tag, label, or NAME=VALUE.", several=True),
    Param("since", "Updated since: 24h, 7d, all, a date, or RFC 3339; without, the shortest of these with a session."),
    Param("until", "Events until then, and sessions that had begun by then."),
)


def states_of(call: Call) -> tuple[str, ...]:
    """Return the statuses and reasons that a request asks for.

    Raises:
        Refused: one is neither.
    """
    found: list[str] = []
    for text in call.texts("status"):
        state = next((one for one in (*STATUSES, *REASONS) if one.lower() == text.lower()), None)
        if state is None:
            known = ", ".join((*STATUSES, *REASONS))
            raise Refused(400, f"status is '{text[:80]}'; it is one of {known}")
        found.append(state)
    return tuple(found)


def asked_of(call: Call, rows: int = 8) -> Asked:
    """Return which sessions a request asks about."""
    return Asked(
        since=call.text("since"),
        until=call.text("until"),
        states=states_of(call),
        agent=call.text("agent"),
        user=call.text("user"),
        tags=tuple(call.request.query_params.getlist("tag")),
        rows=rows,
    )


def counted_in(call: Call) -> frozenset[str] | None:
    """Return the sessions in which a cause of errors, or a tool, is counted; None where none is asked for."""
    cause, tool = call.text("cause"), call.text("tool")
    if cause is None and tool is None:
        return None
    asked = Asked(since=call.text("since"), until=call.text("begun"))
    try:
        return call.hub.board.sessions_with(asked, cause=cause, tool=tool)
    except ValueError as error:
        raise Refused(400, str(error)) from error


def _dashboard(call: Call, _journal: Journal) -> bytes:
    asked = asked_of(call, call.number("rows", 8, least=1, most=MOST_ROWS))
    try:
        return encode(call.hub.board.dashboard(asked))
    except ValueError as error:
        raise Refused(400, str(error)) from error


def _timeline(call: Call, _journal: Journal) -> bytes:
    try:
        return encode(call.hub.board.timeline(asked_of(call), call.texts("type")))
    except ValueError as error:
        raise Refused(400, str(error)) from error


def _sides(call: Call) -> tuple[str, str]:
    a, b = call.text("a"), call.text("b")
    if a is None or b is None:
        raise Refused(400, "two sessions are compared; name them with a=SESSION&b=SESSION")
    return a, b


def _compare(call: Call, journal: Journal) -> bytes:
    return encode(call.hub.comparisons.compare(journal, *_sides(call)))


def _compare_step(call: Call, journal: Journal) -> bytes:
    a, b = _sides(call)
    return encode(call.hub.comparisons.step(journal, a, b, call.text("a_step"), call.text("b_step")))


_SIDES: Final = (
    Param("a", "A session, or SESSION@STEP for what was before that step."),
    Param("b", "The other one."),
)

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/dashboard",
        about="What sessions amount to, panel by panel, each with its SQL.",
        answers=wire_dashboard.Dashboard,
        does=_dashboard,
        params=(*COUNTED, Param("rows", "So many causes and tools at most.", "integer")),
    ),
    Route(
        method="GET",
        path="/api/timeline",
        about="Events by type over time, and the latest of them one by one.",
        answers=wire_dashboard.Timeline,
        does=_timeline,
        params=(*COUNTED, Param("type", "One by one, only events of these types.", several=True)),
    ),
    Route(
        method="GET",
        path="/api/compare",
        about="Two sessions on one column of steps.",
        answers=wire_compare.Comparison,
        does=_compare,
        params=_SIDES,
    ),
    Route(
        method="GET",
        path="/api/compare/step",
        about="What one pair of steps differs in, field by field.",
        answers=wire_compare.StepDifference,
        does=_compare_step,
        params=(*_SIDES, Param("a_step", "The step's id in the one."), Param("b_step", "The step's id in the other.")),
    ),
)
