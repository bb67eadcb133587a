"""A long-lived agent, and whoever drains it, take no more memory after 100,000 steps than after the first few."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, Workdir

AGENT = Path(__file__).with_name("memory_agent.py")
MIB = 1024 * 1024
SEGMENTS_BYTES = 4 * 8 * MIB  # in use, ready, full and not yet deleted

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc"),
]


def measure(workdir: Workdir, door: str, kind: str, sessions: str, steps: int, **env: str) -> list[dict[str, int]]:
    """Run the agent and return its lines."""
    command = [sys.executable, AGENT, door, kind, sessions, str(steps)]
    if door == "run":
        command = [BIN / "agent-journal", "run", "--", *command]
    env = {"AGENT_JOURNAL_SPOOL": "spool", "PYTHONPATH": str(AGENT.parents[2]), **env}
    done = subprocess.run(
        command, cwd=workdir.path, env=workdir.env | env, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(lines: list[dict[str, int]], *, after: int, growth_bytes: int) -> None:
    """Check that nothing grew by more than that after so many steps."""
    steps = lines[-1]["steps"]
    begun = [line for line in lines if line["steps"] <= after * 1.05]
    for what in ("agent", "drain"):
        grown = lines[-1][what] - max(line[what] for line in begun)
        print(f"{what}: {grown / MIB:.1f} MiB from step {begun[-1]['steps']:,} to {steps:,}")
        assert grown < growth_bytes, (what, lines)
    assert max(line["spool"] for line in lines) <= SEGMENTS_BYTES, lines


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("door", "sessions"), [("run", "many"), ("configure", "one")])
def test_memory_over_ten_thousand_steps(workdir: Workdir, door: str, sessions: str) -> None:
    """Over 10,000 hand-written steps the second half takes no more than caches that fill: 8 MiB."""
    lines = measure(workdir, door, "recorder", sessions, 10_000)
    assert len(lines) >= 9
    check(lines, after=5_000, growth_bytes=8 * MIB)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("door", "sessions"), [("run", "one"), ("configure", "many")])
def test_memory_over_graph_runs(workdir: Workdir, door: str, sessions: str) -> None:
    """Over 2,000 steps of LangGraph the last 1,600 take under 5 MiB: no run, message or attempt is kept for good.

    Some 3 MiB are the folds of 76 sessions that have ended, of which 128 are kept.
    """
    lines = measure(workdir, door, "langgraph", sessions, 2_000)
    assert len(lines) >= 8
    check(lines, after=400, growth_bytes=5 * MIB)


@pytest.mark.timeout(300)
def test_memory_without_a_backend(workdir: Workdir) -> None:
    """Spans for an OTLP backend that is not there do not pile up in memory beyond a queue and what is known of them."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        lines = measure(
            workdir,
            "run",
            "recorder",
            "many",
            25_000,
            AGENT_JOURNAL_OTLP=f"http://127.0.0.1:{nobody.getsockname()[1]}",
        )
    check(lines, after=12_500, growth_bytes=24 * MIB)  # an endless queue would take 40


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", ["run", "configure"])
@pytest.mark.parametrize("kind", ["recorder", "langgraph"])
@pytest.mark.parametrize("sessions", ["one", "many"])
def test_memory_over_a_hundred_thousand_steps(workdir: Workdir, door: str, kind: str, sessions: str) -> None:
    """From 20,000 to 100,000 steps neither agent nor drain grows by 8 MiB: a hundred bytes a step would show."""
    check(measure(workdir, door, kind, sessions, 100_000), after=20_000, growth_bytes=8 * MIB)
