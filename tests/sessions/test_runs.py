"""What runs: each a process of its own, whose end is in the journal as what it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal import Sessions, open_store
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.sessions.runs import Refused
from tests.sessions.conftest import LONG_S

pytestmark = pytest.mark.timeout(240)


def types(sessions: Sessions, session_id: str) -> list[str]:
    """Return the types of a session's events."""
    return [event.type for event in sessions.journal.store.read(session_id)]


def test_a_submission_is_durable_before_it_is_answered(opened: Callable[..., Sessions], store_url: str) -> None:
    """The id comes at once; session, agent, input and metadata are in the store by then, whoever starts the run."""
    sessions = opened()
    sessions.submitted = lambda session_id, run: None
    done = sessions.submit("echo", {"q": 1}, metadata={"user": "ann", "tags": ["trial"], "password": "p"})
    other = open_store(store_url, create=False)
    (event,) = other.read(done.session_id)
    assert (event.type, event.name) == ("SESSION_INITIATED", "echo")
    assert event.details["input"] == {"q": 1}
    assert event.details["run"] == done.run
    assert event.details["user"] == "ann"
    assert event.details["tags"] == ["trial"]
    assert "'p'" not in repr(event.details)
    assert sessions.state(done.session_id).status == "PENDING"
    other.close()


def test_a_function_is_run_and_its_result_found(sessions: Sessions) -> None:
    """A run goes from PENDING to COMPLETED with stage, progress that never falls, artefacts and a result."""
    done = sessions.submit("staged", "the work", metadata={"user": "ann"})
    state = sessions.wait(done.session_id, LONG_S)
    assert (state.status, state.progress, state.stage, state.agent) == ("COMPLETED", 100.0, "look back", "staged")
    assert sessions.watched.progress(done.session_id).percent == 60
    assert [one.url for one in state.artefacts] == ["https://example.com/report.pdf"]
    assert sessions.result(done.session_id)[1] == "done with the work"
    assert state.metadata == {"user": "ann"}
    percents = [
        event.details["progress"]
        for event in sessions.journal.store.read(done.session_id)
        if event.type == "STAGE_CHANGED"
    ]
    assert percents == [30, 60, 20]


def test_a_command_has_the_input_on_stdin_and_its_output_is_the_result(sessions: Sessions) -> None:
    """What a command prints is its result, where it journals none; a text comes to it as it is."""
    done = sessions.submit("cat", "hello")
    assert sessions.wait(done.session_id, LONG_S).status == "COMPLETED"
    assert sessions.result(done.session_id)[1] == "hello!"


@pytest.mark.parametrize(
    ("agent", "kind", "error"),
    [
        ("failing", "agent", "ValueError"),
        ("broken", "agent", "ProcessFailed"),
        ("missing", "configuration", "ModuleNotFoundError"),
        ("late", "timeout", "TimeoutError"),
    ],
)
def test_a_failure_says_its_kind(sessions: Sessions, agent: str, kind: str, error: str) -> None:
    """ERROR, with the kind of failure: of the agent, of its configuration, or that it took too long."""
    state = sessions.wait(sessions.submit(agent, 30).session_id, LONG_S)
    assert state.status == "ERROR"
    assert state.error is not None
    assert (state.error.kind, state.error.type) == (kind, error)


def test_a_killed_agent_is_interrupted(sessions: Sessions) -> None:
    """An agent whose process was killed is INTERRUPTED, killed; it is no error of its own, and is not run again."""
    done = sessions.submit("suicidal")
    state = sessions.wait(done.session_id, LONG_S)
    assert (state.status, state.reason) == ("INTERRUPTED", "killed")
    assert types(sessions, done.session_id).count("AGENT_INVOCATION_STARTED") == 1


def test_a_throttled_agent_is_tried_again(sessions: Sessions, tmp_path: Path) -> None:
    """Three attempts, with a backoff that grows and varies; each try that failed is a WARNING."""
    done = sessions.submit("throttled", {"file": str(tmp_path / "tries"), "times": 2})
    assert sessions.wait(done.session_id, LONG_S).status == "COMPLETED"
    assert sessions.result(done.session_id)[1] == "answered at try 3"
    warned = [event for event in sessions.journal.store.read(done.session_id) if event.type == "WARNING"]
    assert [event.details["attempt"] for event in warned] == [1, 2]
    assert 0.5 <= warned[0].details["backoff_s"] <= 1 <= warned[1].details["backoff_s"] <= 2
    assert {event.details["code"] for event in warned} == {"ThrottlingException"}


def test_one_that_stays_throttled_fails(sessions: Sessions, tmp_path: Path) -> None:
    """After the third attempt it is an ERROR of the kind throttling."""
    done = sessions.submit("throttled", {"file": str(tmp_path / "tries"), "times": 9})
    state = sessions.wait(done.session_id, LONG_S)
    assert state.error is not None
    assert (state.status, state.error.kind) == ("ERROR", "throttling")
    assert (tmp_path / "tries").read_text() == "3"


def test_cancelling_stops_the_process(sessions: Sessions) -> None:
    """CANCEL_REQUESTED is journaled, the process stopped, and the session INTERRUPTED, cancelled."""
    done = sessions.submit("sleeping", 300)
    wait_until(lambda: sessions.state(done.session_id).status == "PROCESSING")
    assert sessions.cancel(done.session_id).status in ("PROCESSING", "INTERRUPTED")
    state = sessions.wait(done.session_id, LONG_S)
    assert (state.status, state.reason) == ("INTERRUPTED", "cancelled")
    assert "CANCEL_REQUESTED" in types(sessions, done.session_id)
    wait_until(lambda: sessions.lines.get(done.session_id) is None)
    with pytest.raises(Refused, match="no run of it"):
        sessions.cancel(done.session_id)


def test_cancelling_what_has_not_begun(opened: Callable[..., Sessions]) -> None:
    """A run that waits is cancelled at once, and never starts."""
    sessions = opened()
    sessions.submitted = lambda session_id, run: None
    done = sessions.submit("echo")
    state = sessions.cancel(done.session_id)
    assert (state.status, state.reason) == ("INTERRUPTED", "cancelled")
    assert sessions.lines.get(done.session_id) is None
    assert not sessions.dispatcher.look()


def test_a_busy_session_rejects_enqueues_or_is_interrupted(sessions: Sessions, tmp_path: Path) -> None:
    """By default 409; enqueued runs follow in their order; interrupt has the one that runs cancelled first."""
    file = tmp_path / "ran"
    first = sessions.submit("counted", {"file": str(file), "name": "first", "seconds": 300})
    wait_until(file.exists)
    with pytest.raises(Refused, match="at work") as refused:
        sessions.submit("echo", "now", session_id=first.session_id)
    assert refused.value.status == 409
    sessions.submit("counted", {"file": str(file), "name": "second"}, session_id=first.session_id, on_busy="enqueue")
    assert sessions.state(first.session_id).queued == 1
    third = {"file": str(file), "name": "third"}
    sessions.submit("counted", third, session_id=first.session_id, on_busy="interrupt")
    wait_until(lambda: sessions.lines.get(first.session_id) is None)
    assert file.read_text().splitlines() == ["first", "third"]
    assert sessions.result(first.session_id)[1] == "third"
    assert types(sessions, first.session_id).count("CANCEL_REQUESTED") == 2


def test_a_next_turn(sessions: Sessions) -> None:
    """A session that has ended takes the next input with the agent that it had, and is PENDING meanwhile."""
    done = sessions.submit("echo", 1, session_id="we/../ird é")
    assert sessions.wait(done.session_id, LONG_S).status == "COMPLETED"
    again = sessions.answer("we/../ird é", 2)
    assert sessions.state("we/../ird é").status != "COMPLETED"
    wait_until(lambda: sessions.state("we/../ird é").ended)
    assert sessions.result("we/../ird é")[1] == {"said": 2}
    assert sessions.state("we/../ird é").run == again.run


def test_one_key_one_run(opened: Callable[..., Sessions], tmp_path: Path) -> None:
    """Twenty submissions of one Idempotency-Key at once, by two servers, are one session and one run."""
    servers = [opened().start(), opened().start()]
    asked: dict[str, Any] = {"file": str(tmp_path / "ran"), "name": "once"}
    found: list[tuple[str, str]] = []

    def submit(number: int) -> None:
        done = servers[number % 2].submit("counted", asked, idempotency_key="key-1")
        found.append((done.session_id, done.run))

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert len(found) == 20
    assert len(set(found)) == 1
    assert servers[0].wait(found[0][0], LONG_S).status == "COMPLETED"
    assert (tmp_path / "ran").read_text() == "once\n"
    with pytest.raises(Refused, match="another submission"):
        servers[1].submit("counted", {**asked, "name": "other"}, idempotency_key="key-1")


def test_twenty_servers_start_a_run_once(opened: Callable[..., Sessions], tmp_path: Path) -> None:
    """However many look after a store, a run that waits there is claimed by one."""
    servers = [opened() for _ in range(20)]
    servers[0].submitted = lambda session_id, run: None
    done = servers[0].submit("counted", {"file": str(tmp_path / "ran"), "name": "once"})
    threads = [threading.Thread(target=server.dispatcher.look) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert servers[0].wait(done.session_id, LONG_S).status == "COMPLETED"
    assert (tmp_path / "ran").read_text() == "once\n"
    assert sum(len(server.dispatcher.running) for server in servers) == 1


def test_a_large_input_reaches_the_agent(sessions: Sessions) -> None:
    """An input over what a line holds lies beside it until the run is done with, and the agent has all of it."""
    large = "x" * 300_000
    done = sessions.submit("echo", large)
    assert sessions.wait(done.session_id, LONG_S).status == "COMPLETED"
    assert sessions.result(done.session_id)[1] == {"said": large}
    wait_until(lambda: sessions.lines.get(done.session_id) is None)
    assert not list(sessions.journal.store.documents("sessions/inputs"))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("agents", "why"),
    [
        ({"a": lambda given: given}, "function of a module"),
        ({"a": "not a reference"}, "module:function"),
        ({"a": []}, "either a function or a command"),
        ({"": "m:f"}, "agent name"),
        ({"a": {"call": "m:f", "attempts": 0}}, "attempts"),
        ({"a": {"call": "m:f", "timeout_s": -1}}, "timeout_s"),
    ],
)
def test_agents_that_nobody_could_run(tmp_path: Path, agents: dict[str, Any], why: str) -> None:
    """What another process could not find, or is malformed, is told as the agents are named."""
    with pytest.raises(ConfigError, match=why):
        Sessions(f"sqlite:///{tmp_path}/journal.db", agents)


def test_a_store_in_memory_is_refused() -> None:
    """No run would reach it."""
    with pytest.raises(ConfigError, match="does not reach it"):
        Sessions("memory://", {})


def wait_until(holds: Callable[[], object], timeout_s: float = LONG_S) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)
