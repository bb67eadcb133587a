"""Every scenario is recorded and replayed: nothing is called, nothing differs, and the program gets what it got."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replay import graphs, strands_programs
from tests.replay.played import Played, Program, langgraph_played, strands_played


@pytest.mark.parametrize("name", graphs.SCENARIOS)
def test_langgraph(name: str, tmp_path: Path) -> None:
    """A program of LangGraph is served all that it asks for."""
    check(langgraph_played(tmp_path), graphs.SCENARIOS[name])


@pytest.mark.parametrize("name", strands_programs.SCENARIOS)
def test_strands(name: str, tmp_path: Path) -> None:
    """A program of Strands is served all that it asks for."""
    check(strands_played(tmp_path), strands_programs.SCENARIOS[name])


def check(played: Played, program: Program) -> None:
    """Record a program, replay it, and compare."""
    played.record(program)
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
