"""A process that runs Strands agents of one session in children of its own, and kills each where it is told to.

Strands is imported once. A child dies by SIGKILL at its n-th tick: ticks are around what a store is told, around what
tools do, and where the model is asked and answers. The next child goes on with its session.

    python strands_agent.py FOLDER KILLS SEED      prints how each run went, a line of JSON each
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import otel_agent_journal
from otel_agent_journal import JournalSessionManager
from otel_agent_journal.errors import SessionNotFound
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say

SESSION = "s1"
STORE = "sqlite:///{}/journal.db?synchronous=normal"


class Ticks:
    """Counts moments, and dies at one of them."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self.last = last

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


class Witness:
    """What happened, for whoever looks at it afterwards: a line each, written at once."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def __call__(self, kind: str, value: Any) -> None:
        os.write(self._file, json.dumps([kind, value]).encode() + b"\n")


def run(folder: Path, ticks: Ticks, resumed: bool) -> str:
    """Run the agent to its end, or go on with it."""
    from strands import Agent, tool
    from strands.hooks import AfterToolCallEvent

    witness = Witness(folder / "witness")

    @tool
    def buy(what: str) -> str:
        """Buy."""
        ticks()
        witness("bought", what)
        ticks()
        return f"a {what}"

    class Model(ScriptedModel):
        async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            witness("asked", messages)
            ticks()
            async for event in super().stream(messages, *args, **kwargs):
                yield event
            ticks()

    def turn(messages: Any) -> Any:
        return TURNS[sum(one["role"] == "assistant" for one in messages)]

    def done(event: Any) -> None:
        witness("done", event.tool_use["input"]["what"])
        ticks()

    for name in ("append_context", "put_document", "delete_document"):
        _tick_around(name, ticks)
    store = STORE.format(folder)
    otel_agent_journal.configure(store, spool=folder / "spool", session_id=SESSION)

    def agent() -> Agent:
        made = Agent(
            model=Model([turn] * 20),
            tools=[buy],
            callback_handler=None,
            session_manager=JournalSessionManager(SESSION, store),
            system_prompt="You shop.",
        )
        made.add_hook(done, AfterToolCallEvent)
        return made

    with contextlib.ExitStack() as goes_on:
        if resumed:
            with contextlib.suppress(SessionNotFound):  # it was killed before it had written anything
                goes_on.enter_context(otel_agent_journal.resume(SESSION))
        answer = str(agent()("shop"))
    witness("answer", answer)
    witness("ticks", ticks.count)
    otel_agent_journal.shutdown()
    return answer


TURNS = [
    call(("buy", {"what": "hat"}, "c1"), text="first"),
    call(("buy", {"what": "tie"}, "c2"), ("buy", {"what": "cap"}, "c3")),
    call(("buy", {"what": "bag"}, "c4")),
    say("all there"),
]


def _tick_around(name: str, ticks: Ticks) -> None:
    method = getattr(SqliteStore, name)

    def around(self: Any, *args: Any, **kwargs: Any) -> Any:
        ticks()
        result = method(self, *args, **kwargs)
        ticks()
        return result

    setattr(SqliteStore, name, around)


def in_child(folder: Path, last: int, resumed: bool) -> int:
    """Run in a child, and return how it ended: 0, or the signal that it was killed by."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            run(folder, Ticks(last), resumed)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


def main(folder: Path, kills: int, seed: int) -> None:
    """Run once undisturbed, then be killed so often."""
    import strands.agent.agent  # noqa: F401 - once, for all children

    moments = random.Random(seed)
    whole = folder / "whole"
    whole.mkdir()
    assert in_child(whole, 0, resumed=False) == 0
    lines = [json.loads(line) for line in (whole / "witness").read_text().splitlines()]
    ticks = next(value for kind, value in lines if kind == "ticks")
    print(json.dumps({"folder": str(whole), "moment": 0, "ended": [0]}), flush=True)
    for number in range(kills):
        place = folder / str(number)
        place.mkdir()
        moment = moments.randrange(1, ticks + 1)
        ended = [in_child(place, moment, resumed=False)]
        while ended[-1] != 0 and len(ended) < 4:
            again = moments.randrange(1, ticks + 1) if len(ended) == 1 and moments.random() < 0.3 else 0
            ended.append(in_child(place, again, resumed=True))
        print(json.dumps({"folder": str(place), "moment": moment, "ended": ended}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
