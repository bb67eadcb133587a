"""Entries that code prints in a sandbox, run by a Strands tool, become events under the tool's step."""

from __future__ import annotations

import json
from typing import Any

import pytest
from strands import Agent, tool

from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands.recording import StrandsRecording


def printed(kind: str, **details: Any) -> str:
    return f"===JOURNAL_ENTRY===\n{json.dumps({'event_type': kind, 'details': details})}\n===JOURNAL_END==="


def run(result: Any, name: str = "code_interpreter") -> None:
    @tool(name=name)
    def runs(code: str) -> Any:
        """Run code."""
        return result

    model = ScriptedModel([call((name, {"code": "train()"})), say("done")])
    Agent(model=model, tools=[runs], callback_handler=None)("go")


def test_what_a_code_interpreter_prints(scenario: StrandsRecording) -> None:
    """Whether it answers with text or with JSON, each entry is an event of the tool's step that says who wrote it."""
    run(
        {
            "status": "success",
            "content": [{"text": f"3 rows\n{printed('CLEANED', rows=3)}"}, {"json": {"stdout": printed("TRAINED")}}],
        }
    )
    notes = scenario.attempt("code_interpreter").notes
    assert [(note.type, note.name) for note in notes] == [
        ("CLEANED", "code_interpreter"),
        ("TRAINED", "code_interpreter"),
    ]
    assert dict(notes[0].details) == {"rows": 3, "written_by": "sandbox"}


def test_what_it_may_not_say(recording: StrandsRecording) -> None:
    """A sandbox ends no step and no session; what it may not say is reported, and what it may is there."""
    run("\n".join([printed("TOOL_END"), printed("SESSION_FAILED"), printed("FINE"), "===JOURNAL_ENTRY==="]))
    notes = recording.attempt("code_interpreter").notes
    assert [note.type for note in notes] == ["FINE", "WARNING"]
    assert [problem["kind"] for problem in notes[1].details["problems"]] == ["torn", "refused", "refused"]


def test_tools_that_run_no_code(recording: StrandsRecording, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tools answer may be fetched from anywhere; which ones run code is a setting."""
    monkeypatch.setenv("AGENT_JOURNAL_SANDBOX_TOOLS", "my_*")
    run(printed("RUN"), "my_shell")
    run(printed("NOT_RUN"), "code_interpreter")
    monkeypatch.delenv("AGENT_JOURNAL_SANDBOX_TOOLS")
    run(printed("FETCHED"), "http_request")
    told = [event for events in recording.sessions.values() for event in events if "written_by" in event.details]
    assert [(event.type, event.name) for event in told] == [("RUN", "my_shell")]
