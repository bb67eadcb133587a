"""What real instrumentations recorded of one agent, read as the steps that it made."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest

from otel_agent_journal.event import Usage, kind_of
from otel_agent_journal.mapping.dialects import in_genai_terms
from otel_agent_journal.mapping.facts import StepEnded, decode_fact, encode_fact, events_of
from otel_agent_journal.mapping.to_events import ended, is_journaled, started
from otel_agent_journal.mapping.to_span import span_of_attempt
from tests.mapping.recordings import DIALECTS, records

Row = tuple[str, str, str, str | None, Usage | None]


def steps(dialect: str) -> Iterator[tuple[Row, StepEnded]]:
    """Yield what each span of a recording amounts to: kind, name, outcome, error and usage, and all of it."""
    for record in records(dialect):
        read = in_genai_terms(record)
        if is_journaled(read):
            fact = ended(read)
            error = None if fact.error is None else f"{fact.error.type}: {fact.error.message}"
            yield (fact.kind, fact.name, fact.outcome, error, fact.usage), fact


def rows(dialect: str, *kinds: str) -> list[Row]:
    """Return the steps of these kinds."""
    return [row for row, _ in steps(dialect) if row[0] in kinds]


NO_INDEX = "ValueError: no index for cheese"
AWAY = "RuntimeError: the model is away"
LANGCHAIN_CALLS: list[Row] = [
    ("MODEL", "scripted-1", "ok", None, Usage(input_tokens=20, output_tokens=7)),
    ("TOOL", "search", "ok", None, None),
    ("MODEL", "scripted-1", "ok", None, Usage(input_tokens=40, output_tokens=9, cache_read_tokens=16)),
    ("MODEL", "scripted-1", "ok", None, Usage(input_tokens=50, output_tokens=5)),
    ("MODEL", "scripted-1", "ok", None, Usage(input_tokens=60, output_tokens=8)),
    ("TOOL", "broken", "error", NO_INDEX, None),
]
STRANDS_STEPS: list[Row] = [
    ("AGENT", "helper", "ok", None, Usage(input_tokens=40, output_tokens=14, cache_read_tokens=8)),
    ("MODEL", "scripted-1", "ok", None, Usage(input_tokens=20, output_tokens=7, cache_read_tokens=4)),
    ("TOOL", "search", "ok", None, None),
    ("TOOL", "broken", "error", NO_INDEX, None),
    ("MODEL", "scripted-1", "ok", None, Usage(input_tokens=20, output_tokens=7, cache_read_tokens=4)),
    ("AGENT", "helper", "ok", None, Usage(input_tokens=60, output_tokens=21, cache_read_tokens=12)),
    ("MODEL", "scripted-1", "ok", None, Usage(input_tokens=20, output_tokens=7, cache_read_tokens=4)),
    ("AGENT", "helper", "error", AWAY, None),
    ("MODEL", "scripted-1", "error", AWAY, None),
]


@pytest.mark.parametrize("dialect", ["official", "openinference", "traceloop"])
def test_a_langchain_agent_makes_the_same_calls(dialect: str) -> None:
    """Whoever instruments LangChain: models and tools, their tokens and errors are the same."""
    found = rows(dialect, "MODEL", "TOOL")
    if dialect != "traceloop":  # which counts no tokens of reasoning
        found = [(*row[:4], row[4] and msgspec.structs.replace(row[4], reasoning_tokens=0)) for row in found]
        assert rows(dialect, "MODEL")[1][4] == Usage(
            input_tokens=40, output_tokens=9, cache_read_tokens=16, reasoning_tokens=3
        )
    assert found == LANGCHAIN_CALLS


@pytest.mark.parametrize("dialect", ["openinference", "traceloop"])
def test_a_langgraph_agent_has_its_nodes(dialect: str) -> None:
    """Where an instrumentation has spans of nodes they are nodes, and that of their graph an agent."""
    assert [row[1:4] for row in rows(dialect, "NODE")] == [
        ("model", "ok", None),
        ("tools", "ok", None),
        ("model", "ok", None),
        ("model", "ok", None),
        ("model", "ok", None),
        ("tools", "error", NO_INDEX),
    ]
    assert {row[1:4] for row in rows(dialect, "AGENT")} >= {("helper", "ok", None), ("helper", "error", NO_INDEX)}


@pytest.mark.parametrize("dialect", ["strands", "strands_latest", "openinference_strands"])
def test_a_strands_agent_makes_the_same_steps(dialect: str) -> None:
    """In its older form, in its newer, and as OpenInference rewrites it; the cycles of its loop are no steps."""
    assert [row for row, _ in steps(dialect)] == STRANDS_STEPS


@pytest.mark.parametrize("dialect", DIALECTS)
def test_content_of_every_dialect_is_read(dialect: str) -> None:
    """Messages have roles and parts, a tool its arguments and its result, a retrieval its documents."""
    found = [fact for _, fact in steps(dialect)]
    models = [fact.details for fact in found if fact.kind == "MODEL"]
    asked, answered = models[0]["messages"][-1], models[0]["output"][-1]
    assert (asked["role"], answered["role"]) == ("user", "assistant")
    assert asked["parts"][0]["content"].startswith("What of bread")
    call = next(part for part in answered["parts"] if part["type"] == "tool_call")
    assert (call["name"], call["arguments"]) == ("search", {"query": "bread"})
    result = next(part for message in models[1]["messages"] for part in message["parts"] if "response" in part)
    asked_for = [part["id"] for part in answered["parts"] if part["type"] == "tool_call"]
    assert result["type"] == "tool_call_response"
    assert result["id"] in asked_for  # OpenInference keeps the last of several results alone
    texts = [part["content"] for part in models[1]["output"][0]["parts"] if part["type"] == "text"]
    assert texts == ["Bread, twice."]
    tools = [fact.details for fact in found if fact.kind == "TOOL"]
    assert tools[0]["input"] in ({"query": "bread"}, "bread")
    assert tools[0]["output"] == "two hits for bread"
    assert tools[0]["attributes"]["gen_ai.tool.call.id"] == call["id"]
    retrievals = [fact.details for fact in found if fact.kind == "RETRIEVAL"]
    assert [one["input"] for one in retrievals] == ["bread"] * len(retrievals)
    assert all(isinstance(one["sources"], list) for one in retrievals)
    said = json.dumps([fact.details.get("system_instructions", fact.details.get("messages")) for fact in found])
    assert "Be brief." in said


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_span_of_a_dialect_comes_back_in_genai_terms(dialect: str) -> None:
    """Who it was, when, how it ended and what it said is on the span that is made of its events."""
    for record in records(dialect):
        read = in_genai_terms(record)
        if not is_journaled(read):
            continue
        (start,) = events_of(decode_fact(encode_fact(started(read))), "w")
        (end,) = events_of(decode_fact(encode_fact(ended(read))), "w")
        back = span_of_attempt(start, end, capture_content=True)
        for field in ("name", "kind", "start_ns", "end_ns", "parent_span_id", "scope_name", "scope_version", "events"):
            assert getattr(back, field) == getattr(read, field), field
        assert (back.status_code, back.links) == (read.status_code, read.links)
        again = in_genai_terms(back)
        assert (again.attributes.get("gen_ai.request.model"), kind_of(end.type)) == (
            read.attributes.get("gen_ai.request.model"),
            kind_of(events_of(ended(again), "w")[0].type),
        )
