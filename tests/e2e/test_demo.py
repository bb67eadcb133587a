"""`agent-journal demo`: a real agent on a scripted model, live, then its tree and what to try next."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.e2e.conftest import BIN, Workdir

FAST = {"AGENT_JOURNAL_DEMO_PACE": "0.005"}


def test_demo_shows_and_suggests_what_works(workdir: Workdir) -> None:
    """It prints steps as they come, the tree with the retried tool, and commands that work as they stand."""
    done = workdir.journal("demo", env=FAST)
    assert done.returncode == 0, done.stderr
    live, _, after = done.stdout.partition("the agent answered: ")
    assert "only a journal shows where it died" in after
    assert live.index("▶ NODE         plan") < live.index("✓ NODE         plan")
    assert "tool search ×2" in after
    assert "attempt 1 failed: ConnectionError" in after
    (session,) = workdir.sessions()
    assert (session["status"], session["agent"], session["errors"]) == ("COMPLETED", "research_agent", 1)
    suggested = [line.split("  ")[1] for line in after.partition("what to try next:")[2].splitlines() if line]
    assert len(suggested) == 9
    for command in suggested[:3]:
        name, *arguments = shlex.split(command)
        assert name in ("agent-journal", str(BIN / "agent-journal"))  # as one has to type it
        tried = workdir.command(BIN / "agent-journal", "-o", "table", *arguments)
        assert tried.returncode == 0, tried.stderr
        assert tried.stdout.strip()


DEMOS = {
    "strands": ("on_call", 10, {"amazon.nova-pro-v1:0", "read_traces", "writer"}),
    "bedrock-agent": ("ONCALL2026", 10, {"RUNBOOKS01", "LogAnalyst", "code_interpreter"}),
    "agentcore": ("travel_agent", 6, {"travel_desk", "travel_agent", "weather", "write_itinerary"}),
}


@pytest.mark.parametrize("framework", DEMOS)
def test_demo_of_each_framework(workdir: Workdir, framework: str) -> None:
    """Each runs its real framework, is one session that completed, and suggests commands that work."""
    agent, steps, names = DEMOS[framework]
    done = workdir.journal("demo", "--framework", framework, env=FAST)
    assert done.returncode == 0, done.stderr
    assert "the agent answered: \n" not in done.stdout
    (session,) = workdir.sessions()
    assert (session["status"], session["agent"], session["steps"]) == ("COMPLETED", agent, steps)
    events = workdir.events(session["session_id"])
    assert names <= {event.get("name") for event in events}
    suggested = [line.split("  ")[1] for line in done.stdout.partition("what to try next:")[2].splitlines() if line]
    for command in suggested[:2]:
        tried = workdir.command(BIN / "agent-journal", "-o", "table", *shlex.split(command)[1:])
        assert tried.returncode == 0, tried.stderr
        assert tried.stdout.strip()


def test_demo_as_data(workdir: Workdir) -> None:
    """With -o jsonl stdout holds the events and nothing else."""
    done = workdir.journal("demo", "-o", "jsonl", "--session", "mine", env=FAST)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["session_id"] for event in events} == {"mine"}
    assert events[0]["event_type"] == "AGENT_START"
    assert events[0]["details"]["process"]["pid"]
    assert any(event["event_type"] == "CHUNK" for event in events)
