"""Spans of other instrumentations: what content may not get around, and what malformed values may not do."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.mapping.dialects import in_genai_terms
from otel_agent_journal.mapping.facts import decode_fact, events_of
from otel_agent_journal.mapping.span_record import SpanEvent
from otel_agent_journal.mapping.to_events import ended, started
from otel_agent_journal.pipeline.content import ContentEncoder
from tests.mapping.test_dialects import span, told

SECRET = "the secret"
CONTENT_KEYS = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.documents",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.prompt.0.content",
    "gen_ai.prompt.7.content",
    "gen_ai.completion.0.content",
    "gen_ai.completion.x.content",
    "gen_ai.task.input",
    "gen_ai.task.output",
    "input.value",
    "output.value",
    "llm.input_messages.0.message.content",
    "llm.output_messages.999999999999.message.content",
    "llm.prompts.0.content",
    "llm.completions.0.content",
    "llm.prompt_template.variables",
    "llm.invocation_parameters",
    "llm.request.functions.0.description",
    "llm.tools.0.tool.json_schema",
    "metadata",
    "retrieval.documents.0.document.content",
    "reranker.query",
    "reranker.input_documents.0.document.content",
    "embedding.embeddings.0.embedding.text",
    "tool.parameters",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "traceloop.prompt.template_variables.name",
    "traceloop.association.properties.note",
)
MARKS = (
    {},
    {"openinference.span.kind": "LLM"},
    {"openinference.span.kind": "CHAIN"},
    {"openinference.span.kind": "TOOL"},
    {"openinference.span.kind": "RETRIEVER"},
    {"openinference.span.kind": "EMBEDDING"},
    {"traceloop.span.kind": "workflow"},
    {"traceloop.span.kind": "tool"},
    {"llm.request.type": "chat"},
    {"gen_ai.operation.name": "execute_tool", "gen_ai.system": "strands-agents"},
)
# Names that are content in one dialect alone: where nothing marks it they are anybody's.
OF_A_DIALECT = {
    "llm.": ("openinference.span.kind", "traceloop.span.kind", "llm.request.type"),
    "metadata": ("openinference.span.kind",),
    "reranker.": ("openinference.span.kind",),
    "embedding.": ("openinference.span.kind",),
    "tool.": ("openinference.span.kind",),
    "traceloop.prompt": ("traceloop.span.kind", "llm.request.type"),
    "traceloop.association": ("traceloop.span.kind", "llm.request.type"),
}


def is_of(key: str, mark: dict[str, str]) -> bool:
    """Tell whether a name is content in the dialect that is marked so."""
    owners = next((owners for prefix, owners in OF_A_DIALECT.items() if key.startswith(prefix)), None)
    return owners is None or bool(mark.keys() & set(owners))


@pytest.mark.parametrize(("key", "mark"), [(key, mark) for key in CONTENT_KEYS for mark in MARKS if is_of(key, mark)])
def test_content_never_stays_among_the_attributes(key: str, mark: dict[str, str]) -> None:
    """AGENT_JOURNAL_CONTENT=metadata leaves details out by name: content must be under such a name, or nowhere."""
    encoder = ContentEncoder(content=False)
    for value in (SECRET, json.dumps([{"role": "user", "content": SECRET}]), json.dumps({"inputs": SECRET})):
        record = in_genai_terms(span({**mark, key: value}))
        for fact in (ended(record), started(msgspec.structs.replace(record, end_ns=None))):
            assert SECRET not in repr(encoder.details(dict(fact.details)))


EVENTS = (
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
    "gen_ai.choice",
    "gen_ai.content.prompt",
    "gen_ai.content.completion",
    "gen_ai.client.inference.operation.details",
)


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: "-".join(map(str, mark.values())) or "bare")
@pytest.mark.parametrize("name", EVENTS)
def test_content_never_stays_among_the_events(name: str, mark: dict[str, str]) -> None:
    """Events that carry content are no events of the step; what they carry is a detail by its name."""
    fields = ("content", "message", "gen_ai.prompt", "gen_ai.completion", "gen_ai.input.messages", "unheard.of")
    record = in_genai_terms(span(mark, SpanEvent(name, 1, dict.fromkeys(fields, SECRET))))
    assert record.events == ()
    assert SECRET not in repr(ContentEncoder(content=False).details(dict(ended(record).details)))


_index = st.sampled_from(["0", "1", "00", "-1", "x", "", "9" * 30, "٣"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "parts", "tool_calls", "inputs", "kwargs", "lc", "data", "text", "toolUse"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
).map(json.dumps)
_keys = st.sampled_from(
    [
        *CONTENT_KEYS,
        "openinference.span.kind",
        "traceloop.span.kind",
        "traceloop.entity.name",
        "llm.request.type",
        "llm.finish_reason",
        "llm.response.finish_reason",
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "gen_ai.system",
        "llm.token_count.prompt",
        "session.id",
        "tool.name",
        "agent_journal.step.kind",
    ]
) | st.builds(
    "{}{}{}".format,
    st.sampled_from(
        ["gen_ai.prompt.", "gen_ai.completion.", "llm.input_messages.", "llm.tools.", "retrieval.documents."]
    ),
    _index,
    st.sampled_from(
        ["", ".role", ".content", ".message.role", ".message.tool_calls.0.tool_call.id", ".tool_calls.0.id"]
    ),
)
_words = st.sampled_from(["LLM", "TOOL", "CHAIN", "RETRIEVER", "EMBEDDING", "workflow", "tool", "chat", "execute_tool"])
_events = st.builds(
    SpanEvent,
    st.sampled_from([*EVENTS, "exception", "mine"]),
    st.integers(0, 9),
    st.dictionaries(
        st.sampled_from(["content", "message", "role", "tool_calls", "gen_ai.prompt", "gen_ai.output.messages"]),
        _values | _json,
        max_size=4,
    ),
)


@settings(max_examples=100, deadline=None)
@given(attributes=st.dictionaries(_keys, _values | _json | _words, max_size=12), events=st.lists(_events, max_size=4))
def test_nothing_malformed_raises(attributes: dict[str, Any], events: list[SpanEvent]) -> None:
    """Wrong types, indices that are none and absurd JSON cost what cannot be read, and no more."""
    record = in_genai_terms(span(attributes, *events, status_code=2))
    for fact in (started(record), ended(record)):
        data, _ = ContentEncoder().encode(fact)
        assert events_of(decode_fact(data), "w")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_of_absurd_depth_is_a_text(opening: str) -> None:
    """A value that cannot be read stays what it was."""
    value = opening * 100_000
    fact = told({"openinference.span.kind": "CHAIN", "input.value": value})
    assert fact.details["input"] == value


@pytest.mark.parametrize(
    ("mark", "key"),
    [
        ({"openinference.span.kind": "LLM"}, "llm.input_messages.{}.message.content"),
        ({"openinference.span.kind": "LLM"}, "llm.input_messages.0.message.tool_calls.{}.tool_call.id"),
        ({"openinference.span.kind": "LLM"}, "llm.input_messages.0.message.contents.{}.message_content.text"),
        ({"openinference.span.kind": "RETRIEVER"}, "retrieval.documents.{}.document.content"),
        ({"llm.request.type": "chat"}, "gen_ai.prompt.{}.content"),
        ({"llm.request.type": "chat"}, "gen_ai.completion.0.tool_calls.{}.name"),
    ],
)
def test_thousands_of_messages_cost_in_proportion(mark: dict[str, str], key: str) -> None:
    """Four times as many take four times as long, not sixteen."""

    def took(count: int) -> float:
        record = span({**mark, **{key.format(number): "x" for number in range(count)}})
        best = float("inf")
        for _ in range(5):
            before = time.thread_time()
            ended(in_genai_terms(record))
            best = min(best, time.thread_time() - before)
        return best

    assert any(took(4000) < 9 * took(1000) for _ in range(3))  # a machine under load measures oddly
