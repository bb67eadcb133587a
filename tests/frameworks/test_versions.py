"""The scenarios of LangGraph and Strands pass with the oldest releases that the extras name, and with the newest."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.frameworks.versions import NEWEST, OLDEST, ROOT, environment, required

SCENARIOS = (
    "tests/frameworks/langgraph",
    "tests/frameworks/strands",
    *(f"tests/replay/test_{name}.py" for name in ("scenarios", "others", "seams")),
)


@pytest.mark.soak
@pytest.mark.timeout(3600)  # of which pip may take minutes, once
@pytest.mark.parametrize("which", [OLDEST, NEWEST])
def test_scenarios(which: str) -> None:
    """Every scenario, answers and requests rebuilt, recorded and replayed, in an environment of its own."""
    python = environment(which)
    others = {key: value for key, value in os.environ.items() if key not in ("AGENT_JOURNAL_SOAK", "PYTHONPATH")}
    command = [python, "-m", "pytest", "-q", "-n", "2", "--timeout", "600", "--tb", "short", *SCENARIOS]
    run = subprocess.run(command, cwd=ROOT, env=others, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2000:]


def test_the_oldest_are_those_of_the_extras() -> None:
    """Of what is instrumented the oldest releases are taken exactly, of all else whatever pip finds."""
    oldest, newest = required(OLDEST), required(NEWEST)
    exact = {one.partition("==")[0] for one in oldest if one not in newest}
    assert {"langgraph", "langchain-core", "strands-agents", "opentelemetry-api", "opentelemetry-sdk"} <= exact
    assert not [one for one in oldest if one.startswith(("langgraph>", "strands", "opentelemetry")) and "==" not in one]
