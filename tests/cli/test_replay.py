"""`replay`: a recorded session against today's program, as one does it on a terminal and in CI."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from otel_agent_journal import replay
from otel_agent_journal.replays.errors import Diverged
from otel_agent_journal.testing.builders import JournalBuilder, an_event
from tests.cli.command_line import PROGRAM, cli, rows
from tests.cli.conftest import Seeded

AGENT = str(Path(__file__).parent / "reading_agent.py")


def run(*args: str, change: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command; what the agent behind it calls live is in `live.txt`."""
    return subprocess.run(
        [*PROGRAM, *args],
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LIVE": str(Path.cwd() / "live.txt"), "CHANGE": change, **env},
        timeout=60,
        check=False,
    )


def called() -> list[str]:
    """What was called live since this was asked last."""
    file = Path("live.txt")
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line of stdout: the program's own is before it."""
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def journal_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the journal of one session, recorded once."""
    folder = tmp_path_factory.mktemp("recorded")
    with contextlib.chdir(folder):
        done = run("run", "--", sys.executable, AGENT)
        assert (done.returncode, called()) == (0, ["model", "search a", "model", "search b", "model"])
    return folder


@pytest.fixture
def recorded(home: Path, journal_of_one: Path) -> str:
    """A session that was recorded, in a journal of the test's own."""
    shutil.copytree(journal_of_one, home, dirs_exist_ok=True)
    return "reading-7"


def test_the_same_program_is_served_all_of_it(recorded: str) -> None:
    """Nothing is called; the replay is a session of its own, tagged, which costs nothing; the program may ask."""
    done = run("replay", recorded, "--", sys.executable, AGENT)
    found = report(done)
    assert (done.returncode, called()) == (0, [])
    assert done.stdout.splitlines()[0] == "It is b. True"
    assert (found["served"], found["live"], found["first"], found["diverged"]) == (5, 0, None, False)
    assert found["replay"] == f"{recorded}~replay-1"
    sessions = {row["session_id"]: row for row in rows(cli("ls"))}
    assert set(sessions) == {recorded, f"{recorded}~replay-1"}
    assert [row["session_id"] for row in rows(cli("ls", "--tag", "replay"))] == [f"{recorded}~replay-1"]
    assert report(run("replay", recorded, "--", sys.executable, AGENT))["replay"] == f"{recorded}~replay-2"


def test_without_a_program_the_recorded_one_runs(recorded: str) -> None:
    """The journal knows what it was, and its arguments."""
    assert report(run("replay", recorded))["served"] == 5
    assert called() == []


def test_a_prompt_that_was_changed_is_named(recorded: str) -> None:
    """It is served all the same; strict fails for it."""
    done = run("replay", recorded, "-o", "table", "--", sys.executable, AGENT, change="prompt")
    assert (done.returncode, called()) == (0, [])
    assert "3 ≈ model     scripted-1  DRIFT  messages" in done.stdout
    assert "- Be brief." in done.stdout
    assert "+ Be briefer." in done.stdout
    assert "first: step 3 (scripted-1), caused by a prompt" in done.stdout
    assert run("replay", recorded, "--strict", "--", sys.executable, AGENT, change="prompt").returncode == 5


def test_a_tool_that_is_gone_is_missed(recorded: str) -> None:
    """The program completes, and only what was never asked for tells."""
    done = run("replay", recorded, "--", sys.executable, AGENT, change="without")
    assert done.returncode == 5
    assert report(done)["counts"]["MISSING"] >= 1


def test_a_program_that_fails_where_the_recorded_one_did_not(recorded: str) -> None:
    """Its exit code is not ours: 1, and it is said."""
    done = run("replay", recorded, "--", sys.executable, AGENT, change="fails")
    assert done.returncode == 1
    assert "the program ended with 3" in done.stderr


def test_a_recording_that_was_killed_replays_to_where_it_died(home: Path) -> None:
    """Within a tool: what came before is served, the tool is not called, and the reason is said."""
    assert run("run", "--", sys.executable, AGENT, change="killed").returncode == 137
    called()
    plan = run("replay", "--dry-run", "reading-7")
    assert plan.returncode == 5
    (unable,) = rows(plan)[0]["unreplayable"]
    assert (unable["name"], unable["why"]) == ("search", "it was running when the recording ended")
    done = run("replay", "reading-7", "--", sys.executable, AGENT)
    found = report(done)
    assert (done.returncode, called()) == (5, [])
    assert (found["served"], found["first"]["verdict"], found["first"]["name"]) == (3, "UNREPLAYABLE", "search")
    assert found["cause"] == "the recording, and not the code"


def test_no_network(recorded: str) -> None:
    """A connection in the program's own code is refused and named, though the program catches all."""
    done = run("replay", recorded, "--no-network", "--", sys.executable, AGENT, change="network")
    assert done.stdout.startswith("Diverged")
    assert "203.0.113.7" in done.stdout + done.stderr
    assert done.returncode in (1, 5)
    assert called() == []


def test_until_and_from(recorded: str) -> None:
    """Ends before a step; or calls everything from it on, after it has asked about the tools that did something."""
    done = run("replay", recorded, "--until", "model.3", "--", sys.executable, AGENT)
    assert (done.returncode, called(), report(done)["served"]) == (0, [], 4)
    done = run("replay", recorded, "--from", "model.2", "--", sys.executable, AGENT)
    assert done.returncode == 2
    assert "search" in done.stderr
    done = run("replay", recorded, "--from", "model.2", "--yes", "--", sys.executable, AGENT)
    assert called() == ["model", "search b", "model"]
    done = run("replay", recorded, "--from", "model.2", "--once", "--", sys.executable, AGENT)
    assert called() == ["model", "model"]


def test_live_models_with_another_parameter(recorded: str) -> None:
    """Models are called, tools are served."""
    done = run("replay", recorded, "--live", "models", "--set", "model=other", "--", sys.executable, AGENT)
    assert done.returncode == 0, done.stdout
    assert called() == ["model"] * 3


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--set", "model=x"], "add --live models"),
        (["--set", "model"], "NAME=VALUE is expected"),
        (["--once"], "add --from STEP"),
        (["--live", "everything"], "it is one of"),
        (["--ignore", "everything"], "it is one of time, uuid, or a path"),
        (["--on-new", "maybe"], "it is one of"),
        (["--as", "reading-7"], "which is there"),
        (["--agent", "x"], "go with --all"),
        (["--until", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_asked_is_said(recorded: str, args: list[str], said: str) -> None:
    """Before anything runs."""
    done = run("replay", recorded, *args, "--", sys.executable, AGENT)
    assert done.returncode in (2, 3)
    assert said in done.stderr
    assert called() == []


def test_a_session_that_is_not_there(recorded: str) -> None:
    """Exit 3, and how to list them."""
    done = run("replay", "reading-8", "--", sys.executable, AGENT)
    assert done.returncode == 3


def test_a_file_is_replayed_without_the_journal(recorded: str) -> None:
    """Exported, it holds nothing of the machine, is the same each time, and replays where there is no journal."""
    assert cli("export", recorded, "--recording", "recordings/r.jsonl").exit_code == 0
    first = Path("recordings/r.jsonl").read_bytes()
    assert cli("export", recorded, "--recording", "recordings/r.jsonl").exit_code == 0
    assert Path("recordings/r.jsonl").read_bytes() == first
    assert b'"host"' not in first
    done = run("--store", "sqlite:///elsewhere/journal.db", "replay", "recordings/r.jsonl", "--", sys.executable, AGENT)
    assert (done.returncode, called(), report(done)["served"]) == (0, [], 5)
    Path("recordings/bad.jsonl").write_text("nothing\n")
    done = run("replay", "recordings/bad.jsonl", "--", sys.executable, AGENT)
    assert (done.returncode, "is no recording: line 1" in done.stderr) == (2, True)


def test_all_of_an_agent_in_ci(recorded: str) -> None:
    """A line a session, a report as CI reads it, exit 5 where one went another way; replays are not replayed."""
    assert run("run", "--", sys.executable, AGENT, "reading-8").returncode == 0
    called()
    done = run("replay", "--all", "--junit", "junit.xml")
    assert (done.returncode, [row["outcome"] for row in rows(done)]) == (0, ["same", "same"])
    done = run("replay", "--all", "--strict", "--junit", "junit.xml", change="prompt")
    assert done.returncode == 5
    assert [(row["session"], row["outcome"], row["first"]) for row in rows(done)] == [
        (name, "diverged", "DRIFT step 3 model scripted-1") for name in ("reading-7", "reading-8")
    ]
    suite = ET.parse("junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    assert [case.get("name") for case in suite] == ["reading-7", "reading-8"]
    done = run("replay", "--all", "--sample", "1", "--agent", "LangGraph")
    assert len(rows(done)) == 1
    assert called() == []


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "agent_journal_langgraph"}, "langgraph cannot be served: disabled"),
        ({"AGENT_JOURNAL_FIELD_LIMIT": "nothing"}, "AGENT_JOURNAL_FIELD_LIMIT"),
    ],
)
def test_a_program_that_cannot_be_served_does_not_run(recorded: str, env: dict[str, str], said: str) -> None:
    """It would call what it asks for; so it is ended before it does, and the reason is said."""
    done = run("replay", recorded, "--", sys.executable, AGENT, **env)
    assert done.returncode in (2, 5)
    assert said in done.stderr
    assert called() == []


def test_a_malformed_replay_ends_the_program(recorded: str) -> None:
    """Whoever set the variable: what was to be replayed is never called instead."""
    done = run("run", "--", sys.executable, AGENT, AGENT_JOURNAL_REPLAY="nothing")
    assert (done.returncode, called()) == (5, [])
    assert "the program was not run" in done.stderr


def test_a_program_with_a_journal_of_its_own_is_replayed_into_ours(recorded: str) -> None:
    """What it configures is left aside, so that the report is of all that it did."""
    done = run("replay", recorded, "--", sys.executable, AGENT, change="configures")
    assert (done.returncode, called(), report(done)["served"]) == (0, [], 5)
    assert not Path("own.db").exists()


TWICE = """
import sys
from otel_agent_journal import configure, flush, replay, session

def agent(text):
    with session("twice-1") as s, s.step("tool", "search", input=text) as step:
        return step.served(lambda one: f"found {one}", text)

configure()
agent("birds")
flush()
for text, verdicts in (("fish", ["CHANGED_ARGS"]), ("birds", [])):
    with replay("twice-1") as replayed:
        agent(text)
    assert [one.verdict for one in replayed.divergences] == verdicts, replayed.divergences
    print(replayed.report.replay)
"""


def test_replays_in_one_process_are_sessions_of_their_own(home: Path) -> None:
    """The second is not compared with what the first has done."""
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == ["twice-1~replay-1", "twice-1~replay-2"]


def test_a_fork_is_refused_before_anything_runs(journal: Seeded) -> None:
    """It has only what came after the point that it began at; what has the beginning is named."""
    fork = JournalBuilder("what-if")
    agent = fork.start("AGENT", "reader")
    fork.end(fork.start("MODEL", "claude", parent=agent), details={"output": "yes"})
    fork.end(agent)
    said = {"base": "reading-7", "fork": "what-if", "step": 3}
    journal.store.append([an_event(0, session_id="what-if", type="SESSION_FORKED", details=said)])
    journal.keep(fork)
    plan = cli("replay", "--dry-run", "what-if")
    assert (plan.exit_code, rows(plan)[0]["refusal"].endswith("; replay reading-7")) == (5, True)
    done = cli("replay", "what-if", "--", sys.executable, AGENT)
    assert (done.exit_code, done.stdout, called()) == (5, "", [])
    assert "session what-if was forked from reading-7, and has only what came after that" in done.stderr
    assert rows(cli("replay", "--all", "--", sys.executable, AGENT)) == []
    with pytest.raises(Diverged, match="was forked from reading-7"):
        replay("what-if")
