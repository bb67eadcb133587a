"""A program of one node that is given tools and a model: what a test changes is what the node does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from otel_agent_journal.replays.report import Report
from tests.replay.graphs import THREAD, Calls, Notes, Noting
from tests.replay.played import Program

Node = Callable[[Any, Any, Any], Any]


def program(node: Node, text: str = "x") -> Program:
    """A graph whose one node is given tools, and a model that is asked the same."""

    def run(calls: Calls) -> Any:
        @tool
        def fetch(url: str) -> str:
            """Fetch."""
            calls.append(f"fetch {url}")
            return f"page {random.random()}"

        @tool
        def store(page: str) -> str:
            """Store."""
            calls.append(f"store {page}")
            return "stored"

        model = Noting(script=[lambda messages: f"answer {random.random()}"], calls=calls)
        builder = StateGraph(Notes)
        builder.add_node("work", lambda state: {"notes": node(fetch, store, model)})
        builder.add_edge(START, "work")
        return builder.compile(name="worker").invoke({"notes": [text]}, THREAD)["notes"]

    return run


def work(fetch: Any, store: Any, model: Any, *, url: str = "a", prompt: str = "Answer briefly.") -> list[str]:
    """What the recorded node does."""
    page = fetch.invoke({"url": url})
    return [store.invoke({"page": "p"}), model.invoke([("system", prompt), ("user", page)]).text]


def classes(report: Report) -> list[str]:
    """The classes that are there, but for the same."""
    return [one.verdict for one in report.divergences]


def with_new(fetch: Any, store: Any, model: Any) -> list[str]:
    """Fetch once more."""
    found = work(fetch, store, model)
    return [*found, fetch.invoke({"url": "b"})]
