"""Who asked for a run is told of its end: by a signed webhook, at least once, and as a task of Step Functions."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable

import pytest
from botocore.exceptions import ReadTimeoutError

from otel_agent_journal import Sessions
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.sessions.notices import HEARTBEAT_S, Notices
from otel_agent_journal.sessions.runs import ENDED, Run
from otel_agent_journal.webhooks import headers_of, key_of
from tests.sessions.conftest import LONG_S
from tests.sessions.test_runs import wait_until
from tests.sessions.wire import Wire

pytestmark = pytest.mark.timeout(240)
SECRET = "whsec_" + base64.b64encode(b"a key of some length").decode()


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch):
    """Step Functions, as boto3 reaches it, here and in runs."""
    with Wire() as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", wire.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
        yield wire


def ended(sessions: Sessions, **asked: str | None) -> tuple[str, Run]:
    """Submit a run and have it end at once, without a process."""
    sessions.submitted = lambda session_id, run: None
    done = sessions.submit("echo", "x", metadata={"team": "a"}, **asked)
    line = sessions.lines.get(done.session_id)
    assert line is not None
    sessions.telling.unbegun(done.session_id, line.runs[0], "lost", "for the test")
    run = sessions.lines.end(done.session_id, done.run, "INTERRUPTED", "lost")
    assert run is not None
    return done.session_id, run


def test_a_run_tells_its_webhook(opened: Callable[..., Sessions]) -> None:
    """The run's own process posts status, result and metadata, signed, as it ends; then the line is empty."""
    with Wire() as wire:
        sessions = opened(webhook_secret=SECRET).start()
        done = sessions.submit("echo", "x", webhook=f"{wire.url}/told", metadata={"team": "a"})
        wait_until(lambda: wire.asked)
        wait_until(lambda: sessions.lines.get(done.session_id) is None)
    (one,) = wire.asked
    assert one.json["type"] == "session.ended"
    told = one.json["data"]
    assert (told["session_id"], told["run"], told["status"]) == (done.session_id, done.run, "COMPLETED")
    assert told["result"] == {"said": "x"}
    assert told["metadata"] == {"team": "a"}
    stamp = int(one.headers["webhook-timestamp"])
    signed = headers_of(done.run, stamp, one.body, [key_of(SECRET)])
    assert one.headers["webhook-signature"] == signed["webhook-signature"]


def test_a_secret_that_is_none_is_refused_at_once(opened: Callable[..., Sessions]) -> None:
    """Not when the first run has ended, and nobody looks."""
    with pytest.raises(ConfigError, match="AGENT_JOURNAL_WEBHOOK_SECRET") as refused:
        opened(webhook_secret="whsec_no base64")
    assert "no base64" not in str(refused.value)


def test_a_webhook_that_fails_is_told_again(opened: Callable[..., Sessions]) -> None:
    """What could not be told stays in the line, for whoever looks when it is time; then it is done with."""
    with Wire([500, 302, 200]) as wire:
        sessions = opened()
        session_id, run = ended(sessions, webhook=wire.url)
        notices = Notices(sessions)
        assert not notices.tell(session_id, run)
        line = sessions.lines.get(session_id)
        assert line is not None
        assert (line.runs[0].state, line.runs[0].tries) == (ENDED, 1)
        assert not notices.tell(session_id, line.runs[0])  # it is not time yet
        assert len(wire.asked) == 1
        sessions.lines.change(session_id, lambda line: line and line.changed(run.run, until_ns=0))
        assert not notices.tell(session_id, run)  # a redirect is no delivery
        sessions.lines.change(session_id, lambda line: line and line.changed(run.run, until_ns=0))
        assert notices.tell(session_id, run)
    assert len(wire.asked) == 3
    assert len({one.headers["webhook-id"] for one in wire.asked}) == 1
    assert sessions.lines.get(session_id) is None


def test_a_webhook_that_never_answers_is_given_up(opened: Callable[..., Sessions]) -> None:
    """After the last try the journal says so, as a WARNING."""
    sessions = opened()
    session_id, run = ended(sessions, webhook="http://127.0.0.1:9/")
    sessions.lines.change(session_id, lambda line: line and line.changed(run.run, tries=11))
    assert Notices(sessions).tell(session_id, run)
    warned = [event for event in sessions.journal.store.read(session_id) if event.type == "WARNING"]
    assert "12 tries" in warned[0].details["message"]


def test_a_task_of_step_functions_is_told(sessions: Sessions, states: Wire) -> None:
    """SendTaskSuccess has the result of a run that completed."""
    sessions.submit("echo", "x", task_token="token-1")
    wait_until(lambda: states.asked)
    (one,) = states.asked
    assert (one.action, one.json["taskToken"]) == ("SendTaskSuccess", "token-1")
    assert json.loads(one.json["output"])["result"] == {"said": "x"}


def test_a_task_whose_run_was_lost_fails(opened: Callable[..., Sessions], states: Wire) -> None:
    """SendTaskFailure says why."""
    sessions = opened()
    session_id, run = ended(sessions, task_token="token-2")
    assert Notices(sessions).tell(session_id, run)
    (one,) = states.asked
    assert (one.action, one.json["error"]) == ("SendTaskFailure", "Lost")


def test_a_task_that_nobody_answers_for_is_told_again(
    opened: Callable[..., Sessions], caplog: pytest.LogCaptureFixture
) -> None:
    """Where Step Functions gives no answer it is asked again later, and the log says that there was none."""

    class Silent:
        def send_task_failure(self, **_: str) -> None:
            raise ReadTimeoutError(endpoint_url="https://states.example")

    sessions = opened()
    session_id, run = ended(sessions, task_token="token-4")
    with caplog.at_level(logging.INFO, "otel_agent_journal"):
        assert not Notices(sessions, states=Silent).tell(session_id, run)
    assert "Read timeout" in caplog.text
    line = sessions.lines.get(session_id)
    assert line is not None
    assert (line.runs[0].state, line.runs[0].tries) == (ENDED, 1)


def test_a_task_that_waits_for_a_person_gets_heartbeats(opened: Callable[..., Sessions], states: Wire) -> None:
    """While the session awaits input the task goes on, and the run that answers takes its token over."""
    sessions = opened()
    session_id, run = ended(sessions, task_token="token-3")
    waiting = sessions.lines.change(
        session_id, lambda line: line and line.changed(run.run, reason="awaiting_input", until_ns=0)
    )
    assert waiting is not None
    assert not Notices(sessions).tell(session_id, waiting.runs[0])
    assert [one.action for one in states.asked] == ["SendTaskHeartbeat"]
    assert HEARTBEAT_S < 60
    sessions.answer(session_id, "yes")
    line = sessions.lines.get(session_id)
    assert line is not None
    assert [(one.task_token, one.state) for one in line.runs] == [("token-3", "queued")]
    assert LONG_S
