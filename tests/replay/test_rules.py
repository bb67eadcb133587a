"""What a replay is told to do: what is live, where it begins and ends, what is done once; and what a program keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.replays.errors import Diverged, ReplayEnded
from tests.replay.graphs import THREAD, Calls, an_agent, question, said
from tests.replay.played import Program, langgraph_played
from tests.replay.worker import classes, program, with_new, work


def drifting(fetch: Any, store: Any, model: Any) -> list[str]:
    """Ask the model something else."""
    return work(fetch, store, model, prompt="Answer in one line.")


def test_on_drift_stop(tmp_path: Path) -> None:
    """Stops before the model that is asked something else."""
    played = langgraph_played(tmp_path).record(program(work))
    report, gave, calls = played.replay(program(drifting), on_drift="stop")
    assert (type(gave), calls) == (Diverged, [])
    assert classes(report) == ["DRIFT"]


def test_live_models_are_called_and_what_they_say_is_compared(tmp_path: Path) -> None:
    """Tools are served, by what they take where a model asks with ids of its own."""
    played = langgraph_played(tmp_path).record(program(work))
    report, _, calls = played.replay(program(work), live=("models",))
    assert calls == ["model"]
    assert (report.served, report.live) == (2, 1)
    assert classes(report) == ["CHANGED_OUTCOME"]
    assert report.cause == "a call that was made live"


def test_a_live_model_that_asks_for_what_was_recorded_is_served(tmp_path: Path) -> None:
    """Ids of calls are others then."""
    played = langgraph_played(tmp_path).record(lambda calls: said(an_agent(calls).invoke(question(), THREAD)))

    def renamed(calls: Calls) -> Any:
        from otel_agent_journal.testing.scripted import reply

        script = [
            reply("let me see", calls=[("search", {"query": "b"}), ("search", {"query": "a"})], call_ids=["x", "y"]),
            reply("It is c."),
        ]
        return said(an_agent(calls, script).invoke(question(), THREAD))

    _, gave, calls = played.replay(renamed, live=("models",))
    assert calls == ["model", "model"]
    tools = {content for kind, content, _ in gave if kind == "tool"}
    assert tools == {content for kind, content, _ in played.gave[:4] if kind == "tool"}


def test_one_live_tool(tmp_path: Path) -> None:
    """By its name; all else is served."""
    played = langgraph_played(tmp_path).record(program(work))
    report, _, calls = played.replay(program(work), live=("tool:store",))
    assert calls == ["store p"]
    assert classes(report) == []


def test_a_tool_that_was_not_recorded_may_be_answered_that_it_failed(tmp_path: Path) -> None:
    """With `on_new=error` the model hears of it, and goes on."""
    from otel_agent_journal.testing.scripted import reply

    script = [reply("x", calls=[("search", {"query": "z"})], call_ids=["9"]), reply("It is c.")]
    played = langgraph_played(tmp_path).record(lambda calls: said(an_agent(calls).invoke(question(), THREAD)))
    report, gave, calls = played.replay(
        lambda calls: said(an_agent(calls, script).invoke(question(), THREAD)), live=("models",), on_new="error"
    )
    assert calls == ["model", "model"]
    assert "was not called" in gave[2][1]
    assert "NEW" in classes(report)


def test_from_a_step_on_everything_is_live(tmp_path: Path) -> None:
    """Served up to it: a fork by running again, for programs without a checkpointer."""
    played = langgraph_played(tmp_path).record(lambda calls: said(an_agent(calls).invoke(question(), THREAD)))
    (last,) = [step.number for step in played.recording().tree.steps if step.kind == "MODEL"][-1:]
    report, _, calls = played.replay(lambda calls: said(an_agent(calls).invoke(question(), THREAD)), since=last)
    assert calls == ["model"]
    assert (report.served, report.live) == (5, 1)


def test_until_a_step(tmp_path: Path) -> None:
    """Ends before it; what comes after is not missing."""
    played = langgraph_played(tmp_path).record(program(work))
    (model,) = [step.number for step in played.recording().tree.steps if step.kind == "MODEL"]
    report, gave, calls = played.replay(program(work), until=model)
    assert (type(gave), calls, classes(report)) == (ReplayEnded, [], [])
    assert report.not_reached == 1


def test_once_does_nothing_twice(tmp_path: Path) -> None:
    """Behind the step from which on all is live a tool that may change the world is served what it did."""
    played = langgraph_played(tmp_path).record(program(work))
    _, gave, calls = played.replay(program(work), since=2, once=True)
    assert calls == ["model"]
    assert gave[1] == played.gave[1]


def test_another_session_of_the_program_is_not_the_one_that_is_replayed(tmp_path: Path) -> None:
    """Its calls are not made, and the reason is said."""

    def both(calls: Calls) -> Any:
        result = said(an_agent(calls).invoke(question(), THREAD))
        an_agent(calls).invoke(question(), {"configurable": {"thread_id": "another"}})
        an_agent(calls).invoke(question(), {"configurable": {"thread_id": "yet another"}})
        return result

    played = langgraph_played(tmp_path).record(lambda calls: said(an_agent(calls).invoke(question(), THREAD)))
    _, gave, calls = played.replay(both)
    assert calls == []
    assert isinstance(gave, Diverged)


@pytest.mark.parametrize("given", [{"live": ("model",)}, {"on_new": "maybe"}, {"on_drift": ""}, {"live": ("tool:",)}])
def test_rules_that_are_none_are_named(given: dict[str, Any]) -> None:
    """With what they can be."""
    from otel_agent_journal.replays.rules import Rules

    with pytest.raises(ConfigError, match="one of"):
        Rules(session="s", name="r", **given)


def test_once_knows_a_call_by_what_it_takes_where_a_live_model_gives_it_another_id(tmp_path: Path) -> None:
    """The same call is served what it did; another one of a tool that has done something is refused."""
    from otel_agent_journal.testing.scripted import reply

    def asking(query: str) -> Program:
        script = [reply("s", calls=[("search", {"query": query})], call_ids=["new"]), reply("done"), reply("done")]
        return lambda calls: said(an_agent(calls, script).invoke(question(), THREAD))

    script = [reply("s", calls=[("search", {"query": "a"})], call_ids=["1"]), reply("done")]
    played = langgraph_played(tmp_path).record(lambda calls: said(an_agent(calls, script).invoke(question(), THREAD)))
    _, gave, calls = played.replay(asking("a"), since=3, once=True)
    assert (calls, gave[2][1]) == (["model", "model"], played.gave[2][1])
    _, gave, calls = played.replay(asking("b"), since=3, once=True)
    assert (calls, type(gave)) == (["model"], Diverged)


def test_a_tool_that_is_live_is_not_called_anew_unless_that_is_asked_for(tmp_path: Path) -> None:
    """`live` is for calls that were recorded; `on_new=live` for others."""
    played = langgraph_played(tmp_path).record(program(work))
    report, _, calls = played.replay(program(with_new), live=("tools",))
    assert (calls, classes(report)[-1]) == (["fetch a", "store p"], "NEW")
    _, _, calls = played.replay(program(with_new), live=("tools",), on_new="live")
    assert calls == ["fetch a", "store p", "fetch b"]


def test_what_is_asked_is_redacted_before_it_is_compared(tmp_path: Path) -> None:
    """A recording that a redactor has seen is replayed with that redactor, as long as no answer was changed."""

    def redactor(field: str, value: Any) -> Any:
        return "***" if field == "input" and value == {"url": "a"} else value

    played = langgraph_played(tmp_path)
    played.with_options(redactor=redactor)
    played.record(program(work))
    report, _, calls = played.replay(program(work), again=True)
    assert (calls, classes(report)) == ([], [])


def nested(calls: Calls) -> Any:
    """An agent whose tool asks another agent."""
    from otel_agent_journal.testing.scripted import reply

    inner = an_agent(calls)

    @tool
    def research(about: str) -> str:
        """Have it looked up."""
        calls.append("research")
        return inner.invoke(question(about))["messages"][-1].text

    script = [reply("r", calls=[("research", {"about": "x"})], call_ids=["r1"]), reply("done")]
    return said(an_agent(calls, script, tools=[research]).invoke(question(), THREAD))


@pytest.mark.parametrize("effects", [{}, {"research": "read"}])
def test_a_tool_with_an_agent_in_it(effects: dict[str, str], tmp_path: Path) -> None:
    """It is served as a whole; declared to read, it is run, and what is asked in it is served."""
    played = langgraph_played(tmp_path)
    played.with_options(tool_effects=effects)
    played.record(nested)
    report, gave, calls = played.replay(nested, again=True)
    assert (gave, classes(report)) == (played.gave, [])
    assert calls == (["research"] if effects else [])
    assert report.served == (8 if effects else 3)


def test_a_context_by_hand_begins_anew_and_stays_as_it_was(tmp_path: Path) -> None:
    """What a program keeps by `ContextService` is kept in memory: the recorded one is neither read nor written."""
    from otel_agent_journal import ContextService

    url = f"sqlite:///{tmp_path}/contexts.db"

    def keeping(calls: Calls) -> Any:
        context = ContextService(url, "support")
        context.append_message("user", "hello")
        found = [one["content"] for one in context.get_messages()]
        result = said(an_agent(calls).invoke(question(found[0]), THREAD))
        context.close()
        return found, result

    played = langgraph_played(tmp_path).record(keeping)
    report, gave, calls = played.replay(keeping)
    assert (gave[0], calls, classes(report)) == (["hello"], [], [])
    kept = ContextService(url, "support")
    assert len(kept.get_messages()) == 1
    kept.close()
