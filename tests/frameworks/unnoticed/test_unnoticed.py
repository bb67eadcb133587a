"""The agent does not notice: every scenario is the same to its program, plain and journaled, each in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.unnoticed import of_langgraph, of_strands

ROOT = Path(__file__).resolve().parents[3]
SCENARIOS = [
    (framework, name)
    for framework, found in (("langgraph", of_langgraph), ("strands", of_strands))
    for name in found.SCENARIOS
]


@cache
def observed(framework: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was observed of a framework's scenarios, plain and journaled."""
    told: list[dict[str, Any]] = []
    for how in ("plain", "journaled"):
        (folder / "journal").mkdir(exist_ok=True)
        settings = {"AGENT_JOURNAL_STORE": f"sqlite:///{folder}/journal/j.db", "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "tests.frameworks.unnoticed.observing", framework, how, str(folder)]
        run = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=110, check=False
        )
        assert run.returncode == 0, run.stderr
        told.append(json.loads(run.stdout.splitlines()[-1]))
    return told[0], told[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all of them: each framework's scenarios are run once."""
    return tmp_path_factory.mktemp("unnoticed")


@pytest.mark.parametrize(("framework", "scenario"), SCENARIOS)
def test_the_same(folder: Path, framework: str, scenario: str) -> None:
    """Output, exceptions, warnings, what was printed, logged, asked of objects, and what the process has open."""
    plain, journaled = observed(framework, folder)
    assert journaled[scenario] == plain[scenario]
