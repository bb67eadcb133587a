"""Steps by hand: served where the program lets them, refused where it would call by itself."""

from __future__ import annotations

import asyncio
import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.pipeline.session import session
from otel_agent_journal.replays.errors import Diverged
from tests.replay.played import langgraph_played

SESSION = "by-hand-1"


def asked(calls: list[str], *, query: str = "x", fails: bool = False, null: bool = False) -> Any:
    """A program that has each call made by its step."""

    def search(text: str) -> Any:
        calls.append(f"search {text}")
        if fails:
            raise LookupError(f"no {text}")
        return None if null else {"n": random.random(), "on": date(2026, 12, 2), "both": (1, 2)}

    async def answer(text: str) -> str:
        calls.append("answer")
        return f"answer {random.random()}"

    async def run() -> Any:
        with session(SESSION, agent="hand") as one:
            with one.step("tool", "search", input=query) as step:
                found = step.served(search, query)
            async with one.step("model", "m", input=[{"role": "user", "content": "q"}]) as step:
                text = await step.served(answer, "q")
            one.respond(text)
            return found, text

    return asyncio.run(run())


@pytest.mark.parametrize("options", [{}, {"fails": True}, {"null": True}])
def test_a_step_is_served_what_it_gave(options: dict[str, Any], tmp_path: Path) -> None:
    """Of the classes that it was; a failure is raised again; nothing is a value."""
    played = langgraph_played(tmp_path).record(lambda calls: asked(calls, **options))
    assert len(played.calls) == (1 if "fails" in options else 2)
    report, gave, calls = played.replay(lambda calls: asked(calls, **options))
    assert (calls, report.divergences) == ([], [])
    if "fails" in options:
        assert (type(gave), str(gave)) == (LookupError, "no x")
    else:
        assert gave == played.gave


def test_other_arguments_stop_before_the_call(tmp_path: Path) -> None:
    """The block is not entered."""
    played = langgraph_played(tmp_path).record(asked)
    report, gave, calls = played.replay(lambda calls: asked(calls, query="y"))
    assert (type(gave), calls) == (Diverged, [])
    assert [one.verdict for one in report.divergences] == ["CHANGED_ARGS"]


def by_itself(calls: list[str]) -> Any:
    """A program that makes the call in the block of its step."""
    with session(SESSION, agent="hand") as one, one.step("tool", "book", input="x") as step:
        calls.append("booked")
        step.complete("booked")
    return "booked"


def test_a_call_that_the_program_makes_by_itself_is_not_made(tmp_path: Path) -> None:
    """Nothing can serve it: the step is refused, and says what to do."""
    played = langgraph_played(tmp_path).record(by_itself)
    report, gave, calls = played.replay(by_itself)
    assert (type(gave), calls) == (Diverged, [])
    assert [one.verdict for one in report.divergences] == ["UNREPLAYABLE"]
    assert "step.served" in str(gave)
    _, gave, calls = played.replay(by_itself, live=("tool:book",))
    assert (gave, calls) == ("booked", ["booked"])


def test_outside_of_a_replay_it_is_the_call(tmp_path: Path) -> None:
    """`served` calls, completes the step, and returns."""
    played = langgraph_played(tmp_path).record(asked)
    outputs = [event.details.get("output") for event in played.journal.store.read(SESSION) if event.outcome == "ok"]
    assert [type(one) for one in outputs[:2]] == [dict, str]
