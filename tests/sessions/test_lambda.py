"""The session API in AWS Lambda: each kind of event, and the function that invokes itself for a run."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import otel_agent_journal.bootstrap.session_lambda as of_lambda
from otel_agent_journal import LambdaSessions, Sessions, lambda_session_handler
from otel_agent_journal.errors import ConfigError
from tests.sessions.conftest import AGENTS, LONG_S, ROOT
from tests.sessions.wire import Wire

pytestmark = pytest.mark.timeout(240)
ARN = "arn:aws:lambda:us-east-1:123456789012:function:sessions"


class Context:
    """What Lambda gives beside an event."""

    invoked_function_arn = ARN

    def __init__(self, left_ms: int = 120_000) -> None:
        self._left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still take."""
        return self._left_ms


def event(version: str, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
    """Return a request as a gateway sends it: of version 1 with the path decoded, of version 2 and URLs as it came."""
    text = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    if version == "1.0":
        made = {"httpMethod": method, "path": path, "queryStringParameters": query, "requestContext": {"stage": "prod"}}
        return {**made, "headers": headers, "body": text, "isBase64Encoded": False}
    stage = "/prod" if version == "2.0" else ""
    joined = "&".join(f"{name}={value}" for name, value in (query or {}).items())
    encoded = None if text is None else base64.b64encode(text.encode()).decode()
    context = {"http": {"method": method}}
    made = {"version": "2.0", "rawPath": stage + path, "rawQueryString": joined, "requestContext": context}
    return {**made, "headers": headers, "body": encoded, "isBase64Encoded": text is not None}


class Service:
    """A function, and the invocations that it has asked for, made when the test says so."""

    def __init__(self, store_url: str) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.function = LambdaSessions(
            AGENTS, store=store_url, invoke=lambda arn, payload: self.asked.append((arn, json.loads(payload)))
        )

    def __call__(self, *made: Any, left_ms: int = 120_000) -> tuple[int, Any]:
        """Return status and body of the answer to a request."""
        answer = self.function(event(*made), Context(left_ms))
        return answer["statusCode"], json.loads(answer["body"])

    def invoked(self, left_ms: int = 120_000) -> list[bool]:
        """Make the invocations that were asked for; return of each whether it ran anything."""
        asked, self.asked = self.asked, []
        return [self.function(payload, Context(left_ms))["ran"] for _, payload in asked]


@pytest.fixture
def service(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The function, as Lambda has it."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    monkeypatch.chdir(ROOT)
    one = Service(store_url)
    yield one
    one.function.service.journal.close()


@pytest.mark.parametrize("version", ["1.0", "2.0", "url"])
def test_a_run_from_its_submission_to_its_result(service: Service, version: str) -> None:
    """Submitted, invoked with action, session and run, and answered, whichever gateway it came by."""
    status, told = service(version, "POST", "/api/sessions", {"agent": "echo", "input": 1, "session_id": "a b"})
    assert status == 202
    payload = {"action": "run", "session_id": "a b", "run": told["run"]}
    assert service.asked == [(ARN, payload)]
    assert service(version, "GET", "/api/sessions/a%20b/result")[0] == 202
    assert service.invoked() == [True]
    status, told = service(version, "GET", "/api/sessions/a%20b/result", None, {"wait": "5"})
    assert (status, told["status"], told["result"]) == (200, "COMPLETED", {"said": 1})


def test_an_invocation_that_comes_twice_runs_once(service: Service) -> None:
    """Lambda delivers at least once: the second finds nothing to do."""
    service("2.0", "POST", "/api/sessions", {"agent": "echo", "input": 1})
    service.asked *= 2
    assert service.invoked() == [True, False]


def test_runs_that_wait_follow(service: Service) -> None:
    """A run that was enqueued is invoked as the one before it ends."""
    service("2.0", "POST", "/api/sessions", {"agent": "echo", "input": 1, "session_id": "s"})
    later = {"agent": "echo", "input": 2, "session_id": "s", "on_busy": "enqueue"}
    assert service("2.0", "POST", "/api/sessions", later)[0] == 202
    assert len(service.asked) == 1
    assert service.invoked() == [True]
    assert service.invoked() == [True]
    assert service("2.0", "GET", "/api/sessions/s/result")[1]["result"] == {"said": 2}


def test_a_run_ends_before_lambda_ends_it(service: Service) -> None:
    """An agent that would take longer than the invocation has left is stopped, and is an ERROR of the kind timeout."""
    service("2.0", "POST", "/api/sessions", {"agent": "sleeping", "input": 300, "session_id": "s"})
    assert service.invoked(left_ms=6_000) == [True]
    _, told = service("2.0", "GET", "/api/sessions/s")
    assert (told["status"], told["error"]["kind"]) == ("ERROR", "timeout")


def test_an_answer_is_there_before_the_gateway_gives_up(service: Service) -> None:
    """A result is waited for as long as the invocation has time, and then is 202."""
    service("2.0", "POST", "/api/sessions", {"agent": "echo", "session_id": "s"})
    done = threading.Event()

    def wait() -> None:
        assert service("2.0", "GET", "/api/sessions/s/result", None, {"wait": "60"}, left_ms=4_000)[0] == 202
        done.set()

    threading.Thread(target=wait).start()
    assert done.wait(LONG_S)


def test_what_could_not_be_invoked_is_invoked_by_the_next_look(service: Service) -> None:
    """The submission is durable: an invocation that failed is made again once somebody asks how it stands."""

    def fails(arn: str, payload: bytes) -> None:
        raise RuntimeError("throttled")

    invoke, service.function._invoke = service.function._invoke, fails
    assert service("2.0", "POST", "/api/sessions", {"agent": "echo", "input": 1, "session_id": "s"})[0] == 202
    service.function._invoke = invoke
    lines = service.function.service.lines
    lines.change("s", lambda line: line and line.changed(line.runs[0].run, at_ns=1))
    assert service("2.0", "GET", "/api/sessions/s")[1]["status"] == "PENDING"
    assert service.invoked() == [True]


@pytest.mark.parametrize("given", [{"action": "sing"}, {}, 3, None])
def test_another_event_is_refused(service: Service, given: Any) -> None:
    """What is neither a request nor an action of ours says so in the function's log."""
    with pytest.raises(ConfigError, match="is expected"):
        service.function(given, Context())


def test_a_body_that_is_no_base64(service: Service) -> None:
    """It is 400, as any other body that cannot be read."""
    made = event("2.0", "POST", "/api/sessions", {"agent": "echo"})
    assert service.function({**made, "body": "*"}, Context())["statusCode"] == 400


def test_the_handler_invokes_itself_by_boto3(
    store_url: str, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Sessions]
) -> None:
    """Of the environment's agents and store; asynchronously, as `InvocationType=Event` says."""
    with Wire([202]) as wire:
        for name, value in {
            "AWS_ENDPOINT_URL_LAMBDA": wire.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AGENT_JOURNAL_STORE": store_url,
            "AGENT_JOURNAL_AGENTS": '{"echo": "tests.sessions.scripted:echo"}',
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(of_lambda, "_HANDLERS", [])
        answer = lambda_session_handler(event("2.0", "POST", "/api/sessions", {"input": 1}), Context())
        of_lambda._HANDLERS[0].service.journal.close()
    told = json.loads(answer["body"])
    (one,) = wire.asked
    assert one.path.endswith("/invocations")
    assert one.headers["x-amz-invocation-type"] == "Event"
    assert one.json == {"action": "run", "session_id": told["session_id"], "run": told["run"]}
