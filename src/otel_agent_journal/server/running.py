"""The routes that run agents, as the server has them: what answers them is `sessions.http`, the same as in Lambda."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from anyio import to_thread
from starlette.responses import Response

from otel_agent_journal.codec import encode_value
from otel_agent_journal.server.bounded import bounded
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.server.routes import JSON, Call, Route
from otel_agent_journal.sessions.http import (
    MAX_WAIT_S,
    ForkBody,
    HttpAnswer,
    HttpRequest,
    InputBody,
    SubmitBody,
    problem,
)
from otel_agent_journal.sessions.runs import Submitted
from otel_agent_journal.sessions.watched import ENDINGS, State, Watched

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

Answers = Callable[[HttpRequest], HttpAnswer]

_LOOK_S: Final = 0.2
_LONGEST_LOOK_S: Final = 1.0
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


async def result(call: Call) -> Response:
    """Return what a session's latest run gave, and 202 while it goes on: at once, or after the time that is asked for.

    Raises:
        Refused: there is no such session, or the time is out of bounds.
    """
    text = call.text("wait") or "0"
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1
    if not 0 <= wait_s <= MAX_WAIT_S:
        raise Refused(400, f"wait is '{text[:80]}'; seconds from 0 to {MAX_WAIT_S:g} are expected")
    deadline, pause = time.monotonic() + wait_s, _LOOK_S
    while (found := await to_thread.run_sync(_result, call)).status_code == 202:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_LOOK_S)
    return found


def _result(call: Call) -> Response:
    session_id = call.args["id"]
    with call.journals.one() as journal:
        watched = Watched(journal)
        head = watched.head(session_id)
        if head.status in ENDINGS:
            told = {**msgspec.to_builtins(watched.state(session_id)), "result": watched.result(session_id)}
            return Response(encode_value(bounded(told)), 200, media_type=JSON)
        told = {"session_id": session_id, "status": head.status, "stage": head.stage, "progress": head.progress}
        return Response(encode_value(told), 202, headers={"Retry-After": "1"}, media_type=JSON)


def nothing(_request: HttpRequest) -> HttpAnswer:
    """Refuse, where nothing runs agents."""
    return problem(501, "Not possible here", "this server runs no agents; start it with --write, on a store that can")
