"""The session API over HTTP: what each route answers, and to bad input what is wrong and what next."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from otel_agent_journal import Sessions
from otel_agent_journal.sessions.asgi import SessionApp
from otel_agent_journal.sessions.http import HttpRequest, SessionRoutes
from tests.sessions.conftest import LONG_S

pytestmark = pytest.mark.timeout(240)
JSON = {"content-type": "application/json"}
ODD = ["a/b", "..", "../../etc/passwd", "a b%2Fc", "é/\u202e", "?x=1#y", "result", "a/result"]


@pytest.fixture
def quiet(opened: Callable[..., Sessions]) -> Sessions:
    """`Sessions` that starts nothing."""
    sessions = opened()
    sessions.submitted = lambda session_id, run: None
    return sessions


def asked(sessions: Sessions, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any, Any]:
    """Return status, body and headers of an answer."""
    writes = options.pop("writes", True)
    sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = path.partition("?")
    headers = options.pop("headers", JSON)
    request = HttpRequest(method=method, path=path, query=query, headers=headers, body=sent)
    answer = SessionRoutes(sessions, writes=writes, max_body_bytes=100_000).answer(request)
    return answer.status, json.loads(answer.body), answer.headers


def test_submitting(quiet: Sessions) -> None:
    """202 with id, run, state and where to look, which Location says, too."""
    status, told, headers = asked(quiet, "POST", "/api/sessions", {"agent": "echo", "input": {"q": 1}})
    assert status == 202
    assert told["state"] == "PENDING"
    assert headers["location"] == told["poll_url"] == f"/api/sessions/{told['session_id']}"
    status, told, headers = asked(quiet, "GET", f"{told['poll_url']}/result")
    assert (status, told["status"], headers["retry-after"]) == (202, "PENDING", "1")


@pytest.mark.parametrize("session_id", ODD)
def test_ids_may_hold_anything(quiet: Sessions, session_id: str) -> None:
    """An id is one segment of a path, percent-encoded; what it holds leads nowhere else."""
    status, told, headers = asked(quiet, "POST", "/api/sessions", {"agent": "echo", "session_id": session_id})
    assert (status, told["session_id"]) == (202, session_id)
    for path in (headers["location"], f"/api/sessions/{quote(session_id, safe='')}"):
        status, told, _ = asked(quiet, "GET", path)
        assert (status, told["session_id"]) == (200, session_id)
    status, told, _ = asked(quiet, "POST", f"{headers['location']}/cancel")
    assert (status, told["reason"]) == (202, "cancelled")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "no JSON"),
        (b"{", 400, "no JSON"),
        (b"[" * 90_000, 422, "does not fit"),
        (b'{"agent": "echo", "input": ' + b"[" * 60_000, 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"),
        (b" " * 200_000, 413, "over 100,000 bytes"),
        ([1], 422, "object"),
        ({"agent": 3}, 422, "$.agent"),
        ({"agent": "nobody"}, 422, "it is one of: echo"),
        ({}, 422, "agent is not given"),
        ({"agent": "echo", "inputs": 1}, 422, "unknown field `inputs`"),
        ({"agent": "echo", "on_busy": "wait"}, 422, "on_busy"),
        ({"agent": "echo", "session_id": " "}, 422, "session_id is empty"),
        ({"agent": "echo", "session_id": "x" * 513}, 422, "512 is the most"),
        ({"agent": "echo", "session_id": "a\nb"}, 422, "control characters"),
        ({"agent": "echo", "session_id": "\ud800"}, 400, "no JSON"),
        ({"agent": "echo", "webhook": "file:///etc/passwd"}, 422, "webhook"),
        ({"agent": "echo", "metadata": {str(number): 1 for number in range(65)}}, 422, "64 is the most"),
    ],
)
def test_bad_input(quiet: Sessions, body: Any, status: int, says: str) -> None:
    """Each is a problem that says what is wrong and what next; nothing is submitted."""
    found, told, headers = asked(quiet, "POST", "/api/sessions", body)
    assert (found, headers["content-type"]) == (status, "application/problem+json")
    assert told["status"] == status
    assert says in told["detail"]
    assert not list(quiet.lines.all())


def test_bodies_are_json(quiet: Sessions) -> None:
    """Any other media type is 415: no page of another site can post one unasked."""
    status, _, _ = asked(quiet, "POST", "/api/sessions", {"agent": "echo"}, headers={"content-type": "text/plain"})
    assert status == 415


@pytest.mark.parametrize("path", ["", "/x/input", "/x/cancel", "/x/fork"])
def test_without_write_nothing_is_changed(quiet: Sessions, path: str) -> None:
    """Routes that change something are 403 on a server that only reads."""
    status, told, _ = asked(quiet, "POST", f"/api/sessions{path}", {}, writes=False)
    assert (status, told["title"]) == (403, "Read-only")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/api/sessions", 405),
        ("PUT", "/api/sessions/x", 405),
        ("GET", "/api/sessions/x/input", 405),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/sessions/x/y", 404),
        ("GET", "/api/sessions/x/result/y", 404),
        ("GET", "/api/sessions/x", 404),
        ("POST", "/api/sessions/x/cancel", 404),
        ("POST", "/api/sessions/x/input", 404),
        ("GET", "/api/sessions/x/result?wait=-1", 422),
        ("GET", "/api/sessions/x/result?wait=soon", 422),
    ],
)
def test_what_is_not_there(quiet: Sessions, method: str, path: str, status: int) -> None:
    """Methods, paths and sessions that are not there are told apart."""
    found, told, _ = asked(quiet, method, path, {} if method == "POST" else None)
    assert (found, told["status"]) == (status, status)


def test_a_key_and_another_body(quiet: Sessions) -> None:
    """The same key with the same body is the same answer; with another body it is 409."""
    keyed = {**JSON, "idempotency-key": "k-1"}
    _, one, _ = asked(quiet, "POST", "/api/sessions", {"agent": "echo", "input": 1}, headers=keyed)
    _, two, _ = asked(quiet, "POST", "/api/sessions", {"input": 1, "agent": "echo"}, headers=keyed)
    assert one == two
    status, told, _ = asked(quiet, "POST", "/api/sessions", {"agent": "echo", "input": 2}, headers=keyed)
    assert (status, told["title"]) == (409, "Idempotency-Key was used")
    bad = {**JSON, "idempotency-key": "x" * 256}
    assert asked(quiet, "POST", "/api/sessions", {"agent": "echo"}, headers=bad)[0] == 422


def test_a_submission_that_died_before_its_answer_is_finished(quiet: Sessions) -> None:
    """A key without a line, or with a line and no event: what asks again with it finishes what was begun."""
    keyed = {**JSON, "idempotency-key": "k-2"}
    _, one, _ = asked(quiet, "POST", "/api/sessions", {"agent": "echo"}, headers=keyed)
    quiet.lines.change(one["session_id"], lambda line: line and line.without(one["run"]))
    (document,) = quiet.journal.store.documents("sessions/keys")  # type: ignore[attr-defined]
    undone = document.data.replace(b'"done":true', b'"done":false')
    assert undone != document.data
    import msgspec

    quiet.journal.store.put_document(msgspec.structs.replace(document, data=undone))  # type: ignore[attr-defined]
    _, two, _ = asked(quiet, "POST", "/api/sessions", {"agent": "echo"}, headers=keyed)
    assert one == two
    line = quiet.lines.get(one["session_id"])
    assert line is not None
    assert [run.run for run in line.runs] == [one["run"]]
    assert quiet.state(one["session_id"]).events == 1


def test_events_as_lines(quiet: Sessions) -> None:
    """Events come as JSON lines, from a cursor on, of the kinds that are asked for."""
    _, told, _ = asked(quiet, "POST", "/api/sessions", {"agent": "echo"})
    routes = SessionRoutes(quiet)
    answer = routes.answer(HttpRequest(method="GET", path=f"{told['poll_url']}/events"))
    assert [json.loads(line)["event_type"] for line in answer.body.splitlines()] == ["SESSION_INITIATED"]
    asked(quiet, "POST", f"{told['poll_url']}/cancel")
    query = f"after={answer.headers['cursor']}&kinds=cancel_requested"
    more = routes.answer(HttpRequest(method="GET", path=f"{told['poll_url']}/events", query=query))
    assert [json.loads(line)["event_type"] for line in more.body.splitlines()] == ["CANCEL_REQUESTED"]


def test_agents_are_listed(quiet: Sessions) -> None:
    """By name, and not how they are run."""
    _, told, _ = asked(quiet, "GET", "/api/agents")
    assert {"name": "echo", "description": None} in told["agents"]


async def test_over_asgi(sessions: Sessions) -> None:
    """The same as an ASGI app: a result is waited for, a body that is too large is not read to its end."""
    transport = httpx.ASGITransport(SessionApp(SessionRoutes(sessions, max_body_bytes=1000)))
    async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=LONG_S) as client:
        done = await client.post("/api/sessions", json={"agent": "echo", "input": 1, "session_id": "a/../b"})
        assert done.status_code == 202
        for _ in range(4):
            found = await client.get(f"{done.headers['location']}/result?wait=30")
            if found.status_code == 200:
                break
        assert found.json()["result"] == {"said": 1}
        large = await client.post("/api/sessions", content=b" " * 5000, headers=JSON)
        assert large.status_code == 413
