"""Webhooks and Slack: what is sent, how it is signed, and what counts as taken."""

from __future__ import annotations

import json
import time
from base64 import b64decode

import pytest

from otel_agent_journal.alerts.message import Message, payload
from otel_agent_journal.alerts.receivers import shown_place
from otel_agent_journal.alerts.slack import Slack, told
from otel_agent_journal.alerts.webhook import Webhook
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.webhooks import NotSent, headers_of, key_of, post
from scripts.ports import reserved_port
from tests.alerts.receiver import LocalReceiver

KEY = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
MESSAGE = Message(
    message_id="m1",
    alert_id="a1",
    rule="spend",
    state="firing",
    severity="critical",
    summary="<!channel> spent & more",
    labels={"agent": "a"},
    values={"usd": 20.5},
    began_ns=EPOCH_2026_NS,
    at_ns=EPOCH_2026_NS + 1,
    store="sqlite:///journal.db",
)


def test_the_signature_is_that_of_the_specification() -> None:
    """A signature is the one that Standard Webhooks' own vector has."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    said = headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key])
    assert said["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert "webhook-signature" not in headers_of("m", 1, b"")


def test_a_webhook(receiver: LocalReceiver) -> None:
    """A message is posted as JSON with id, time and a signature of these and the body by each key."""
    Webhook(f"{receiver.url}/hook", (KEY, KEY * 2), 5, lambda: EPOCH_2026_NS).send(MESSAGE)
    (got,) = receiver.got
    assert got.path == "/hook"
    assert got.json == payload(MESSAGE)
    assert got.json["data"]["values"] == {"usd": 20.5}
    seconds = EPOCH_2026_NS // 10**9
    assert got.headers["webhook-id"] == "m1"
    assert got.headers["webhook-timestamp"] == str(seconds)
    assert got.headers["content-type"] == "application/json"
    signed = headers_of("m1", seconds, got.body, (KEY, KEY * 2))["webhook-signature"]
    assert got.headers["webhook-signature"] == signed
    assert len(signed.split()) == 2


def test_slack(receiver: LocalReceiver) -> None:
    """Slack is sent text in which nothing of an alert is a mention or formatting."""
    Slack(f"{receiver.url}/services/T", 5).send(MESSAGE)
    (got,) = receiver.got
    assert got.json == told(MESSAGE)
    assert "<!channel>" not in got.json["text"]
    assert "&lt;!channel&gt; spent &amp; more" in got.json["text"]
    kinds = [one["text"]["type"] for one in got.json["blocks"] if "text" in one]
    assert kinds == ["mrkdwn", "plain_text"]
    assert "FIRING critical: spend" in json.dumps(got.json["blocks"][0])


@pytest.mark.parametrize(("status", "said"), [(400, "400"), (401, "secret"), (410, "given up"), (500, "500")])
def test_only_a_2xx_is_taken(receiver: LocalReceiver, status: int, said: str) -> None:
    """Whatever else is answered, the message was not taken."""
    receiver.status = status
    with pytest.raises(NotSent, match=said):
        post(receiver.url, b"{}", {}, 5)
    receiver.status = 204
    post(receiver.url, b"{}", {}, 5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: LocalReceiver, status: int) -> None:
    """A redirect is no answer: body and signature go to the host that was named."""
    receiver.status, receiver.headers = status, {"location": f"{receiver.url}/elsewhere"}
    with pytest.raises(NotSent, match="not followed"):
        post(receiver.url, b"{}", {}, 5)
    assert [one.path for one in receiver.got] == ["/"]


def test_when_to_come_again(receiver: LocalReceiver) -> None:
    """`Retry-After` in seconds is handed on, an hour at most."""
    receiver.status = 429
    for said, kept in (("7", 7), ("99999", 3600), ("soon", 0), ("-1", 0)):
        receiver.headers = {"retry-after": said}
        with pytest.raises(NotSent) as failed:
            post(receiver.url, b"{}", {}, 5)
        assert failed.value.retry_after_s == kept


def test_time_is_bounded(receiver: LocalReceiver) -> None:
    """A receiver that does not answer is left after its time."""
    receiver.hold.clear()
    began_s = time.monotonic()
    with pytest.raises(NotSent, match=r"did not answer within 0\.2 s"):
        post(receiver.url, b"{}", {}, 0.2)
    assert time.monotonic() - began_s < 10


def test_errors_tell_no_url() -> None:
    """What is said of a connection that fails has nothing of the URL in it."""
    with pytest.raises(NotSent, match="refused") as failed:
        post(f"http://127.0.0.1:{reserved_port()}/hunter2", b"{}", {}, 1)
    assert "hunter2" not in str(failed.value)
    with pytest.raises(NotSent) as failed:
        post("http://a..b/hunter2", b"{}", {}, 1)
    assert "hunter2" not in str(failed.value)


def test_what_is_shown_of_a_url() -> None:
    """Scheme and host are shown; path and options may be the secret."""
    assert shown_place("https://hooks.slack.com/services/T/B/x?y=1") == "https://hooks.slack.com/***"
    assert shown_place("http://127.0.0.1:80") == "http://127.0.0.1:80"
    assert shown_place("http://[::1") == "***"
