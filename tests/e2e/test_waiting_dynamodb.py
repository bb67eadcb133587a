"""`wait_for()` over DynamoDB: one process calls an agent, another waits for its ending; they share a table alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from otel_agent_journal import JournalEvent, open_store, wait_for
from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.errors import WaitTimeout
from otel_agent_journal_dynamodb import DynamoDBStore
from tests.real.servers import DynamoDB

pytestmark = pytest.mark.real

Caller = Callable[[str], "subprocess.Popen[str]"]
PATIENCE_S = 40  # the machine is shared; none of these takes a tenth of it

BEGIN = """
import sys, time
import otel_agent_journal
from otel_agent_journal import invocation, record_event, step
otel_agent_journal.configure()
"""


@pytest.fixture
def url(aws: None, dynamodb_server: DynamoDB, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a table that is not there yet, which the environment names."""
    url = dynamodb_server.url()
    monkeypatch.setenv("AGENT_JOURNAL_STORE", url)
    return url


@pytest.fixture
def table(url: str) -> str:
    """The same, with the table made."""
    store = DynamoDBStore(url)
    store.init()
    store.close()
    return url


@pytest.fixture
def call(tmp_path: Path, request: pytest.FixtureRequest) -> Caller:
    """Start a program that calls an agent; its spool is its own, as on another machine."""

    def start(program: str) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "AGENT_JOURNAL_SPOOL": str(tmp_path / "other" / "spool"),
            "AGENT_JOURNAL_DURABILITY": "store",
            "AGENT_JOURNAL_STORE_TIMEOUT": str(PATIENCE_S),  # a busy machine takes seconds to import boto3
        }
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + program], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
        )
        request.addfinalizer(lambda: (process.kill(), process.communicate()))
        return process

    return start


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits has a folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_answered(table: str, call: Caller) -> None:
    """Who waits before the agent is called gets what it answered, while the caller still runs."""
    caller = call("""
with invocation("s1", agent="helper", input="Is it open?") as made:
    with step("agent", "helper"):
        time.sleep(0.3)
    made.succeed("Yes.")
print("done", flush=True)
time.sleep(60)
""")
    ending = wait_for("s1", timeout_s=PATIENCE_S, poll_s=0.05)
    assert (ending.status, ending.type, ending.output) == ("COMPLETED", "AGENT_INVOCATION_SUCCEEDED", "Yes.")
    assert caller.poll() is None


def test_failed(table: str, call: Caller) -> None:
    """Who waits is told what the call failed with."""
    call("""
with invocation("s1", agent="helper"):
    raise ConnectionError("the agent does not answer")
""").wait(PATIENCE_S)
    ending = wait_for("s1", timeout_s=PATIENCE_S)
    assert (ending.status, ending.type) == ("ERROR", "AGENT_INVOCATION_FAILED")
    assert ending.error is not None
    assert (ending.error.type, ending.error.message) == ("ConnectionError", "the agent does not answer")


def test_background(table: str, call: Caller) -> None:
    """A type that is waited for ends the wait as it comes, before the session is at its end."""
    caller = call("""
record_event("s1", "AGENT_BACKGROUND_TASK_STARTED", agent="helper")
time.sleep(0.3)
record_event("s1", "AGENT_BACKGROUND_TASK_COMPLETED", output="Yes.")
""")
    ending = wait_for("s1", ["AGENT_BACKGROUND_TASK_COMPLETED", "AGENT_BACKGROUND_TASK_FAILED"], timeout_s=PATIENCE_S)
    assert (ending.type, ending.output) == ("AGENT_BACKGROUND_TASK_COMPLETED", "Yes.")
    assert caller.wait(PATIENCE_S) == 0


def test_put_by_others(table: str, dynamodb_server: DynamoDB) -> None:
    """An ending that another program puts into the table ends the wait: a workflow's, or that of an agent that may
    PutItem and no more."""
    client = boto3.client("dynamodb", endpoint_url=dynamodb_server.endpoint)

    def put(status: str, at_ns: int) -> None:
        item = {"PK": "SESSION#s1", "SK": f"EVENT#{format_timestamp(at_ns)}#x", "Status": status}
        client.put_item(TableName=name, Item={key: {"S": value} for key, value in item.items()})

    name = table.removeprefix("dynamodb://").partition("?")[0]
    begun_ns = time.time_ns()
    put("SESSION_INITIATED", begun_ns)
    with pytest.raises(WaitTimeout) as raised:
        wait_for("s1", timeout_s=0.1)
    assert raised.value.last_type == "SESSION_INITIATED"
    late = threading.Timer(0.5, put, ("AGENT_BACKGROUND_TASK_COMPLETED", begun_ns - 1_000_000_000))
    late.start()
    ending = wait_for("s1", "AGENT_BACKGROUND_TASK_COMPLETED", timeout_s=PATIENCE_S)
    assert ending.type == "AGENT_BACKGROUND_TASK_COMPLETED"
    late.join()


def test_again(table: str, call: Caller) -> None:
    """Of a session that is called again, what was before can be left out."""
    said = 'with invocation("s1", agent="helper") as made: made.succeed("{}")'
    call(said.format("first")).wait(PATIENCE_S)
    assert wait_for("s1", timeout_s=PATIENCE_S).output == "first"
    since_ns = time.time_ns()
    with pytest.raises(WaitTimeout):
        wait_for("s1", timeout_s=0.2, since_ns=since_ns)
    call(said.format("second"))
    assert wait_for("s1", timeout_s=PATIENCE_S, since_ns=since_ns).output == "second"


def test_killed(table: str, call: Caller) -> None:
    """Of a caller that was killed the table has all that it began; there is no ending, so the wait ends in time."""
    caller = call("""
with invocation("s1", agent="helper"), step("tool", "search"):
    print("begun", flush=True)
    time.sleep(60)
""")
    assert caller.stdout is not None
    assert caller.stdout.readline() == "begun\n"
    caller.send_signal(signal.SIGKILL)
    caller.wait(PATIENCE_S)
    with pytest.raises(WaitTimeout) as raised:
        wait_for("s1", timeout_s=0.5)
    assert (raised.value.status, raised.value.last_type) == ("PROCESSING", "TOOL_START")


def test_lost(table: str, call: Caller) -> None:
    """A caller that was not heard of for a minute is lost."""
    begun_ns = time.time_ns() - 90 * 1_000_000_000
    store = open_store(table)
    started = JournalEvent(
        session_id="s1",
        event_id="0" * 32,
        type="AGENT_START",
        timestamp_ns=begun_ns,
        name="helper",
        writer="w" * 32,
        step_id="1" * 32,
        attempt=1,
    )
    store.append([started])
    store.close()
    ending = wait_for("s1", timeout_s=PATIENCE_S)
    assert (ending.status, ending.reason, ending.event) == ("INTERRUPTED", "lost", None)


def test_no_table(url: str, call: Caller) -> None:
    """A table that is not there yet is waited for, and named where it does not come."""
    with pytest.raises(WaitTimeout) as raised:
        wait_for("s1", timeout_s=0.2)
    assert "store init" in str(raised.value)

    def begin() -> None:
        store = DynamoDBStore(url)
        store.init()
        store.close()
        call('record_event("s1", "AGENT_INVOCATION_SUCCEEDED", output="Yes.")').wait(PATIENCE_S)

    beginning = threading.Timer(0.3, begin)
    beginning.start()
    assert wait_for("s1", timeout_s=PATIENCE_S).output == "Yes."
    beginning.join()
