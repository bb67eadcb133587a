"""Scenarios that the project has for another reason are replayed, too: nothing is called, and nothing differs.

Those of `tests/frameworks/unnoticed`. What cannot be as it was, and why, is named here.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from otel_agent_journal.testing import scripted, scripted_strands
from tests.frameworks.unnoticed import of_langgraph, of_strands
from tests.frameworks.unnoticed.observing import Seen, masked
from tests.replay.played import Played, Program, langgraph_played, strands_played

TIMES: Final = 50 if os.environ.get("AGENT_JOURNAL_SOAK") else 1
NOTHING: Final = {"draws"}  # no agent runs in it, so there is no session
SEVERAL: Final = {"a_cache", "batches", "a_graph"}  # invocations without a thread: one session where it is given one
IN_PIECES: Final = {
    "an_agent_streamed",
    "events",
    "a_stream_that_is_left",
    "callbacks",
}  # the journal has fewer of them
ORDERED: Final = {"tools_that_fail"}  # the keys of a result that a tool of Strands wrote in an order of its own
CANCELLED: Final = {("strands", "a_cancel")}  # a tool call that was cancelled gave nothing that could be served
PLAYED: Final[dict[str, Callable[[Path], Played]]] = {"langgraph": langgraph_played, "strands": strands_played}
COLLECTIONS: Final = {"langgraph": of_langgraph.SCENARIOS, "strands": of_strands.SCENARIOS}
SCENARIOS: Final = [(one, name) for one, found in COLLECTIONS.items() for name in found if name not in NOTHING]


@pytest.mark.long_form
@pytest.mark.parametrize(("framework", "name"), [one for one in SCENARIOS if one not in CANCELLED])
def test_nothing_differs(framework: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is called, and the program gets what it got."""
    run = program(COLLECTIONS[framework][name], monkeypatch)
    played = PLAYED[framework](tmp_path)
    if name in SEVERAL:
        played.with_options(session_id="reading-7")
    played.record(run)
    assert bool(played.calls) == any(one.kind == "MODEL" for one in played.recording().calls())
    for _ in range(TIMES):
        report, gave, calls = played.replay(run, again=True)
        assert [(one.verdict, one.kind, one.name, one.differs, one.at, one.why) for one in report.divergences] == []
        assert (calls, report.live) == ([], 0)
        assert type(gave) is type(played.gave)
        if name in ORDERED:
            assert sorted(str(gave)) == sorted(str(played.gave))
        elif name not in IN_PIECES:
            assert str(gave) == str(played.gave)


@pytest.mark.parametrize(("framework", "name"), CANCELLED)
def test_a_call_that_was_cancelled_is_not_made(
    framework: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before it is served; it is said why no more is, if the program comes there before it is cancelled."""
    run = program(COLLECTIONS[framework][name], monkeypatch)
    played = PLAYED[framework](tmp_path).record(run)
    report, _, calls = played.replay(run)
    assert {(one.verdict, one.name, one.why) for one in report.divergences} <= {
        ("UNREPLAYABLE", "slow", "it was cancelled")
    }
    assert (calls, report.live) == ([], 0)


def program(scenario: Callable[[Seen], Any], monkeypatch: pytest.MonkeyPatch) -> Program:
    """A scenario as a program that notes the models that it calls."""

    def run(calls: list[str]) -> Any:
        with monkeypatch.context() as patch:
            for owner, names in (
                (scripted.ScriptedModel, ("_generate", "_agenerate", "_stream", "_astream")),
                (scripted_strands.ScriptedModel, ("stream",)),
            ):
                for name in names:
                    patch.setattr(owner, name, _noting(getattr(owner, name), calls))
            given = scenario(Seen())
            return masked(asyncio.run(given) if inspect.iscoroutine(given) else given)

    return run


def _noting(original: Any, calls: list[str]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append("model")
        return original(*args, **kwargs)

    return call
