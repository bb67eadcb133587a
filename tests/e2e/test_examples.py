"""Every file in examples/ runs as its own first lines say, and leaves the journal that it is an example of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Workdir

EXAMPLES = Path(__file__).parents[2] / "examples"
Events = list[dict[str, object]]


def steps(events: Events) -> list[str]:
    """Return the endings, in order, as `KIND name outcome`, an attempt after the first with its number."""
    endings = [event for event in events if "outcome" in event]
    return [
        f"{str(event['event_type']).partition('_')[0]} {event['name']} {event['outcome']}"
        + (f" {event['attempt']}" if event["attempt"] != 1 else "")
        for event in endings
    ]


def only(workdir: Workdir, session: str) -> Events:
    """Return the events of the one session that is there; all of its steps have begun once and ended once."""
    (head,) = workdir.sessions()
    assert (head["session_id"], head["status"]) == (session, "COMPLETED")
    events = workdir.events(session)
    begun = [event["span_id"] for event in events if str(event["event_type"]).endswith("_START")]
    ended = [event["span_id"] for event in events if "outcome" in event]
    assert sorted(begun) == sorted(ended)
    assert workdir.journal("verify").returncode == 0
    return events


def graph_agent(workdir: Workdir) -> None:
    done = workdir.run(EXAMPLES / "graph_agent.py")
    assert (done.returncode, done.stdout) == (0, "they agree because they copy\n")
    assert steps(only(workdir, "reading-1")) == ["NODE plan ok", "NODE read ok", "NODE write ok", "AGENT reader ok"]


def hand_written_agent(workdir: Workdir) -> None:
    done = workdir.python(EXAMPLES / "hand_written_agent.py")
    assert (done.returncode, done.stderr) == (0, "")
    events = only(workdir, "research-1")
    assert steps(events) == ["TOOL search ok", "MODEL scripted-1 ok", "AGENT researcher ok"]
    types = {str(event["event_type"]) for event in events}
    assert {"TRAINING_JOB_STARTED", "STAGE_CHANGED", "PROGRESS", "FINAL_RESPONSE", "SESSION_COMPLETED"} <= types


def tool_agent(workdir: Workdir) -> None:
    done = workdir.run(EXAMPLES / "tool_agent.py")
    assert (done.returncode, done.stdout) == (0, "Journals remember.\n")
    events = only(workdir, "tools-1")
    assert [step for step in steps(events) if not step.startswith("NODE")] == [
        "MODEL scripted-1 ok",
        "TOOL search ok",
        "MODEL scripted-1 ok",
        "AGENT researcher ok",
    ]
    (head,) = workdir.sessions()
    assert (head["input_tokens"], head["output_tokens"]) == (82, 12)


def interrupted_agent(workdir: Workdir) -> None:
    done = workdir.run(EXAMPLES / "interrupted_agent.py")
    assert (done.returncode, done.stdout) == (0, "{'letter': 'Dear journal', 'sent': True}\n")
    events = only(workdir, "letter-1")
    assert steps(events) == [
        "NODE write ok",
        "NODE send interrupted",
        "AGENT correspondent interrupted",
        "NODE send ok 2",
        "AGENT correspondent ok",
    ]
    assert len({event["step_id"] for event in events if event.get("name") == "send"}) == 1
    (paused,) = [
        event["details"] for event in events if event["event_type"] == "AGENT_END" and event["outcome"] == "interrupted"
    ]
    (resumed,) = [event["details"] for event in events if event["event_type"] == "RUN_RESUMED"]
    assert paused["checkpoint_id"] == resumed["checkpoint_id"]  # type: ignore[index]


def redacted_agent(workdir: Workdir) -> None:
    done = workdir.python(EXAMPLES / "redacted_agent.py")
    assert (done.returncode, done.stderr) == (0, "")
    events = only(workdir, "mail-1")
    assert steps(events) == ["TOOL send ok", "AGENT mailer ok"]
    begun = {event["name"]: event["details"] for event in events if str(event["event_type"]).endswith("_START")}
    assert begun == {
        "mailer": {"input": {"to": "[mail]", "password": "[hidden]"}, "$redacted": ["input"]},
        "send": {"input": "Dear [mail]", "by_hand": True, "$redacted": ["input"]},
    }
    journal = b"".join(file.read_bytes() for file in (workdir.path / ".agent-journal").iterdir() if file.is_file())
    assert b"hunter2" not in journal
    assert b"example.org" not in journal


def read_journal(workdir: Workdir) -> None:
    done = workdir.python(EXAMPLES / "read_journal.py")
    assert done.returncode == 1
    assert "there is no journal" in done.stderr or "journal.db" in done.stderr
    assert not (workdir.path / ".agent-journal").exists()
    assert workdir.journal("demo", "--session", "d1", env={"AGENT_JOURNAL_DEMO_PACE": "0"}).returncode == 0
    done = workdir.python(EXAMPLES / "read_journal.py")
    assert done.returncode == 0
    first, *rest = done.stdout.splitlines()
    assert first.startswith("d1  COMPLETED  29 steps  ")
    assert sum(line.startswith("  failed: ") for line in rest) == 2
    assert sum(" ms  " in line for line in rest) == 3


def calling_an_agent(workdir: Workdir) -> None:
    done = workdir.python(EXAMPLES / "calling_an_agent.py")
    assert (done.returncode, done.stderr) == (0, "")
    *told, refused = done.stdout.splitlines()
    assert told == ["ticket-1 COMPLETED Is it open? Yes.", "ticket-2 ERROR the agent does not answer"]
    assert refused.startswith("ticket-3 agent id 'YOUR_AGENT_ID' is a placeholder, so no agent was called: ")
    statuses = {head["session_id"]: head["status"] for head in workdir.sessions()}
    assert statuses == {"ticket-1": "COMPLETED", "ticket-2": "ERROR", "ticket-3": "ERROR", "ticket-4": "COMPLETED"}
    assert workdir.events("ticket-3")[-1]["error"]["code"] == "CONFIGURATION_ERROR"  # type: ignore[index]
    assert workdir.journal("verify").returncode == 0


def bedrock_agent(workdir: Workdir) -> None:
    done = workdir.run(EXAMPLES / "bedrock_agent.py")
    assert (done.returncode, done.stdout) == (0, "Seat 12C is yours.\n")
    assert steps(only(workdir, "booking-1")) == [
        "TOOL Payments.charge interrupted",
        "AGENT BOOKING001 interrupted",
        "TOOL Payments.charge ok 2",
        "AGENT BOOKING001 ok",
    ]


CHECKS: dict[str, Callable[[Workdir], None]] = {
    check.__name__: check
    for check in (
        bedrock_agent,
        graph_agent,
        hand_written_agent,
        tool_agent,
        interrupted_agent,
        redacted_agent,
        read_journal,
        calling_an_agent,
    )
}


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_example(file: Path, workdir: Workdir) -> None:
    """An example runs and its journal is what it says."""
    assert file.stem in CHECKS, "an example without a check"
    CHECKS[file.stem](workdir)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_example_says_how_it_is_run(file: Path) -> None:
    """An example begins with what it shows and the command that runs it."""
    docstring = file.read_text().split('"""')[1]
    assert f"examples/{file.name}" in docstring
    assert "agent-journal" in docstring
