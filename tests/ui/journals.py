"""Journals of some sessions that a real server shows: of now, so that the last hours have something."""

from __future__ import annotations

import time
from typing import Any

from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import SteppingClock
from tests.server.served import keep

SECOND_NS = 10**9


def a_session(session_id: str, ago_s: float, **more: Any) -> list[JournalEvent]:
    """An agent, two model calls and two tools, which began so long ago.

    `fails`: the error's type that the second tool fails with; `runs`: it is in a model call; `says`: the last answer.
    """
    agent, fails = more.get("agent", "researcher"), more.get("fails")
    clock = SteppingClock(time.time_ns() - int(ago_s * SECOND_NS), step_ns=SECOND_NS // 4)
    journal = JournalBuilder(session_id, writer=f"w-{session_id}", clock=clock)
    about = {
        "user": more.get("user", "ann"),
        "tags": list(more.get("tags", ("acme",))),
        "input": "What is left behind?",
    }
    root = journal.start("AGENT", agent, details=about)
    for tool in ("search", more.get("tool", "fetch_page")):
        model = journal.start(
            "MODEL", "claude-sonnet-5", parent=root, details={"messages": [{"role": "user", "content": session_id}]}
        )
        if more.get("runs"):
            return journal.events
        cost = {"attributes": {"gen_ai.usage.cost": 0.05}}
        journal.end(model, usage=Usage(input_tokens=900, output_tokens=100), details={"output": "let me look", **cost})
        call = journal.start("TOOL", tool, parent=root, details={"input": {"query": "crashed agents"}})
        if fails and tool != "search":
            journal.end(call, "error", error=ErrorInfo(type=fails, message="the archive did not answer"))
        else:
            journal.end(call, details={"output": more.get("says", "12 results")})
    if fails:
        error = ErrorInfo(type=fails, message="the archive did not answer")
        journal.end(root, "error", error=error, details={"passed_through": True})
    else:
        journal.end(root, details={"output": more.get("says", "An event outlives its process.")})
    return journal.events


def a_dozen() -> MemoryStore:
    """Twelve sessions of two agents: three failed by two causes, one has a tool of its own, two are another user's."""
    store = MemoryStore()
    for number in range(12):
        more: dict[str, Any] = {"agent": ("researcher", "support")[number % 2]}
        if number in (2, 5, 8):
            more["fails"] = "KeyError" if number == 2 else "TimeoutError"
        if number == 7:
            more["tool"] = "run_code"
        if number in (3, 9):
            more |= {"user": "bo b", "tags": ("vip", "acme")}
        keep(store, a_session(f"reading-{number}", 60 + number * 1200, **more))
    return store
