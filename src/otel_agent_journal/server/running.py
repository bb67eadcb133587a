"""The routes that run agents, as the server has them: what answers them is `sessions.http`, the same as in Lambda."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from otel_agent_journal.server.routes import Call, Route
from otel_agent_journal.sessions.http import ForkBody, HttpAnswer, HttpRequest, InputBody, SubmitBody
from otel_agent_journal.sessions.runs import Submitted
from otel_agent_journal.sessions.watched import State

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

Answers = Callable[[HttpRequest], HttpAnswer]

_SESSION: Final = "/api/sessions/{id}"


def running_routes(answers: Answers) -> tuple[Route, ...]:
    """Return the routes by which agents are run, answered, cancelled and forked, all of which need `--write`."""
    does = partial(_does, answers)
    return (
        Route(
            method="POST",
            path="/api/sessions",
            about="Submit a run of an agent; its session's id comes at once.",
            answers=Submitted,
            takes=SubmitBody,
            does=does,
            writes=True,
            status=202,
        ),
        Route(
            method="POST",
            path=f"{_SESSION}/input",
            about="Answer what a session waits for, or give it its next turn.",
            answers=Submitted,
            takes=InputBody,
            does=does,
            writes=True,
            status=202,
        ),
        Route(
            method="POST",
            path=f"{_SESSION}/cancel",
            about="Ask every run of a session to stop.",
            answers=State,
            does=does,
            writes=True,
            status=202,
        ),
        Route(
            method="POST",
            path=f"{_SESSION}/fork",
            about="Fork a session before a step; nothing runs yet.",
            answers="Forked",
            takes=ForkBody,
            does=does,
            writes=True,
            status=201,
        ),
    )


def _does(answers: Answers, call: Call, _journal: Journal) -> Response:
    """Answer a request. Its body was read before, within the server's bound."""
    request = call.request
    path = request.scope["path"]
    body: bytes = getattr(request.state, "body", b"")
    answer = answers(
        HttpRequest(
            method=request.method,
            path=path,
            query=request.url.query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
    )
    return Response(answer.body, answer.status, headers=dict(answer.headers))


def nothing(_request: HttpRequest) -> HttpAnswer:
    """Answer nothing: for who only tells of the routes."""
    return HttpAnswer(status=501)
