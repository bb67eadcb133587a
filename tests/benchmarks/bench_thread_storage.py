"""How many bytes a chat's journal takes, in one process and where each turn is a new one.

The claim: storage of an agent's loop is linear. A thread of 100 turns, each of which hands the model the whole history,
is run by one process and by a hundred; each half of it must take as much as the other, and the hundred at most twice
what the one takes. Where their machine has no memory of what it journaled, as a new one each time has none, the history
is journaled once more a turn: printed, not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from report import Table, write_json

RATIO_BOUND: Final = 2.0  # of the hundred processes against the one
HALVES_BOUND: Final = 1.15  # of the second half of the turns against the first
SESSION: Final = "thread"


def turn(number: int, messages: list[Any]) -> list[Any]:
    """Take one turn of the thread and return its messages, as a program keeps them."""
    from langchain_core.messages import HumanMessage, SystemMessage, messages_from_dict, messages_to_dict
    from langgraph.graph import START, MessagesState, StateGraph

    from otel_agent_journal.testing.scripted import ScriptedModel

    model = ScriptedModel(script=[f"answer {number}: " + "as was found before, " * 10])

    def chat(state: MessagesState) -> Any:
        return {"messages": [model.invoke([SystemMessage("Be brief, and say what you know."), *state["messages"]])]}

    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat)
    builder.add_edge(START, "chat")
    question = HumanMessage(f"question {number}: " + "what of the next paper? " * 10)
    out = builder.compile(name="chat").invoke(
        {"messages": [*messages_from_dict(messages), question]}, {"configurable": {"thread_id": SESSION}}
    )
    return messages_to_dict(out["messages"])


def run_turns(first: int, last: int) -> None:
    """Run turns of the thread in this process; its messages are kept in a file."""
    import otel_agent_journal

    otel_agent_journal.configure()
    kept = Path("thread.json")
    messages = json.loads(kept.read_text()) if kept.exists() else []
    for number in range(first, last):
        messages = turn(number, messages)
    kept.write_text(json.dumps(messages))


def measured(turns: int, each: int, forgetting: bool = False) -> list[int]:
    """Return the bytes that each turn has in the journal, as JSON lines, `each` turns a process."""
    with tempfile.TemporaryDirectory(prefix="thread-storage-") as folder:
        environment = {**os.environ, "AGENT_JOURNAL_STORE": f"sqlite:///{folder}/journal.db"}
        environment["AGENT_JOURNAL_SPOOL"] = f"{folder}/spool"
        for first in range(0, turns, each):
            command = [sys.executable, str(Path(__file__).resolve()), "--turns-of", str(first), str(first + each)]
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            if forgetting:
                shutil.rmtree(f"{folder}/spool/.kept", ignore_errors=True)
        return _bytes_of(f"sqlite:///{folder}/journal.db")


def _bytes_of(url: str) -> list[int]:
    from otel_agent_journal.codec import encode_line
    from otel_agent_journal.store.registry import open_store

    store = open_store(url, create=False)
    sizes: list[int] = []
    for event in store.read(SESSION):
        if event.type == "AGENT_START":
            sizes.append(0)
        sizes[-1] += len(encode_line(event))
    store.close()
    return sizes


def main() -> int:
    """Measure, print, and return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="twenty turns: to see that it runs, not to judge")
    parser.add_argument("--turns-of", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.turns_of:
        run_turns(*arguments.turns_of)
        return 0
    turns = 20 if arguments.quick else arguments.turns
    ways: dict[str, Callable[[], list[int]]] = {
        "one process": lambda: measured(turns, turns),
        "a process a turn": lambda: measured(turns, 1),
        "that forgets": lambda: measured(turns, 1, forgetting=True),
    }
    found = {way: measure() for way, measure in ways.items()}
    alone = sum(found["one process"])
    table = Table(f"{turns} turns of one thread: bytes of its journal")
    table.columns("way", "bytes", "a turn", "halves", "bound", "ratio", "bound", "")
    rows: list[dict[str, Any]] = []
    for way, sizes in found.items():
        middle = len(sizes) // 2
        halves, ratio = sum(sizes[middle:]) / sum(sizes[:middle]), sum(sizes) / alone
        judged = way != "that forgets"
        passed = (halves <= HALVES_BOUND and ratio <= RATIO_BOUND) if judged else None
        rows.append({"way": way, "bytes": sum(sizes), "halves": halves, "ratio": ratio, "passed": passed})
        bounds = (HALVES_BOUND, RATIO_BOUND) if judged else (None, None)
        table.row(
            way,
            f"{sum(sizes):,}",
            f"{sum(sizes) / len(sizes):,.0f}",
            table.ratio(halves),
            table.ratio(bounds[0]),
            table.ratio(ratio),
            table.ratio(bounds[1]),
            table.verdict(passed),
        )
    table.print()
    if arguments.json:
        write_json(arguments.json, {"turns": turns, "rows": rows})
    return 1 if any(row["passed"] is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
