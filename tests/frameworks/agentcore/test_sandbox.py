"""Entries that code prints in AgentCore's code interpreter become events under the step that runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bedrock_agentcore.tools.code_interpreter_client import CodeInterpreter

from otel_agent_journal.pipeline.session import session
from tests.frameworks.langgraph.recording import Recording


def printed(kind: str, **details: Any) -> str:
    return f"===JOURNAL_ENTRY===\n{json.dumps({'event_type': kind, 'details': details})}\n===JOURNAL_END===\n"


class Service:
    """Answers as AgentCore's data plane does: a stream of results."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def invoke_code_interpreter(self, **_: Any) -> dict[str, Any]:
        def events() -> Any:
            for part in self.parts:
                if isinstance(part, Exception):
                    raise part
                yield part

        return {"sessionId": "ci-1", "stream": events()}


def says(text: str, **structured: Any) -> dict[str, Any]:
    return {"result": {"content": [{"type": "text", "text": text}], "structuredContent": structured, "isError": False}}


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client whose service is scripted."""

    def made(*parts: Any) -> CodeInterpreter:
        client = CodeInterpreter("us-west-2")
        client.data_plane_client = Service(*parts)
        client.identifier, client.session_id = "aws.codeinterpreter.v1", "ci-1"
        return client

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    return made


def types(recording: Recording) -> list[tuple[str, str | None]]:
    recording.drain()
    return [(event.type, event.step_id) for event in recording.events if not event.type.endswith(("_START", "_END"))]


def test_what_code_prints(recording: Recording, interpreter: Any) -> None:
    """Text or stdout, torn over parts of the stream or not; the program reads what it read before, and of its class."""
    parts = [
        says(printed("CLEANED", rows=3), stdout=printed("CLEANED", rows=3)),
        says("ok", stdout=printed("TRAINED")[:40]),
        says("", stdout="x"),
    ]
    with session("s1") as run, run.step("tool", "python") as step:
        response = interpreter(*parts).invoke("executeCode", {"code": "train()"})
        assert type(response["stream"]).__name__ == "generator"
        assert list(response["stream"]) == parts
    recording.drain()
    notes = recording.attempt("python").notes
    assert [(note.type, note.step_id) for note in notes] == [("CLEANED", step.step_id), ("WARNING", step.step_id)]
    assert dict(notes[0].details) == {"rows": 3, "written_by": "sandbox"}
    assert notes[1].details["problems"][0]["kind"] == "torn"


@pytest.mark.parametrize("way", ["closed", "let go", "died"])
def test_a_stream_that_is_left(recording: Recording, interpreter: Any, way: str) -> None:
    """What was read until then counts, once."""
    end = [ValueError("gone")] if way == "died" else [says("never read")]
    with session("s1") as run, run.step("tool", "python"):
        stream = interpreter(says(printed("FIRST")), *end).invoke("executeCode")["stream"]
        assert "FIRST" in next(stream)["result"]["content"][0]["text"]
        if way == "closed":
            stream.close()
        elif way == "died":
            with pytest.raises(ValueError, match="gone"):
                next(stream)
        del stream
    recording.drain()
    assert [note.type for note in recording.attempt("python").notes] == ["FIRST"]


def test_outside_of_a_step(recording: Recording, interpreter: Any) -> None:
    """Where no step runs there is nothing to keep entries under: the stream is the client's own."""
    response = interpreter(says(printed("NOBODYS"))).invoke("executeCode")
    assert len(list(response["stream"])) == 1
    with session("s1"):
        pass
    recording.drain()
    assert "NOBODYS" not in [event.type for event in recording.events]
