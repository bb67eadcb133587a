"""Names and attributes of steps' spans, as the GenAI conventions and our own namespace have them."""

from __future__ import annotations

import pytest

from otel_agent_journal.event import STEP_KINDS, ErrorInfo, Usage
from otel_agent_journal.mapping import genai


@pytest.mark.parametrize(
    ("kind", "name", "operation", "expected"),
    [
        ("AGENT", "researcher", None, "invoke_agent researcher"),
        ("AGENT", "pipeline", "invoke_workflow", "invoke_workflow pipeline"),
        ("NODE", "plan", None, "invoke_node plan"),
        ("MODEL", "gpt-x", None, "chat gpt-x"),
        ("MODEL", "e5", "embeddings", "embeddings e5"),
        ("TOOL", "search", None, "execute_tool search"),
        ("RETRIEVAL", "wiki", None, "retrieval wiki"),
        ("STEP", "clean up", None, "clean up"),
        ("MODEL", "", None, "chat"),
    ],
)
def test_a_span_is_named_by_operation_and_target(kind: str, name: str, operation: str | None, expected: str) -> None:
    """A step's span has the name that the conventions ask for, a plain step its own."""
    assert genai.span_name(kind, name, operation) == expected


def test_only_model_calls_are_clients() -> None:
    """A model call leaves the process, everything else happens in it."""
    assert {kind: genai.span_kind(kind) for kind in STEP_KINDS} == {
        "AGENT": "INTERNAL",
        "NODE": "INTERNAL",
        "MODEL": "CLIENT",
        "TOOL": "INTERNAL",
        "RETRIEVAL": "INTERNAL",
        "STEP": "INTERNAL",
    }


def test_a_tool_starts_with_its_identity() -> None:
    """Everything that a sampler or a reader of running steps needs is there at creation."""
    assert genai.start_attributes("TOOL", "search", "s1", "a", "b", 2, {genai.TOOL_CALL_ID: "call-1"}) == {
        "gen_ai.conversation.id": "s1",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "call-1",
        "agent_journal.step.id": "a",
        "agent_journal.step.parent_id": "b",
        "agent_journal.step.kind": "tool",
        "agent_journal.attempt": 2,
    }


def test_a_root_has_no_parent_and_a_plain_step_no_operation() -> None:
    """What is not there is left out rather than empty."""
    assert genai.start_attributes("STEP", "clean", "s1", "a", None, 1) == {
        "gen_ai.conversation.id": "s1",
        "agent_journal.step.id": "a",
        "agent_journal.step.kind": "step",
        "agent_journal.step.name": "clean",
        "agent_journal.attempt": 1,
    }


def test_a_workflow_has_a_workflows_name() -> None:
    """An agent whose operation is `invoke_workflow` is named as the conventions name workflows."""
    attributes = genai.start_attributes("AGENT", "g", "s", "a", None, 1, {genai.OPERATION_NAME: "invoke_workflow"})
    assert attributes[genai.WORKFLOW_NAME] == "g"
    assert genai.AGENT_NAME not in attributes


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_every_kind_has_start_attributes(kind: str) -> None:
    """Each kind of step says its kind, its name, and session, step and attempt."""
    attributes = genai.start_attributes(kind, "n", "s", "a", None, 1)
    assert attributes[genai.STEP_KIND] == kind.lower()
    assert "n" in attributes.values()
    assert attributes.get(genai.OPERATION_NAME) == genai.OPERATION_OF_KIND.get(kind)


def test_an_ending_counts_tokens() -> None:
    """Usage is written under today's names; parts that are zero are left out."""
    usage = Usage(input_tokens=10, output_tokens=2, cache_read_tokens=4, cache_write_tokens=1, reasoning_tokens=3)
    assert genai.end_attributes("ok", usage) == {
        "agent_journal.outcome": "ok",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 1,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }
    assert genai.end_attributes("ok", Usage(input_tokens=1)) == {
        "agent_journal.outcome": "ok",
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 0,
    }


def test_only_an_error_has_an_error_type() -> None:
    """Being cancelled is no error, whatever exception did it."""
    error = ErrorInfo(type="ValueError", message="bad")
    assert genai.end_attributes("error", error=error)["error.type"] == "ValueError"
    assert "error.type" not in genai.end_attributes("cancelled", error=error)


def test_extra_attributes_win() -> None:
    """What user code sets on a span stands over what follows from the step."""
    assert genai.end_attributes("ok", extra={"agent_journal.outcome": "mine", "x": 1}) == {
        "agent_journal.outcome": "mine",
        "x": 1,
    }


@pytest.mark.parametrize(
    ("outcome", "error", "expected"),
    [
        ("ok", None, (0, None)),
        ("cancelled", ErrorInfo(type="CancelledError"), (0, None)),
        ("interrupted", None, (0, None)),
        ("error", None, (2, None)),
        ("error", ErrorInfo(type="ValueError", message="bad"), (2, "bad")),
        ("error", ErrorInfo(type="ValueError"), (2, "ValueError")),
    ],
)
def test_only_an_error_has_status_error(
    outcome: str, error: ErrorInfo | None, expected: tuple[int, str | None]
) -> None:
    """Cancelled steps and those that wait for input are not shown as failures."""
    assert genai.span_status(outcome, error) == expected


@pytest.mark.parametrize(
    ("setting", "captured"),
    [
        (None, False),
        ("", False),
        ("NO_CONTENT", False),
        ("EVENT_ONLY", False),
        ("true", False),
        ("SPAN_ONLY", True),
        (" span_and_event ", True),
    ],
)
def test_content_goes_onto_spans_only_by_the_settings_that_say_span(setting: str | None, *, captured: bool) -> None:
    """`true` is no value of the variable, as in the official instrumentations."""
    assert genai.captures_content_on_spans(setting) is captured


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("amazon_bedrock", "aws.bedrock"),
        ("Bedrock", "aws.bedrock"),
        ("google-vertexai", "gcp.vertex_ai"),
        ("mistralai", "mistral_ai"),
        ("xai", "x_ai"),
        ("az.ai.openai", "azure.ai.openai"),
        ("openai", "openai"),
        ("Mine", "Mine"),
    ],
)
def test_provider_names(said: str, name: str) -> None:
    """A provider has the name of the conventions, whatever a framework calls it; one they do not know keeps its own."""
    assert genai.provider_name(said) == name
