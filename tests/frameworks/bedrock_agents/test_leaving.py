"""How an invocation ends that the program does not read to its end: closed, left, thrown away, interrupted, killed."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.bedrock import BedrockServer, agent_parts, hold, stream
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import OPEN, ask, outcomes, told
from tests.frameworks.langgraph.recording import Recording
from tests.processes import started

# What a program does not close it leaves to the collector, with us and without.
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")


def test_stream_that_is_closed(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """`close()` in the middle cancels all that is open; what had arrived is kept."""
    server.script(stream(agent_parts.chunk("So far"), OPEN, asking.LAST))
    completion = ask(client)["completion"]
    for number, _ in enumerate(completion):
        if number == len(OPEN):
            break
    assert not recording.attempt("TRAVEL1234").outcome
    completion.close()
    assert told(recording) == snapshot
    assert recording.status == ("INTERRUPTED", "cancelled")


@UNCLOSED
def test_loop_that_is_left(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A program that stops reading and lets go of the stream has cancelled the invocation, there and then."""
    server.script(stream(OPEN, asking.LAST))

    def first(kind: str) -> Any:
        response = ask(client)
        for event in response["completion"]:
            if kind in event:
                return event
        return None

    assert first("trace")
    gc.collect()
    assert recording.attempt("TRAVEL1234").outcome == "cancelled"


@UNCLOSED
def test_loop_that_raises(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A program that fails over a part gets its own error; the invocation is cancelled when the stream is gone."""
    server.script(stream(OPEN, asking.LAST))

    def consume() -> None:
        for _ in ask(client)["completion"]:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as raised:
        consume()
    del raised
    gc.collect()
    assert recording.attempt("TRAVEL1234").outcome == "cancelled"


@UNCLOSED
def test_stream_that_is_never_read(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A response that is thrown away is an invocation that was cancelled."""
    server.script(stream(OPEN, asking.LAST))
    ask(client)
    gc.collect()
    assert outcomes(recording) == {"TRAVEL1234": "cancelled"}


@UNCLOSED
def test_answer_that_is_all_the_program_wanted(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A program that returns with the text, the last word being told, has its answer: nothing was cancelled."""
    after = agent_parts.model_input("a trace that nobody waits for", phase="postProcessing")
    server.script(stream(asking.FLIGHTS, asking.LAST, after))

    def answer() -> str:
        text = ""
        for event in ask(client)["completion"]:
            text += event.get("chunk", {}).get("bytes", b"").decode()
            if text == asking.ANSWER:
                break
        return text

    assert answer() == asking.ANSWER
    gc.collect()
    assert recording.status == ("COMPLETED", None)


@UNCLOSED
def test_half_an_answer(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A program that goes before the text is whole has cancelled, though the last word is told."""
    server.script(stream(asking.LAST))
    parts = iter(ask(client)["completion"])
    next(parts)
    next(parts)
    del parts
    gc.collect()
    assert recording.status == ("INTERRUPTED", "cancelled")


def test_reading_goes_on_after_a_break(recording: Recording, server: BedrockServer, client: Any) -> None:
    """To leave a loop is not to leave the stream: as long as it is held it may be read on."""
    server.script(stream(asking.TRIP))
    completion = ask(client)["completion"]
    for _ in completion:
        break
    assert len(list(completion)) == len(asking.TRIP) - 1
    assert recording.status == ("COMPLETED", None)
    assert list(completion) == []


def test_interrupt_of_the_keyboard(recording: Recording, server: BedrockServer, client: Any) -> None:
    """Ctrl-C while the program waits for the next part cancels."""
    gate = threading.Event()
    server.script(hold(stream(OPEN, asking.LAST), gate, after=len(OPEN)))
    completion = ask(client)["completion"]
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))

    def consume() -> None:
        for number, _ in enumerate(completion, 1):
            if number == len(OPEN):
                interrupt.start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            consume()
    finally:
        signal.signal(signal.SIGINT, before)
    interrupt.join()
    gate.set()
    completion.close()
    found = outcomes(recording)
    assert found["TRAVEL1234"] == found["SearchFlights.find"] == "cancelled"


def test_read_timeout(recording: Recording, server: BedrockServer) -> None:
    """A part that does not come in time is the error that botocore makes of it."""
    gate = threading.Event()
    server.script(hold(stream(OPEN, asking.LAST), gate, after=len(OPEN)))
    impatient = Config(read_timeout=0.3, retries={"total_max_attempts": 1})
    completion = ask(server.client("bedrock-agent-runtime", config=impatient))["completion"]
    with pytest.raises(Exception, match="imed out"):
        list(completion)
    gate.set()
    completion.close()
    assert outcomes(recording)["TRAVEL1234"] == "error"


KILLED = """
import os, threading
from otel_agent_journal.testing.bedrock import BedrockServer, hold, stream
from tests.frameworks.bedrock_agents import asking

with BedrockServer() as server:
    parts = [*asking.thinks(), *asking.FLIGHTS, *asking.GUIDE[:1], *asking.HOTEL[:2]]
    server.script(hold(stream(parts, asking.LAST), threading.Event(), after=len(parts)))
    completion = asking.ask(server.client("bedrock-agent-runtime"))["completion"]
    for number, part in enumerate(completion, 1):
        if number == len(parts):
            print(os.getpid(), flush=True)
"""


def test_kill_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    """After `kill -9` the journal has all that had arrived, and what was open is interrupted, its input kept."""
    script = tmp_path / "agent.py"
    script.write_text(KILLED)
    command = [str(Path(sys.executable).with_name("agent-journal")), "run", "--", sys.executable, str(script)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with started(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        os.kill(int(run.stdout.readline()), signal.SIGKILL)
        run.communicate(timeout=30)
    store = open_store(f"sqlite:///{tmp_path}/.agent-journal/journal.db")
    try:
        found = {step.last.name: step.last for step in fold_steps(store.read("s1")).steps}
        (head,) = store.sessions()
    finally:
        store.close()
    assert (head.status, head.reason) == ("INTERRUPTED", "killed")
    assert (found["SearchFlights.find"].outcome, found["KBTRAVEL01"].outcome) == ("ok", "interrupted")
    assert found["KBTRAVEL01"].details_start["input"] == "visa for Italy"
    assert (found["Hotels"].outcome, found["Hotels"].details_start["input"]) == ("interrupted", "a room in Rome")
    assert found["TRAVEL1234"].outcome == "interrupted"
