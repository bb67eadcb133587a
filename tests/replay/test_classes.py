"""Each class of divergence: a change of the program that makes exactly it, and who is to blame for it."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, StateGraph

from otel_agent_journal.bootstrap.no_network import forbid_network
from otel_agent_journal.replays.errors import Diverged
from otel_agent_journal.replays.report import CLASSES
from otel_agent_journal.testing.scripted_strands import say
from tests.replay import strands_programs
from tests.replay.graphs import THREAD, Calls, Notes, Noting, an_agent, question, retried, said
from tests.replay.played import Program, langgraph_played, strands_played
from tests.replay.strands_programs import throttled
from tests.replay.worker import Node, classes, program, with_new, work


def without_store(fetch: Any, store: Any, model: Any) -> list[str]:
    """Do not store, and say so all the same."""
    page = fetch.invoke({"url": "a"})
    return ["stored", model.invoke([("system", "Answer briefly."), ("user", page)]).text]


def the_other_way_round(fetch: Any, store: Any, model: Any) -> list[str]:
    """Store first."""
    stored = store.invoke({"page": "p"})
    page = fetch.invoke({"url": "a"})
    return [stored, model.invoke([("system", "Answer briefly."), ("user", page)]).text]


CHANGES: dict[str, tuple[Node, str]] = {
    "DRIFT": (lambda *given: work(*given, prompt="Answer in one line."), "a prompt, or code that makes one: message 0"),
    "CHANGED_ARGS": (lambda *given: work(*given, url="b"), 'code in node "work", and not a served answer'),
    "NEW": (with_new, 'code in node "work", and not a served answer'),
    "MISSING": (without_store, 'code in node "work", and not a served answer'),
    "REORDERED": (the_other_way_round, 'code in node "work", and not a served answer'),
    "CHANGED_OUTCOME": (lambda *given: [*work(*given), "more"], 'code in node "work", and not a served answer'),
}


def asking(**change: Any) -> Node:
    """A node whose model is called another name, offered other tools, or given another parameter."""

    def node(fetch: Any, store: Any, model: Any) -> list[str]:
        page, stored = fetch.invoke({"url": "a"}), store.invoke({"page": "p"})
        other = model.model_copy(update={"model_name": change.get("model", model.model_name)})
        tools = [convert_to_openai_tool(one) for one in ((fetch, store) if "tools" in change else (fetch,))]
        asked = other.bind(tools=tools, temperature=change.get("params", 0))
        return [stored, asked.invoke([("system", change.get("messages", "Be brief.")), ("user", page)]).text]

    return node


PARTS = {
    "messages": ("Be briefer.", "a prompt, or code that makes one: message 0"),
    "tools": ("store", "the tools that it is offered"),
    "params": (1, "its parameters"),
    "model": ("scripted-2", "another model"),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_a_request_drifts_alone(part: str, tmp_path: Path) -> None:
    """It is served all the same, the part is named, and whose it is."""
    value, cause = PARTS[part]
    played = langgraph_played(tmp_path).record(program(asking()))
    report, gave, calls = played.replay(program(asking(**{part: value})))
    assert (gave, calls) == (played.gave, [])
    assert [(one.verdict, one.kind, one.differs) for one in report.divergences] == [("DRIFT", "MODEL", (part,))]
    assert report.cause == cause


@pytest.mark.parametrize("verdict", CHANGES)
def test_a_change_of_the_program_is_of_its_class_alone(verdict: str, tmp_path: Path) -> None:
    """Nothing is called, the class is the only one, and its cause is named."""
    changed, cause = CHANGES[verdict]
    played = langgraph_played(tmp_path).record(program(work))
    report, gave, calls = played.replay(program(changed))
    assert calls == []
    assert classes(report) == [verdict]
    assert report.cause == cause
    assert report.diverged() == (verdict != "DRIFT")
    assert report.diverged(strict=True)
    assert isinstance(gave, Diverged) == (verdict in ("CHANGED_ARGS", "NEW"))
    assert verdict in CLASSES


def test_what_differs_is_shown(tmp_path: Path) -> None:
    """A pointer, and what each side has there."""
    played = langgraph_played(tmp_path).record(program(work))
    report, _, _ = played.replay(program(CHANGES["DRIFT"][0]))
    assert report.first is not None
    assert (report.first.at, report.first.recorded, report.first.replayed) == (
        "/0/content",
        "Answer briefly.",
        "Answer in one line.",
    )
    report, _, _ = played.replay(program(CHANGES["CHANGED_ARGS"][0]))
    assert report.first is not None
    assert (report.first.at, report.first.recorded, report.first.replayed) == ("/url", "a", "b")
    assert report.stopped
    assert report.not_reached == 2


def gathered(prompt: str) -> Program:
    """Several models at a time in one node."""

    def run(calls: Calls) -> Any:
        model = Noting(script=[lambda messages: f"{random.random()}"], calls=calls, slow_s=0.01)

        async def ask(state: Any) -> Notes:
            return {"notes": [one.text for one in await asyncio.gather(*(model.ainvoke(prompt) for _ in range(3)))]}

        builder = StateGraph(Notes)
        builder.add_node("ask", ask)
        builder.add_edge(START, "ask")
        return asyncio.run(builder.compile(name="gather").ainvoke({"notes": []}, THREAD))["notes"]

    return run


@pytest.mark.parametrize("prompt", ["the same", "another"])
def test_equal_calls_at_a_time_with_other_results_are_ambiguous(prompt: str, tmp_path: Path) -> None:
    """Nobody can tell which of them is which, so none is served."""
    played = langgraph_played(tmp_path).record(gathered("the same"))
    report, gave, calls = played.replay(gathered(prompt))
    assert (calls, isinstance(gave, Diverged)) == ([], True)
    assert set(classes(report)) == {"AMBIGUOUS"}
    assert report.first is not None
    assert report.first.why == "3 that ran at the same time fit, and gave different results"


def test_an_answer_that_is_not_in_the_journal_cannot_be_served(tmp_path: Path) -> None:
    """A redactor has changed it: what the program would get is not what it got."""
    played = langgraph_played(tmp_path)
    played.with_options(redactor=lambda field, value: "***" if field == "output" else value)
    played.record(program(work))
    report, gave, calls = played.replay(program(work))
    assert (calls, type(gave)) == ([], Diverged)
    assert classes(report) == ["UNREPLAYABLE"]
    assert report.first is not None
    assert report.first.why == "a redactor has changed its output"
    assert report.cause == "the recording, and not the code"


def test_without_content_nothing_can_be_served(tmp_path: Path) -> None:
    """Of a journal without content."""
    played = langgraph_played(tmp_path)
    played.with_options(content=False)
    played.record(lambda calls: said(an_agent(calls).invoke(question(), THREAD)))
    report, gave, calls = played.replay(lambda calls: said(an_agent(calls).invoke(question(), THREAD)))
    assert (calls, type(gave)) == ([], Diverged)
    assert classes(report) == ["UNREPLAYABLE"]


def test_a_program_that_catches_everything_is_served_nothing_more(tmp_path: Path) -> None:
    """After the first call that was not recorded nothing is served or called, whatever is made of the error."""

    def stubborn(fetch: Any, store: Any, model: Any) -> list[str]:
        found: list[str] = []
        for url in ("b", "a", "c"):
            try:
                found.append(fetch.invoke({"url": url}))
            except Exception as error:
                found.append(type(error).__name__)
        return found

    played = langgraph_played(tmp_path).record(program(work))
    report, gave, calls = played.replay(program(stubborn))
    assert (gave, calls) == (["x", "Diverged", "Diverged", "Diverged"], [])
    assert classes(report)[0] == "CHANGED_ARGS"


def clocked(calls: Calls) -> Any:
    """A program that tells its model the time, and an id."""
    model = Noting(script=["ok"], calls=calls)
    builder = StateGraph(Notes)
    text = f"now {time.time_ns()} it is 2026-12-0{random.randint(1, 9)}T10:00:{random.randint(10, 59)}Z"
    builder.add_node("ask", lambda state: {"notes": [model.invoke(text).text]})
    builder.add_edge(START, "ask")
    return builder.compile(name="clock").invoke({"notes": []}, THREAD)["notes"]


def test_a_clock_in_a_prompt_is_drift_until_it_is_ignored_and_counted(tmp_path: Path) -> None:
    """What a rule hides is said: a replay that is green for it says so."""
    played = langgraph_played(tmp_path).record(clocked)
    report, _, _ = played.replay(clocked)
    assert classes(report) == ["DRIFT"]
    assert report.first is not None
    assert (report.first.differs, report.first.at) == (("messages",), "/0/content")
    assert report.hidden == 0
    report, _, _ = played.replay(clocked, ignore=("time",))
    assert (classes(report), report.hidden) == ([], 1)
    report, _, _ = played.replay(clocked, ignore=("messages[*].content",))
    assert (classes(report), report.hidden) == ([], 1)


def test_a_uuid_in_a_prompt_is_drift_until_it_is_ignored_and_counted(tmp_path: Path) -> None:
    """As a clock is."""

    def made_up(fetch: Any, store: Any, model: Any) -> list[str]:
        return [model.invoke(f"This is request {uuid4()} of today.").text]

    played = langgraph_played(tmp_path).record(program(made_up))
    report, _, _ = played.replay(program(made_up))
    assert [(one.verdict, one.differs, one.at) for one in report.divergences] == [
        ("DRIFT", ("messages",), "/0/content")
    ]
    report, _, _ = played.replay(program(made_up), ignore=("uuid",))
    assert (classes(report), report.hidden) == ([], 1)


def strands_agent(*texts: str, prompt: str = "Be brief.") -> Program:
    """An agent of Strands that is asked one after the other."""

    def run(calls: Calls) -> Any:
        one = strands_programs.an_agent(calls, [say("one"), say("two"), say("three")], system_prompt=prompt)
        return [strands_programs.said(one(text)) for text in texts]

    return run


@pytest.mark.parametrize(
    ("verdict", "changed"),
    [
        ("DRIFT", strands_agent("a", "b", prompt="Be briefer.")),
        ("NEW", strands_agent("a", "b", "c")),
        ("MISSING", strands_agent("a")),
    ],
)
def test_an_agent_of_strands_that_was_changed(verdict: str, changed: Program, tmp_path: Path) -> None:
    """The class is the only one, and nothing is called."""
    played = strands_played(tmp_path).record(strands_agent("a", "b"))
    report, _, calls = played.replay(changed)
    assert (set(classes(report)), calls) == ({verdict}, [])


def test_a_model_that_was_throttled_fails_again_and_then_answers(tmp_path: Path) -> None:
    """Each attempt is served what it was: the failure as one."""
    for played, run in ((langgraph_played, retried), (strands_played, throttled)):
        one = played(tmp_path / run.__name__).record(run)
        report, gave, calls = one.replay(run)
        assert (gave, calls, classes(report)) == (one.gave, [], [])
        ends = [(event.type, event.outcome) for event in one.events if "served" in event.details]
        assert ends == [("MODEL_ERROR", "error"), ("MODEL_END", "ok")]


def test_a_request_in_a_node_is_caught_where_there_is_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever library; it is named, and the node is blamed, also where its code catches the error."""
    requests = pytest.importorskip("requests")
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, getattr(socket.socket, name))
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)

    def looking(fetch: Any, store: Any, model: Any) -> list[str]:
        with suppress(Exception):
            requests.get("http://203.0.113.7/page", timeout=1)
        return work(fetch, store, model)

    played = langgraph_played(tmp_path).record(program(work))
    forbid_network()
    report, gave, calls = played.replay(program(looking))
    assert (type(gave), calls) == (Diverged, [])
    assert report.first is not None
    assert (report.first.verdict, report.first.name) == ("NEW", "network 203.0.113.7:80")
    assert set(classes(report)) == {"NEW"}
    assert report.cause == 'code in node "work", and not a served answer'
