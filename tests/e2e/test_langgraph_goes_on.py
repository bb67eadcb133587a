"""A LangGraph agent without a checkpointer, under `run --checkpoint`: killed, resumed and forked by commands alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Workdir

AGENT = """
import os, signal
from pathlib import Path
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph


@tool
def pay(bill: str) -> str:
    "Pay a bill."
    with open("world", "a") as world:
        world.write(bill + "\\n")
    return f"paid {bill} by {os.environ.get('CARD', 'cash')}"


def plan(state):
    done = [message.content for message in state["messages"] if isinstance(message, ToolMessage)]
    if len(done) == 2:
        return {"messages": [AIMessage("; ".join(done))]}
    call = {"name": "pay", "args": {"bill": f"bill {len(done)}"}, "id": f"call-{len(done)}"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def act(state):
    (call,) = state["messages"][-1].tool_calls
    paid = pay.invoke(call)
    if call["id"] == "call-1" and Path("die").exists():
        Path("die").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"messages": [paid]}


graph = StateGraph(MessagesState).add_node(plan).add_node(act).add_edge(START, "plan").add_edge("act", "plan")
graph.add_conditional_edges("plan", lambda state: "act" if state["messages"][-1].tool_calls else "__end__")
agent = graph.compile(name="payer")
print(agent.invoke({"messages": [("user", "Pay my bills.")]})["messages"][-1].content)
"""
BY_CASH = "paid bill 0 by cash; paid bill 1 by cash\n"


@pytest.fixture
def payer(workdir: Workdir) -> Workdir:
    """The agent."""
    workdir.write("agent.py", AGENT)
    return workdir


def does(workdir: Workdir, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return workdir.journal(*arguments, "--", sys.executable, "agent.py", env=env)


def paid(workdir: Workdir) -> list[str]:
    return Path(workdir.path / "world").read_text().splitlines()


def context(workdir: Workdir, *point: str) -> Any:
    done = workdir.journal("context", *point, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_killed_and_resumed(payer: Workdir) -> None:
    """What was paid, though no checkpoint knew of it, is not paid again: its receipt is served, and the step says so.

    LangGraph saves a step while the next one runs, so the checkpoint behind the first bill may be missing, too.
    """
    (payer.path / "die").touch()
    killed = does(payer, "run", "--checkpoint", "--session", "bills")
    assert killed.returncode == 128 + signal.SIGKILL, killed.stderr
    assert "agent-journal: graph payer keeps its checkpoints in the journal" in killed.stderr
    resumed = does(payer, "resume", "bills", "--checkpoint", "--yes", CARD="card")
    assert (resumed.returncode, resumed.stdout) == (0, BY_CASH), resumed.stderr
    assert paid(payer) == ["bill 0", "bill 1"]
    served = [event for event in payer.events("bills") if "served" in event.get("details", {})]
    assert {event["event_type"] for event in served} == {"TOOL_END"}
    assert served[-1]["details"]["output"]["content"] == "paid bill 1 by cash"


def test_forked_before_a_step(payer: Workdir) -> None:
    """A fork goes on from before the step, in another world; its base stays as it was, and both can be looked at."""
    assert does(payer, "run", "--checkpoint", "--session", "bills").stdout == BY_CASH
    starts = [event for event in payer.events("bills") if event["event_type"].endswith("_START")]
    number = [event.get("name") for event in starts].index("act", 4) + 1
    assert payer.journal("copy", f"bills@{number}", "--as", "what-if").returncode == 0
    assert [one["role"] for one in context(payer, "what-if")["messages"]] == ["user", "assistant", "tool", "assistant"]
    again = does(payer, "resume", "what-if", "--checkpoint", "--yes", CARD="card")
    assert again.stdout == "paid bill 0 by cash; paid bill 1 by card\n", again.stderr
    assert context(payer, "bills")["messages"][-1]["content"] == BY_CASH.strip()
    assert context(payer, "what-if")["messages"][-1]["content"] == again.stdout.strip()


def test_rewound(payer: Workdir) -> None:
    """A rewound session goes on from before the step, in place; `--once` pays nothing twice."""
    assert does(payer, "run", "--checkpoint", "--session", "bills").stdout == BY_CASH
    starts = [event for event in payer.events("bills") if event["event_type"].endswith("_START")]
    number = [event.get("name") for event in starts].index("act") + 1
    assert payer.journal("overwrite", f"bills@{number}", "--yes").returncode == 0
    assert [one["role"] for one in context(payer, "bills")["messages"]] == ["user", "assistant"]
    again = does(payer, "resume", "bills", "--checkpoint", "--once", "--yes", CARD="card")
    assert again.stdout == BY_CASH, again.stderr
    assert paid(payer) == ["bill 0", "bill 1"]


def test_a_fork_with_another_state(payer: Workdir) -> None:
    """`--set-state` gives the fork other messages; a name that the state has not is told with those that it has."""
    assert does(payer, "run", "--checkpoint", "--session", "bills").stdout == BY_CASH
    payer.write("state.json", json.dumps({"messages": [{"role": "user", "content": "Only look."}]}))
    copied = payer.journal("copy", "bills", "--as", "other", "--set-state", "state.json")
    assert copied.returncode == 0, copied.stderr
    assert context(payer, "other")["messages"] == [{"role": "user", "content": "Only look."}]
    payer.write("state.json", json.dumps({"mood": "good"}))
    refused = payer.journal("copy", "bills", "--as", "third", "--set-state", "state.json")
    assert refused.returncode
    assert "has no mood in its state; it has messages" in refused.stderr
    assert payer.journal("show", "third").returncode == 3  # nothing was made


AS_A_COMMAND = (
    AGENT.replace(
        "from langchain_core.tools import tool\n",
        "from typing import Annotated\nfrom langchain_core.tools import InjectedToolCallId, tool\n"
        "from langgraph.types import Command\n",
    )
    .replace(
        """def pay(bill: str) -> str:""", """def pay(bill: str, call: Annotated[str, InjectedToolCallId]) -> Command:"""
    )
    .replace(
        """    return f"paid {bill} by {os.environ.get('CARD', 'cash')}"
""",
        """    paid = f"paid {bill} by {os.environ.get('CARD', 'cash')}"
    said = ToolMessage(paid, tool_call_id=call, artifact=("receipt", bill))
    return Command(update={"messages": [said]}, goto="plan")
""",
    )
    .replace(
        """    return {"messages": [paid]}\n""",
        """    assert paid.update["messages"][0].artifact[0] == "receipt"\n    return paid\n""",
    )
)


def test_a_tool_that_answers_by_a_command_is_served_as_well(workdir: Workdir) -> None:
    """The very `Command` is made again of the record: its messages with their artifacts, and where it goes to."""
    workdir.write("agent.py", AS_A_COMMAND)
    (workdir.path / "die").touch()
    killed = does(workdir, "run", "--checkpoint", "--session", "bills")
    assert killed.returncode == 128 + signal.SIGKILL, killed.stderr
    resumed = does(workdir, "resume", "bills", "--checkpoint", "--yes", CARD="card")
    assert (resumed.returncode, resumed.stdout) == (0, BY_CASH), resumed.stderr
    assert paid(workdir) == ["bill 0", "bill 1"]
