"""An agent of LangGraph that is recorded and replayed: `python reading_agent.py [SESSION]`; CHANGE says what changed.

What it calls live it appends to the file that LIVE names: a model, a tool.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from otel_agent_journal import configure, replaying
from otel_agent_journal.testing.scripted import ScriptedModel, reply

CHANGE = os.environ.get("CHANGE", "")


def live(what: str) -> None:
    """Note a call."""
    with Path(os.environ["LIVE"]).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


class Model(ScriptedModel):
    """Notes its calls."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        live("model")
        return super()._generate(*args, **kwargs)


@tool
def search(query: str) -> str:
    """Look something up."""
    live(f"search {query}")
    if CHANGE == "killed" and query == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"found {query}"


SCRIPT = [
    reply("", calls=[("search", {"query": "a"})], call_ids=["1"]),
    reply("", calls=[("search", {"query": "b"})], call_ids=["2"]),
    reply("It is b."),
]


def main(session: str = "reading-7") -> None:
    """Run it."""
    if CHANGE == "network":
        import urllib.request

        try:
            urllib.request.urlopen("http://203.0.113.7/", timeout=1)
        except Exception as error:
            print(type(error).__name__)
    if CHANGE == "configures":
        configure(store="sqlite:///own.db")
    prompt = "Be briefer." if CHANGE == "prompt" else "Be brief."
    model = Model(script=SCRIPT, by_turn=True)
    tools = [] if CHANGE == "without" else [search]
    agent = create_agent(model, tools, system_prompt=prompt, checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": session}}
    print(agent.invoke({"messages": [("user", "what?")]}, thread)["messages"][-1].content, bool(replaying()))
    if CHANGE == "fails":
        raise SystemExit(3)


main(*sys.argv[1:])
