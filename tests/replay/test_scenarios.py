"""Every scenario is recorded and replayed: nothing is called, nothing differs, and the program gets what it got.

Whatever runs beside something else comes in another order each time. Once; fifty times with AGENT_JOURNAL_SOAK=1.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.replay import deep, graphs, strands_programs
from tests.replay.played import Played, Program, langgraph_played, strands_played

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
TIMES = 50 if SOAK else 1
SWAPS = 200 if SOAK else 3
LANGGRAPH = graphs.SCENARIOS | deep.SCENARIOS


@pytest.mark.long_form
@pytest.mark.parametrize("name", LANGGRAPH)
def test_langgraph(name: str, tmp_path: Path) -> None:
    """A program of LangGraph is served all that it asks for."""
    check(langgraph_played(tmp_path), LANGGRAPH[name])


@pytest.mark.long_form
@pytest.mark.parametrize("name", strands_programs.SCENARIOS)
def test_strands(name: str, tmp_path: Path) -> None:
    """A program of Strands is served all that it asks for."""
    check(strands_played(tmp_path), strands_programs.SCENARIOS[name])


@pytest.mark.long_form
def test_parallel_calls_of_one_tool_never_swap_in_langgraph(tmp_path: Path) -> None:
    """Eight at a time that take the same, each with a result of its own."""
    check(langgraph_played(tmp_path), graphs.alike, SWAPS)


@pytest.mark.long_form
def test_parallel_calls_of_one_tool_never_swap_in_strands(tmp_path: Path) -> None:
    """The same."""
    check(strands_played(tmp_path), strands_programs.alike, SWAPS)


def check(played: Played, program: Program, times: int = TIMES) -> None:
    """Record a program, replay it, and compare."""
    played.record(program)
    for _ in range(times):
        report, gave, calls = played.replay(program)
        assert calls == []
        assert [(one.verdict, one.kind, one.name, one.differs, one.at, one.why) for one in report.divergences] == []
        if isinstance(gave, Exception):
            assert (type(gave), str(gave)) == (type(played.gave), str(played.gave))
        else:
            assert gave == played.gave
        assert report.live == 0
        assert report.served == sum(event.details.get("served") is not None for event in played.events)
        assert not [event for event in played.events if event.usage is not None]
