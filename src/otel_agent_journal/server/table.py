"""Every route that reads, with what it answers: what the app serves and `openapi.json` tells of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import PlainTextResponse, Response

from otel_agent_journal.alerts.book import Book, keeps_alerts, listed
from otel_agent_journal.alerts.records import record
from otel_agent_journal.codec import encode_value
from otel_agent_journal.reading.moments import moment_of
from otel_agent_journal.server import details, overview, running, streams, wire
from otel_agent_journal.server.dashboard import ALL
from otel_agent_journal.server.langgraph import routes as langgraph_routes
from otel_agent_journal.server.live_list import DEFAULT_PAGE, Wanted, page_of
from otel_agent_journal.server.rooms import encode
from otel_agent_journal.server.routes import JSON, Call, Param, Route
from otel_agent_journal.server.rows import ms
from otel_agent_journal.store.protocol import SessionFilter

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

_FILTERS: Final = (
    overview.STATES,
    Param("agent", "Only sessions of this agent."),
    Param("user", "Only sessions of this user."),
    Param("tag", "Only sessions that were given this tag, label, or NAME=VALUE.", several=True),
    Param("since", "Updated since: 30m, 2h, 7d, today, all, a date, or RFC 3339."),
    Param("until", "Last updated until then."),
    Param("begun", "Only those that had begun by then."),
    Param("min_cost", "Only those that are known to have cost so many dollars.", "number"),
    Param("q", "Only with this text in their id, agent, tags or labels."),
)
_FROM: Final = Param("from", "Begin with this number.", "integer")
_LIMIT: Final = Param("limit", "At most so many.", "integer")
_AFTER: Final = Param("after", "Go on behind this `id` of a message, as Last-Event-ID does.")


def wanted_of(call: Call) -> Wanted:
    """Return which sessions a request asks for.

    Raises:
        Refused: a filter is malformed.
    """
    return Wanted(
        states=overview.states_of(call),
        agent=call.text("agent"),
        user=call.text("user"),
        tags=tuple(call.request.query_params.getlist("tag")),
        since_ns=call.parsed("since", lambda text: None if text == ALL else moment_of(text)),
        until_ns=call.parsed("until", lambda text: moment_of(text, end=True)),
        begun_ns=call.parsed("begun", lambda text: moment_of(text, end=True)),
        text=call.text("q"),
        least_usd=call.parsed("min_cost", _dollars),
    )


def _dollars(text: str) -> float:
    usd = float(text)
    if not 0 <= usd < math.inf:
        raise ValueError("a number of dollars is expected, as 0.1")
    return usd


def _sessions(call: Call, journal: Journal) -> bytes:
    limit = call.number("limit", DEFAULT_PAGE, least=1, most=1000)
    wanted = msgspec.structs.replace(wanted_of(call), among=overview.counted_in(call))
    return encode(page_of(journal, wanted, call.text("cursor"), limit, call.hub.loaded))


def _tree(call: Call, _journal: Journal) -> bytes:
    return call.hub.room(call.args["id"]).tree(call.number("from", 1, least=1))


async def _stream(call: Call) -> Response:
    return await streams.viewer(call, wanted_of(call))


async def _healthy(_call: Call) -> Response:
    return PlainTextResponse("ok\n")


async def _openapi(_call: Call) -> Response:
    from otel_agent_journal.server.openapi import document

    return Response(document(EVERY), media_type=JSON)


def _agents(call: Call, journal: Journal) -> bytes:
    found: dict[str, dict[str, Any]] = {}

    def named(name: str) -> dict[str, Any]:
        known = call.agents.get(name)
        first = {"name": name, "description": known, "runs": known is not None, "sessions": 0, "updated_ms": None}
        return found.setdefault(name, first)

    for name in call.agents:
        named(name)
    for head in journal.heads(SessionFilter(limit=_LATEST)):
        if head.agent is not None:
            one = named(head.agent)
            one["sessions"] += 1
            one["updated_ms"] = one["updated_ms"] or ms(head.updated_ns)
    return encode_value({"agents": list(found.values())})


def _alerts(_call: Call, journal: Journal) -> bytes:
    found = listed(Book(journal.store).alerts().values()) if keeps_alerts(journal.store) else ()
    return encode_value({"alerts": list(map(record, found))})


_SESSION: Final = "/api/sessions/{id}"
_LATEST: Final = 1000  # sessions whose agents are named

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/sessions",
        about="Sessions, the latest first.",
        answers=wire.Sessions,
        does=_sessions,
        params=(
            *_FILTERS,
            Param("cause", "Only those in which an error of this code or type began."),
            Param("tool", "Only those in which a call of this tool ended."),
            Param("cursor", "Of the page before."),
            _LIMIT,
        ),
    ),
    Route(method="GET", path=_SESSION, about="Where a session stands.", answers="Status", does=details.session),
    Route(
        method="GET",
        path=f"{_SESSION}/tree",
        about="A session's rows, and from where its stream goes on.",
        answers=wire.Tree,
        does=_tree,
        params=(_FROM,),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/events",
        about="A session's events, a line each, or as they arrive.",
        flows=streams.raw,
        params=(
            _AFTER,
            Param("kinds", "Only events of these types, or of steps of these kinds.", several=True),
            Param("tokens", "0 leaves out streamed text."),
            _LIMIT,
        ),
        media_types=(streams.LINES, "text/event-stream"),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/steps",
        about="A session's steps as data.",
        answers="Steps",
        does=details.steps,
        params=(_FROM, _LIMIT),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/steps/{{step}}",
        about="One step with all that is known of it; what is long is cut.",
        answers="Step",
        does=details.step,
        params=(Param("prompt", "0 leaves out what a model call was given, which has a route of its own."),),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/steps/{{step}}/value",
        about="The rest of what was cut.",
        does=details.value,
        params=(Param("pointer", "Where it stands in the step, a JSON pointer."), _FROM),
        media_types=("text/plain", JSON),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/steps/{{step}}/prompt",
        about="What a model call was given.",
        answers="Prompt",
        does=details.prompt,
        params=(Param("as", "openai or anthropic: in the form of that API."),),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/messages",
        about="The conversation, a page of it.",
        answers="Messages",
        does=details.messages,
        params=(_FROM, _LIMIT),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/state",
        about="What the agents have in their contexts.",
        answers="State",
        does=details.state,
        params=(Param("at", "Before the step of this number.", "integer"),),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/blobs/{{digest}}",
        about="A value that is kept apart.",
        does=details.blob,
        params=(Param("type", "Shown as this picture, if it is one."),),
        media_types=("application/octet-stream", *sorted(details.INERT)),
    ),
    Route(
        method="GET",
        path=f"{_SESSION}/result",
        about="What the last run gave; 202 while it goes on.",
        answers="Result",
        flows=running.result,
        params=(Param("wait", "Wait so many seconds for it, 60 at most.", "number"),),
    ),
    Route(
        method="GET",
        path="/api/stream",
        about="What changes in a session, in the list, or in both, for a viewer.",
        flows=_stream,
        params=(
            Param("session", "The session."),
            Param("list", "1: the list, too, of what the filters leave."),
            _AFTER,
            *_FILTERS,
        ),
        media_types=("text/event-stream",),
    ),
    Route(
        method="GET",
        path="/api/alerts",
        about="The alerts that fire, that may soon, and those that somebody is still to be told of.",
        answers="Alerts",
        does=_alerts,
    ),
    Route(
        method="GET",
        path="/api/agents",
        about="The agents that can be run here, and those of the latest sessions.",
        answers="Agents",
        does=_agents,
    ),
    Route(
        method="GET", path="/healthz", about="Whether the server answers.", flows=_healthy, media_types=("text/plain",)
    ),
    Route(method="GET", path="/ping", about="The same.", flows=_healthy, media_types=("text/plain",)),
    *overview.ROUTES,
    Route(method="GET", path="/openapi.json", about="This document.", answers="OpenApi", flows=_openapi),
)
RUNNING: Final = running.running_routes(running.nothing)
LANGGRAPH: Final = langgraph_routes.nothing()
EVERY: Final = (*ROUTES, *RUNNING, *LANGGRAPH)
