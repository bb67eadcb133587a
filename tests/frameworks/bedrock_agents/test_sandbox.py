"""Entries that the code interpreter of a Bedrock agent prints become events under its step."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.testing.bedrock import BedrockServer, agent_parts, stream
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, read
from tests.frameworks.langgraph.recording import Recording

PRINTED = '2\n===JOURNAL_ENTRY===\n{"event_type": "TRAINED", "details": {"loss": 0.1}}\n===JOURNAL_END===\n'


def test_what_it_prints(recording: Recording, server: BedrockServer, client: Any) -> None:
    """An entry is an event of the step; what looks like one and is none is a warning there."""
    parts = [
        agent_parts.code_interpreter_input("train()"),
        agent_parts.code_interpreter_output(PRINTED + "===JOURNAL_ENTRY===\n{torn"),
    ]
    server.script(stream(parts, asking.LAST))
    read(ask(client))
    attempt = recording.attempt("code_interpreter")
    entry, warning = attempt.notes
    assert (entry.type, entry.name, dict(entry.details)) == (
        "TRAINED",
        "code_interpreter",
        {"loss": 0.1, "written_by": "sandbox"},
    )
    assert (warning.type, warning.details["problems"][0]["kind"]) == ("WARNING", "torn")


def test_other_tools_print_no_entries(recording: Recording, server: BedrockServer, client: Any) -> None:
    """What an action answers may come from anywhere, and is no sandbox's."""
    parts = [agent_parts.action_group_input("A", "fetch"), agent_parts.action_group_output(PRINTED)]
    server.script(stream(parts, asking.LAST))
    read(ask(client))
    assert recording.attempt("A.fetch").notes == ()


def test_with_a_nonce(
    recording: Recording, server: BedrockServer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not show the nonce that is set is no entry, and reported."""
    monkeypatch.setenv("AGENT_JOURNAL_MARKER_NONCE", "k7")
    signed = PRINTED.replace("ENTRY===", "ENTRY=== k7").replace("TRAINED", "SIGNED")
    parts = [agent_parts.code_interpreter_input("train()"), agent_parts.code_interpreter_output(PRINTED + signed)]
    server.script(stream(parts, asking.LAST))
    read(ask(client))
    notes = recording.attempt("code_interpreter").notes
    assert [note.type for note in notes] == ["SIGNED", "WARNING"]
    assert notes[1].details["problems"][0]["kind"] == "unsigned"
