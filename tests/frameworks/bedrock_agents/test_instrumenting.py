"""Instrumenting and not: before and after botocore is imported, in any order with others, and with faults of ours."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.endpoint import Endpoint
from botocore.retries.bucket import TokenBucket

from otel_agent_journal.event import END_TYPES, START_TYPES
from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.pipeline.current import set_recorder
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.testing.bedrock import BedrockServer, event, stream, throttle
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, outcomes, patient, read
from tests.frameworks.langgraph.recording import Recording, recording_at

HOOKED = (
    (BaseClient, "_make_api_call"),
    (Endpoint, "_needs_retry"),
    (Endpoint, "_send_request"),
    (TokenBucket, "acquire"),
)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Leave botocore as it was, and the instrumentor as if it had said nothing."""
    before = [(owner, name, getattr(owner, name)) for owner, name in HOOKED]
    BedrockAgentsInstrumentor()._said_untraced = False
    yield
    BedrockAgentsInstrumentor().uninstrument()
    for owner, name, original in before:
        setattr(owner, name, original)
    set_recorder(None)


# --- hooks ---


def test_botocore_is_as_it_was(tmp_path: Path) -> None:
    """After `uninstrument()` botocore's own functions are back, however often it was instrumented."""
    before = [getattr(owner, name) for owner, name in HOOKED]
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        recording.instrumentor.instrument()
        assert all(getattr(owner, name) is not was for (owner, name), was in zip(HOOKED, before, strict=True))
    assert [getattr(owner, name) for owner, name in HOOKED] == before


def test_client_that_was_made_before(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """A client that is older than the instrumentation is journaled, and no more once it is taken off."""
    server.script(stream(asking.LAST), stream(asking.LAST))
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        read(ask(client))
        recording.instrumentor.uninstrument()
        read(ask(client))
        assert len(recording.steps.roots) == 1


def test_stream_that_is_open_is_journaled_to_its_end(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """Taking the instrumentation off in the middle of a stream leaves no step open."""
    server.script(stream(asking.TRIP))
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        parts = iter(ask(client)["completion"])
        next(parts)
        recording.instrumentor.uninstrument()
        assert len(list(parts)) == len(asking.TRIP) - 1
        recording.check()
        assert recording.status == ("COMPLETED", None)


def test_beside_another_that_wraps_later(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """A wrapper that somebody put over ours stays when ours goes, and ours does nothing under it."""
    server.script(stream(asking.LAST))
    calls: list[str] = []
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        ours = BaseClient._make_api_call

        def theirs(self: Any, operation_name: str, api_params: Any) -> Any:
            calls.append(operation_name)
            return ours(self, operation_name, api_params)

        BaseClient._make_api_call = theirs  # type: ignore[method-assign]
        recording.instrumentor.uninstrument()
        read(ask(client))
        assert not recording.sessions
    assert calls == ["InvokeAgent"]


def test_import_after_instrumenting(tmp_path: Path) -> None:
    """A program that imports boto3 after it is instrumented is journaled; instrumenting imports nothing of it."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, otel_agent_journal\n"
        "otel_agent_journal.configure('sqlite:///journal.db')\n"
        "assert 'botocore' not in sys.modules and 'boto3' not in sys.modules\n"
        "from tests.frameworks.bedrock_agents import asking\n"
        "from otel_agent_journal.testing.bedrock import BedrockServer, stream\n"
        "with BedrockServer() as server:\n"
        "    server.script(stream(asking.LAST))\n"
        "    asking.read(asking.ask(server.client('bedrock-agent-runtime')))\n"
        "otel_agent_journal.flush()\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, str(program)], cwd=tmp_path, env=environ, check=True, timeout=60)
    command = [str(Path(sys.executable).with_name("agent-journal")), "status", "s1"]
    said = subprocess.run(
        [*command, "--store", "sqlite:///journal.db"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "COMPLETED" in said.stdout


def test_old_botocore_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing for it is said, and what it needs."""
    from importlib import metadata

    instrumentor = BedrockAgentsInstrumentor()
    assert instrumentor.missing() is None
    assert instrumentor.instrumentation_dependencies() == ("botocore >= 1.38",)
    monkeypatch.setattr(metadata, "version", lambda _: "1.30.2")
    assert instrumentor.missing() == "botocore 1.30.2 is older than 1.38"


# --- what is not journaled ---


def test_trace_that_is_off_is_said_once(
    tmp_path: Path, server: BedrockServer, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """`enableTrace` is never set for a program; that it is off is said once, and text and outcome are journaled."""
    server.script(stream(asking.TRIP), stream(asking.TRIP))
    with (
        recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording,
        caplog.at_level(logging.WARNING),
    ):
        for _ in range(2):
            parts = read(ask(client, enableTrace=False))
            assert [list(part) for part in parts] == [["chunk"], ["chunk"]]
        assert "enableTrace" not in server.requests[0].headers.get("x-amzn-bedrock-agent-trace", "")
        assert [record.message for record in caplog.records if "enableTrace" in record.message] != []
        assert sum("enableTrace" in record.message for record in caplog.records) == 1
        assert outcomes(recording) == {"TRAVEL1234": "ok"}
        assert [root.last.details_end["output"] for root in recording.steps.roots] == [asking.ANSWER] * 2
        assert "CHUNK" in {one.type for one in recording.events}


def test_other_calls_are_none_of_ours(tmp_path: Path, server: BedrockServer) -> None:
    """Other operations, and other services' operations, are no steps."""
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        client = server.client("bedrock-agent-runtime", config=patient(attempts=1))
        with pytest.raises(client.exceptions.ClientError):
            client.retrieve(knowledgeBaseId="KBTRAVEL01", retrievalQuery={"text": "visa"})
        assert not recording.sessions


def test_program_without_a_recorder(server: BedrockServer, client: Any) -> None:
    """Instrumented and not configured, a program runs as ever."""
    instrumentor = BedrockAgentsInstrumentor()
    instrumentor.instrument()
    server.script(throttle(), stream(asking.LAST))
    assert len(read(ask(server.client("bedrock-agent-runtime", config=patient())))) == len(asking.LAST)


# --- faults ---

ODD = [
    event("trace", {"trace": {"orchestrationTrace": {"invocationInput": {"invocationType": "FINISH"}}}}),
    event("trace", {"trace": {"unheardOfTrace": {"traceId": "1"}}}),
    event("trace", {"trace": {"orchestrationTrace": {"observation": {"type": "FINISH"}}}}),
    event("trace", {}),
    event("unheardOf", {"a": 1}),
    event("chunk", {}),
    event("files", {"files": []}),
]


def test_parts_that_say_nothing(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """Parts that are empty or unknown are passed on, and cost nothing."""
    server.script(stream(ODD, asking.LAST))
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        read(ask(client))
        recording.check()
        assert outcomes(recording) == {"TRAVEL1234": "ok"}


class Full:
    """A spool that takes nothing, or raises."""

    writer = "f" * 32

    def __init__(self, *, raises: bool) -> None:
        self.raises = raises

    def append(self, payload: bytes) -> bool:
        if self.raises:
            raise OSError("no space")
        return False


@pytest.mark.parametrize("raises", [True, False])
def test_spool_that_is_full(server: BedrockServer, raises: bool) -> None:
    """Where nothing can be recorded the program gets everything all the same, and the loss is counted."""
    instrumentor = BedrockAgentsInstrumentor()
    recorder = Recorder(Full(raises=raises))
    set_recorder(recorder)
    instrumentor.instrument()
    server.script(throttle(), stream(asking.TRIP))
    assert len(read(ask(server.client("bedrock-agent-runtime", config=patient())))) == len(asking.TRIP)
    assert recorder.dropped > len(asking.TRIP) / 2


class Broken(Recorder):
    """A recorder with a fault in one method, as ours may have."""

    fault = ""

    def start_step(self, *args: Any, **kwargs: Any) -> Any:
        if self.fault == "start" or (self.fault == "child" and kwargs.get("parent") is not None):
            raise RuntimeError(self.fault)
        return super().start_step(*args, **kwargs)

    def note(self, step: Any, event_type: str, *args: Any, **kwargs: Any) -> None:
        if self.fault == "note" and event_type != "CHUNK":
            raise RuntimeError(self.fault)
        super().note(step, event_type, *args, **kwargs)

    def stage(self, *args: Any, **kwargs: Any) -> None:
        if self.fault == "stage":
            raise RuntimeError(self.fault)
        super().stage(*args, **kwargs)


@pytest.mark.parametrize("fault", ["start", "child", "note", "stage"])
def test_fault_of_ours(tmp_path: Path, server: BedrockServer, fault: str) -> None:
    """A fault in our own code costs what it is about: the program gets all, what began ends, the loss is counted."""
    server.script(throttle(), stream(asking.TRIP))
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor()) as recording:
        broken = Broken(recording.writer)
        broken.fault = fault
        set_recorder(broken)
        parts = read(ask(server.client("bedrock-agent-runtime", config=patient())))
        assert len(parts) == len(asking.TRIP)
        assert broken.dropped
        events = [one for found in recording.sessions.values() for one in found]
        assert sum(one.type in START_TYPES for one in events) == sum(one.type in END_TYPES for one in events)
        assert bool(events) is (fault != "start")


def test_many_invocations_leave_nothing(recording: Recording, server: BedrockServer, client: Any) -> None:
    """What is kept of an invocation goes with it."""
    import gc

    from otel_agent_journal.frameworks.bedrock_agents.invocation import Invocation

    server.script(*(stream(asking.TRIP) for _ in range(20)))
    for number in range(20):
        read(ask(client, session=f"s{number}"))
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Invocation)]
