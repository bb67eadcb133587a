"""The assessment service of `examples/session_manager`: over HTTP on this machine, in Lambda, and its template."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from otel_agent_journal.testing.bedrock import BedrockServer, throttle
from tests.examples_aws import stack
from tests.examples_aws.test_template import complaints
from tests.processes import started

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "session_manager"
LONG_S = 110.0
ASKED = {"company": "Acme", "requirements": "three tiers", "monthly_users": 100}
STAGES = ["RequirementsAnalyzer", "CostCalculator", "TemplateRetriever", "PowerPointGenerator", "SOWGenerator"]
STATUSES = [
    "PENDING",
    "ANALYZING_REQUIREMENTS",
    "CALCULATING_COSTS",
    "RETRIEVING_TEMPLATES",
    "GENERATING_POWERPOINT",
    "GENERATING_SOW",
    "COMPLETED",
]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The service, as its first lines say it is started."""
    monkeypatch.setenv("ASSESSMENT_PACE_S", "0.1")
    with started([sys.executable, str(FOLDER / "app.py")], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()
        process.wait(LONG_S)


def polled(client: Any, path: str) -> list[dict[str, Any]]:
    """Return what is told of an assessment until it has ended."""
    told: list[dict[str, Any]] = []
    deadline = time.monotonic() + LONG_S
    while not told or told[-1]["status"] not in ("COMPLETED", "ERROR", "CONFIGURATION_ERROR"):
        assert time.monotonic() < deadline, told[-1]
        told.append(client(path))
        time.sleep(0.02)
    return told


def test_an_assessment(url: str) -> None:
    """From submitted to its documents: stages in order, progress that never falls, events, the request's fields."""

    def looked(path: str) -> Any:
        with urllib.request.urlopen(f"{url}{path}", timeout=LONG_S) as answer:
            return json.load(answer)

    done = httpx.post(f"{url}/api/submit-assessment", json=ASKED, timeout=LONG_S)
    assert done.status_code == 202
    assert set(done.json()) == {"session_id", "status", "message", "poll_url"}
    told = polled(looked, done.json()["poll_url"])
    statuses = list(dict.fromkeys(one["status"] for one in told))
    assert statuses == [status for status in STATUSES if status in statuses]
    assert (statuses[0], statuses[-1]) == ("PENDING", "COMPLETED")
    percents = [one["progress"] for one in told]
    assert percents == sorted(percents)
    last = told[-1]
    assert (last["progress"], last["current_stage"]) == (100, "SOWGenerator")
    assert {name: last[name] for name in ASKED} == ASKED
    assert {one["type"] for one in last["agent_events"]} == {
        "reasoning", "tool_call", "tool_response", "chunk", "final_response"
    }  # fmt: skip
    assert [one["name"] for one in last["agent_events"] if one["type"] == "tool_call"] == [f"{s}.run" for s in STAGES]
    assert last["created_at"] < last["updated_at"]
    found = looked(f"/api/results/{last['session_id']}")
    assert [document["name"] for document in found["documents"]] == ["proposal.pptx", "statement-of-work.docx"]
    assert found["result"].endswith("statement of work are ready.")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The handler, as Lambda has it, and what it asks to be invoked with."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("agent", "app", "assessments", "scripted"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import app
    from assessments import AssessmentRoutes
    from scripted import assessed

    from otel_agent_journal import LambdaSessions

    with BedrockServer() as bedrock:
        for name, value in {**bedrock.environ(), "ASSESSMENT_PACE_S": "0"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        asked: list[Any] = []
        function = LambdaSessions(
            app.AGENTS,
            store=f"sqlite:///{tmp_path}/journal.db",
            routes=AssessmentRoutes,
            invoke=lambda arn, payload: asked.append(json.loads(payload)),
        )
        bedrock.answer(assessed)
        yield function, asked, bedrock
        function.service.journal.close()
    for name in ("agent", "app", "assessments", "scripted"):
        sys.modules.pop(name, None)


class _Context:
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:assessments"

    def get_remaining_time_in_millis(self) -> int:
        return 120_000


def asked_of(function: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return status and body of what the function answers to a request of an HTTP API."""
    made = {"version": "2.0", "rawPath": path, "requestContext": {"http": {"method": method}}}
    headers = {"content-type": "application/json"}
    answer = function({**made, "headers": headers, "body": None if body is None else json.dumps(body)}, _Context())
    return answer["statusCode"], json.loads(answer["body"])


def test_in_lambda(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in Lambda, the first call throttled: that is a warning, and the assessment goes through."""
    function, asked, bedrock = service
    monkeypatch.setenv("ASSESSMENT_AGENT_ID", "ASSESS2026")
    monkeypatch.setenv("ASSESSMENT_AGENT_ALIAS_ID", "LIVE")
    bedrock.script(throttle())
    _, done = asked_of(function, "POST", "/api/submit-assessment", ASKED)
    for payload in asked:
        assert function(payload, _Context()) == {"ran": True}
    status, told = asked_of(function, "GET", done["poll_url"])
    assert (status, told["status"]) == (200, "COMPLETED")
    assert "warning" in {one["type"] for one in told["agent_events"]}


def test_an_agent_that_was_never_configured(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONFIGURATION_ERROR, and nothing is called."""
    function, asked, bedrock = service
    monkeypatch.setenv("ASSESSMENT_AGENT_ID", "YOUR_AGENT_ID")
    _, done = asked_of(function, "POST", "/api/submit-assessment", ASKED)
    function(asked[0], _Context())
    _, told = asked_of(function, "GET", done["poll_url"])
    assert told["status"] == "CONFIGURATION_ERROR"
    assert "ASSESSMENT_AGENT_ID" in told["error"]["message"]
    assert not bedrock.requests


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/submit-assessment", {"company": "Acme"}, 422),
        ("POST", "/api/submit-assessment", {**ASKED, "more": 1}, 422),
        ("POST", "/api/submit-assessment", {**ASKED, "requirements": 1}, 422),
        ("GET", "/api/submit-assessment", None, 405),
        ("GET", "/api/agent-status/none", None, 404),
        ("GET", "/api/results/none", None, 404),
        ("GET", "/api/nothing", None, 404),
    ],
)
def test_bad_requests(service: Any, method: str, path: str, body: Any, status: int) -> None:
    """Each says what is wrong."""
    function, _, _ = service
    found, told = asked_of(function, method, path, body)
    assert (found, told["status"]) == (status, status)


def test_its_template(monkeypatch: pytest.MonkeyPatch) -> None:
    """cfn-lint has nothing to say of it, and its table is that of the store's own template."""
    ours = stack.template()["Resources"]
    monkeypatch.setattr(stack, "TEMPLATE", FOLDER / "template.yaml")
    made = stack.template()
    assert complaints(made) == []
    assert made["Resources"]["JournalTable"] == ours["JournalTable"]
