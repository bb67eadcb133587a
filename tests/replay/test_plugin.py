"""The pytest plugin: recordings as tests, and assertions on what an agent did. Each in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AGENT = """
from langchain.agents import create_agent
from langchain_core.tools import tool
from otel_agent_journal.testing.scripted import ScriptedModel, reply

CALLS = []

@tool
def search(query: str) -> str:
    "Look something up."
    CALLS.append(query)
    return f"found {query}"

SCRIPT = [reply("", calls=[("search", {"query": "a"})], call_ids=["1"]), reply("It is a.", input_tokens=7)]

def run(prompt="Be brief."):
    agent = create_agent(ScriptedModel(script=SCRIPT, by_turn=True), [search], system_prompt=prompt, name="reader")
    return agent.invoke({"messages": [("user", "what?")]}, {"configurable": {"thread_id": "t"}})["messages"][-1].content
"""
TESTS = """
from agent import CALLS, run

def test_same(replay_session):
    with replay_session("recordings/reader.jsonl") as replayed:
        assert run() == "It is a."
    replayed.assert_same()
    assert replayed.divergences == []
    assert replayed.journal.tools == ["search"]
    assert replayed.journal.model("reader").prompt[0]["content"] == "Be brief."
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an agent and a test."""
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "test_agent.py").write_text(TESTS)
    return tmp_path


def pytest_in(project: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run pytest there."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AGENT_JOURNAL", "CI", "PYTEST"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args],
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        env=environ | {"PYTHONPATH": f"{project}:{os.environ.get('PYTHONPATH', '')}"} | env,
        timeout=60,
        check=False,
    )


def test_it_is_recorded_once_and_then_replayed(project: Path) -> None:
    """The first run is live and writes the file; the second calls nothing."""
    done = pytest_in(project)
    assert done.returncode == 0, done.stdout
    file = project / "recordings" / "reader.jsonl"
    first = file.read_bytes()
    (project / "test_agent.py").write_text(TESTS + "    assert CALLS == []\n")
    done = pytest_in(project)
    assert done.returncode == 0, done.stdout
    assert file.read_bytes() == first
    assert not (project / ".agent-journal").exists()


def test_in_ci_nothing_is_recorded(project: Path) -> None:
    """A missing file fails, and says so."""
    done = pytest_in(project, CI="true")
    assert done.returncode == 1
    assert "there is no recording" in done.stdout
    assert not (project / "recordings").exists()


def test_a_change_fails_and_is_named(project: Path) -> None:
    """What differs is in the message, also where the test does not ask."""
    assert pytest_in(project).returncode == 0
    changed = TESTS.replace("run()", 'run("Be briefer.")').split("    replayed.assert_same()")[0]
    (project / "test_agent.py").write_text(changed)
    done = pytest_in(project)
    assert done.returncode == 1
    assert "DRIFT step 3: model" in done.stdout
    assert "+ Be briefer." in done.stdout
    assert pytest_in(project, "--journal-record=all").returncode == 0  # recorded anew
    assert pytest_in(project).returncode == 0


def test_a_call_that_was_not_recorded_is_a_divergence(project: Path) -> None:
    """The test may look at it, and is no failure then."""
    assert pytest_in(project).returncode == 0
    (project / "test_agent.py").write_text(
        TESTS.split("    with replay", maxsplit=1)[0]
        + """
    with replay_session("recordings/reader.jsonl") as replayed:
        run()
        from agent import search
        search.invoke({"query": "b"})
    assert [one.verdict for one in replayed.divergences] == ["NEW"]
    assert CALLS == []
"""
    )
    done = pytest_in(project)
    assert done.returncode == 0, done.stdout


def test_a_journal_of_what_ran_live(project: Path) -> None:
    """Tools, prompts, cost."""
    (project / "test_agent.py").write_text(
        """
import pytest
from agent import run

def test_live(agent_journal):
    run()
    assert agent_journal.tools == ["search"]
    assert agent_journal.cost == 0
    assert agent_journal.tool("search").input == {"query": "a"}
    assert agent_journal.models[1].input_tokens == 7
    assert agent_journal.status == "COMPLETED"
    with pytest.raises(LookupError, match="tool book was not called; what was: search"):
        agent_journal.tool("book")
    with pytest.raises(LookupError, match="no model was called in plan"):
        agent_journal.model("plan")
"""
    )
    done = pytest_in(project)
    assert done.returncode == 0, done.stdout


def test_nothing_ran(project: Path) -> None:
    """All that was recorded is missing, and nothing fails for want of a journal."""
    assert pytest_in(project).returncode == 0
    body = '    with replay_session("recordings/reader.jsonl") as replayed:\n        pass\n'
    looked = '    assert {one.verdict for one in replayed.divergences} == {"MISSING"}\n    assert CALLS == []\n'
    looked += '    with pytest.raises(LookupError, match="no agent ran"):\n        replayed.journal.tools\n'
    (project / "test_agent.py").write_text(
        "import pytest\n" + TESTS.split("    with replay", maxsplit=1)[0] + body + looked
    )
    done = pytest_in(project)
    assert done.returncode == 0, done.stdout
