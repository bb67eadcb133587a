"""A LangGraph agent whose thread is in the journal, started again and again by fork: it imports once.

Reads from stdin what to do in which folder, a line each: `begin FOLDER` or `resume FOLDER`, and says the pid. A child
writes to its folder what it did: to `world` each bill that is paid, to `requests` what its model was asked, to `result`
how it ended; and a byte to stderr at each step of the way, so that it can be killed at any of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

import otel_agent_journal
from otel_agent_journal import JournalSaver, resume, session
from otel_agent_journal.bootstrap.going_back import SessionRuns

ROUNDS = 4
SESSION = "errand"


def note(file: str, said: Any) -> None:
    """Write a line to a file of this folder, whole or not at all, and say so."""
    descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(descriptor, json.dumps(said).encode() + b"\n")
    os.close(descriptor)
    os.write(2, b".")


class Planner(BaseChatModel):
    """A model whose answer follows from what it is asked."""

    @property
    def _llm_type(self) -> str:
        return "planner"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        note("requests", [message.content for message in messages])
        turn = sum(isinstance(message, AIMessage) for message in messages)
        if turn < ROUNDS:
            calls = [{"name": "pay", "args": {"bill": f"{turn}{one}"}, "id": f"{turn}{one}"} for one in "ab"]
            answer = AIMessage(f"turn {turn}", tool_calls=calls)
        else:
            answer = AIMessage(", ".join(str(one.content) for one in messages if isinstance(one, ToolMessage)))
        os.write(2, b".")
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def pay(bill: str) -> str:
    """Pay a bill."""
    os.write(2, b".")
    note("world", bill)
    return f"paid {bill}"


@contextlib.contextmanager
def resumed() -> Iterator[None]:
    """Go on with the session, as soon as what the dead process left has been taken in by this one's own thread."""
    for _ in range(100):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(resume(SESSION))
            except SessionRuns:
                time.sleep(0.05)
                continue
            yield
            return
    raise TimeoutError("the dead process is taken for a living one")


def work(what: str, folder: str) -> None:
    """Be the child."""
    os.chdir(folder)
    otel_agent_journal.configure("sqlite:///journal.db?synchronous=normal", session_id=SESSION)
    agent = create_agent(Planner(), [pay], checkpointer=JournalSaver())
    thread: Any = {"configurable": {"thread_id": "bills"}}
    with resumed() if what == "resume" else session(SESSION):
        os.write(2, b".")
        found = agent.invoke({"messages": [("user", "Pay my bills.")]}, thread)
    Path("result").write_text(json.dumps([message.content for message in found["messages"]]), encoding="utf-8")
    otel_agent_journal.shutdown()


if __name__ == "__main__":
    for line in sys.stdin:
        what, folder = line.split()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                work(what, folder)
                code = 0
            except BaseException as error:
                Path("failed").write_text(repr(error), encoding="utf-8")
            finally:
                os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
