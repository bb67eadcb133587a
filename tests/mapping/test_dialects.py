"""Spans of other instrumentations, read as the steps that they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_agent_journal.event import Usage
from otel_agent_journal.mapping.dialects import in_genai_terms, is_silent, speaks_at_the_end, speaks_late
from otel_agent_journal.mapping.facts import StepEnded
from otel_agent_journal.mapping.span_record import SpanEvent, SpanRecord
from otel_agent_journal.mapping.to_events import ended, is_journaled, session_named_by, session_of

TRACE, SPAN = "1" * 32, "2" * 16


def span(attributes: dict[str, Any], *events: SpanEvent, **fields: Any) -> SpanRecord:
    """Return a span with these attributes, as it ended."""
    fields = {"name": "a span", "start_ns": 100, "end_ns": 250, "events": events, **fields}
    return SpanRecord(trace_id=TRACE, span_id=SPAN, attributes=attributes, **fields)


def told(attributes: dict[str, Any], *events: SpanEvent, **fields: Any) -> StepEnded:
    """Return what a span amounts to."""
    return ended(in_genai_terms(span(attributes, *events, **fields)))


def text(role: str, content: Any) -> dict[str, Any]:
    """Return a message that says something."""
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def test_what_says_nothing_of_an_agent() -> None:
    """Names of no dialect: what has these alone is not even read."""
    assert is_silent(("http.request.method", "gen_ai"))
    assert is_silent(())
    for name in ("gen_ai.system", "agent_journal.step.id", "input.value", "traceloop.span.kind"):
        assert not is_silent(("http.request.method", name))


def test_a_span_in_no_dialect_is_left_alone() -> None:
    """Neither a bare span nor one of today's conventions costs a copy."""
    for attributes in ({"http.request.method": "GET"}, {"gen_ai.operation.name": "chat"}, {}):
        record = span(attributes)
        assert in_genai_terms(record) is record
    bare = span({"x": 1}, SpanEvent("retry", 120))
    assert in_genai_terms(bare) is bare
    assert not is_journaled(bare)
    assert (told({"x": 1}).kind, told({"x": 1}).name) == ("STEP", "a span")


@pytest.mark.parametrize(
    ("attributes", "kind", "name"),
    [
        ({"openinference.span.kind": "LLM", "llm.model_name": "m"}, "MODEL", "m"),
        ({"llm.model_name": "m"}, "MODEL", "m"),
        ({"openinference.span.kind": "EMBEDDING", "embedding.model_name": "e"}, "MODEL", "e"),
        ({"openinference.span.kind": "TOOL"}, "TOOL", "a span"),
        ({"openinference.span.kind": "AGENT"}, "AGENT", "a span"),
        ({"openinference.span.kind": "AGENT", "agent.name": "x"}, "AGENT", "x"),
        ({"openinference.span.kind": "RETRIEVER"}, "RETRIEVAL", "a span"),
        ({"openinference.span.kind": "RERANKER"}, "RETRIEVAL", "a span"),
        ({"openinference.span.kind": "GUARDRAIL"}, "STEP", "a span"),
        ({"openinference.span.kind": "CHAIN"}, "STEP", "a span"),
        ({"openinference.span.kind": "CHAIN", "metadata": '{"ls_integration":"langgraph"}'}, "AGENT", "a span"),
        ({"openinference.span.kind": 7}, "STEP", "a span"),
        ({"input.value": "x"}, "STEP", "a span"),
        ({"traceloop.span.kind": "workflow", "traceloop.entity.name": "w"}, "AGENT", "w"),
        ({"traceloop.span.kind": "agent", "traceloop.entity.name": "a"}, "AGENT", "a"),
        ({"traceloop.span.kind": "tool", "traceloop.entity.name": "t"}, "TOOL", "t"),
        ({"traceloop.span.kind": "task", "traceloop.entity.name": "t"}, "STEP", "t"),
        ({"traceloop.span.kind": "task", "agent_journal.step.kind": "node"}, "NODE", "a span"),
        ({"llm.request.type": "chat", "gen_ai.request.model": "m"}, "MODEL", "m"),
        ({"llm.request.type": "completion", "llm.request.model": "m"}, "MODEL", "m"),
        ({"llm.request.type": "embedding"}, "MODEL", "a span"),
        ({"llm.request.type": "rerank"}, "RETRIEVAL", "a span"),
        ({"llm.request.type": "unheard of"}, "STEP", "a span"),
        ({"llm.request.type": "chat", "gen_ai.request.model": "unknown"}, "MODEL", "a span"),
    ],
)
def test_every_kind_of_span_is_a_kind_of_step(attributes: dict[str, Any], kind: str, name: str) -> None:
    """What nobody has heard of is a plain step."""
    fact = told(attributes)
    assert (fact.kind, fact.name) == (kind, name)
    assert is_journaled(in_genai_terms(span(attributes)))


@pytest.mark.parametrize(
    "key",
    [
        "gen_ai.conversation.id",
        "session.id",
        "baggage.session.id",
        "baggage.gen_ai.conversation.id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.conversation_id",
        "traceloop.association.properties.thread_id",
    ],
)
@pytest.mark.parametrize("mark", ["traceloop.span.kind", "openinference.span.kind", "gen_ai.system", "x"])
def test_a_session_is_found_under_every_name(key: str, mark: str) -> None:
    """Of a Traceloop property, of what a BaggageSpanProcessor copies, with a prefix or without, and on the resource."""
    assert session_of(in_genai_terms(span({mark: "x", key: "s1"}))) == "s1"
    assert session_named_by(in_genai_terms(span({mark: "x"}, resource={key: "s1"}))) == "s1"


def test_a_sessions_own_name_goes_before_a_property() -> None:
    """A thread is the framework's, a session the program's."""
    names = {"traceloop.association.properties.thread_id": "t", "session.id": "s", "traceloop.span.kind": "task"}
    assert session_of(in_genai_terms(span(names))) == "s"


def test_indexed_prompts_of_traceloop() -> None:
    """Model clients of older versions flatten messages, calls and functions into keys."""
    fact = told(
        {
            "llm.request.type": "chat",
            "gen_ai.system": "OpenAI",
            "gen_ai.request.model": "m",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
            "gen_ai.prompt.10.role": "tool",
            "gen_ai.prompt.10.content": "two",
            "gen_ai.prompt.10.tool_call_id": "c1",
            "gen_ai.prompt.2.content": '[{"type":"text","text":"hi"}]',
            "gen_ai.prompt.x.content": "lost",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.finish_reason": "tool_calls",
            "gen_ai.completion.0.tool_calls.0.id": "c2",
            "gen_ai.completion.0.tool_calls.0.name": "f",
            "gen_ai.completion.0.tool_calls.0.arguments": '{"a":1}',
            "gen_ai.completion.1.finish_reason": "stop",
            "llm.request.functions.0.name": "f",
            "llm.request.functions.0.parameters": '{"type":"object"}',
            "llm.usage.total_tokens": 9,
            "llm.usage.prompt_tokens": 4,
            "llm.usage.completion_tokens": 5,
            "llm.is_streaming": True,
            "llm.response.finish_reason": "tool_calls",
            "llm.headers": "secret",
            "traceloop.prompt.template": "template",
        }
    )
    assert fact.usage == Usage(input_tokens=4, output_tokens=5)
    assert fact.details == {
        "messages": [
            text("system", "Be brief."),
            text("user", "hi"),
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "two"}]},
        ],
        "output": [
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "c2", "name": "f", "arguments": {"a": 1}}],
                "finish_reason": "tool_calls",
            }
        ],
        "tool_definitions": [{"name": "f", "parameters": {"type": "object"}}],
        "metadata": {"llm.headers": "secret", "traceloop.prompt.template": "template"},
        "attributes": {
            "llm.request.type": "chat",
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "OpenAI",
            "gen_ai.request.model": "m",
            "gen_ai.request.stream": True,
            "gen_ai.response.finish_reasons": ("tool_calls",),
        },
    }


def test_what_decorators_of_traceloop_write() -> None:
    """An input is as it is, unless it is wrapped as the LangChain instrumentation does it."""
    fact = told(
        {
            "traceloop.span.kind": "workflow",
            "traceloop.entity.name": "w",
            "traceloop.entity.input": '{"args":[1],"kwargs":{"a":2}}',
            "traceloop.entity.output": '"done"',
        }
    )
    assert fact.details["input"] == {"args": [1], "kwargs": {"a": 2}}
    assert fact.details["output"] == '"done"'
    assert fact.details["attributes"]["gen_ai.operation.name"] == "invoke_workflow"
    assert told({"traceloop.entity.input": '{"kwargs":{}}'}).details["input"] == {"kwargs": {}}
    tool = {"traceloop.span.kind": "tool", "traceloop.entity.input": '{"input_str":"{}","kwargs":{"tool_call_id":"c"}}'}
    assert told(tool).details["attributes"]["gen_ai.tool.call.id"] == "c"


def test_messages_of_openinference() -> None:
    """Several contents, calls in both forms, tools, parameters and reasons are read out of flattened keys."""
    at = "llm.input_messages.0.message."
    fact = told(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "m",
            "llm.system": "openai",
            f"{at}role": "user",
            f"{at}contents.0.message_content.type": "text",
            f"{at}contents.0.message_content.text": "look",
            f"{at}contents.1.message_content.type": "image",
            f"{at}contents.1.message_content.image.image.url": "http://x",
            f"{at}contents.2.message_content.type": "reasoning",
            f"{at}contents.2.message_content.text": "hm",
            f"{at}contents.3.message_content.tool_call.function.name": "f",
            f"{at}contents.3.message_content.tool_call.function.arguments": "{}",
            "llm.input_messages.1.message.role": "user",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.function_call_name": "g",
            "llm.output_messages.0.message.function_call_arguments_json": '{"b":2}',
            "llm.output_messages.0.message.finish_reason": "stop",
            "llm.tools.0.tool.json_schema": '{"name":"f"}',
            "llm.invocation_parameters": '{"temperature":0.5,"max_tokens":9,"stop":null,"n":true,"tools":["t"]}',
            "llm.prompt_template.template": "secret",
            "llm.finish_reason": "stop",
            "llm.cost.total": 0.1,
            "input.value": "said again",
            "metadata": "no object",
        }
    )
    assert fact.details == {
        "messages": [
            {
                "role": "user",
                "parts": [
                    {"type": "text", "content": "look"},
                    {"type": "image", "image.image.url": "http://x"},
                    {"type": "reasoning", "content": "hm"},
                    {"type": "tool_call", "id": None, "name": "f", "arguments": {}},
                ],
            }
        ],
        "output": [
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": None, "name": "g", "arguments": {"b": 2}}],
                "finish_reason": "stop",
            }
        ],
        "tool_definitions": [{"name": "f"}],
        "metadata": {
            "llm.invocation_parameters": {"n": True, "tools": ["t"]},
            "llm.prompt_template.template": "secret",
            "metadata": "no object",
        },
        "attributes": {
            "openinference.span.kind": "LLM",
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": 9,
            "gen_ai.response.finish_reasons": ("stop",),
            "llm.cost.total": 0.1,
            "gen_ai.usage.cost": 0.1,
        },
    }
    numbers = told({"openinference.span.kind": "LLM", "llm.invocation_parameters": '{"top_p":1}'})
    assert "metadata" not in numbers.details
    hidden = told({"openinference.span.kind": "LLM", "input.value": '{"a":1}', "output.value": "__REDACTED__"})
    assert (hidden.details["input"], hidden.details["output"]) == ({"a": 1}, "__REDACTED__")


def test_documents_and_vectors_of_openinference() -> None:
    """A reranker's documents are its sources; of an embedding the texts are kept, not the vectors."""
    reranker = told(
        {
            "openinference.span.kind": "RERANKER",
            "reranker.query": "q",
            "reranker.model_name": "r",
            "reranker.input_documents.0.document.content": "in",
            "reranker.output_documents.0.document.content": "out",
            "reranker.output_documents.0.document.score": 0.5,
        }
    )
    assert (reranker.details["input"], reranker.details["sources"]) == ("q", [{"content": "out", "score": 0.5}])
    embedding = told(
        {
            "openinference.span.kind": "EMBEDDING",
            "embedding.embeddings.0.embedding.text": "t",
            "embedding.embeddings.0.embedding.vector": (0.1, 0.2),
            "input.value": "t",
        }
    )
    assert embedding.details["input"] == ["t"]
    assert "0.1" not in repr(embedding)
    tool = told({"openinference.span.kind": "TOOL", "tool.parameters": '{"a":1}'})
    assert tool.details["input"] == {"a": 1}


def test_a_failure_of_openinference_has_its_message() -> None:
    """Where its status has the whole traceback."""
    exception = SpanEvent("exception", 120, {"exception.type": "E", "exception.message": "bad"})
    kind = {"openinference.span.kind": "LLM"}
    failed = told(kind, exception, SpanEvent("other", 130), status_code=2, status_description="E('bad')Traceback")
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("E", "bad")
    unsaid = told(kind, SpanEvent("exception", 120), status_code=2, status_description="why")
    assert unsaid.error is not None
    assert unsaid.error.message == "why"


def test_content_under_the_names_that_the_conventions_had_before() -> None:
    """Attributes and events of earlier versions, in every shape that they came in."""
    chat = {"gen_ai.operation.name": "chat"}
    old = told(
        {
            **chat,
            "gen_ai.system": "openai",
            "gen_ai.prompt": '[{"role":"user","content":"hi"},{"role":"tool","content":"r","tool_call_id":"c"}]',
            "gen_ai.completion": "hello",
        }
    )
    assert old.details == {
        "messages": [
            text("user", "hi"),
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "r"}]},
        ],
        "output": [text("assistant", "hello")],
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"},
    }
    calls = '[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]'
    by_events = told(
        chat,
        SpanEvent("gen_ai.system.message", 1, {"content": "Be brief."}),
        SpanEvent("gen_ai.user.message", 2, {"content": "hi"}),
        SpanEvent("gen_ai.user.message", 2, {"content": ""}),
        SpanEvent("gen_ai.assistant.message", 3, {"tool_calls": calls}),
        SpanEvent("gen_ai.choice", 4, {"index": 0, "message": '{"role":"assistant","content":"yo"}'}),
        SpanEvent("gen_ai.choice", 4, {"message": ""}),
        SpanEvent("gen_ai.choice", 4, {"message": "kept", "tool.result": '[{"text":"r"}]'}),
        SpanEvent("gen_ai.content.prompt", 5, {"gen_ai.prompt": "more"}),
        SpanEvent("gen_ai.client.inference.operation.details", 6, {"gen_ai.tool.definitions": '[{"name":"f"}]'}),
        SpanEvent("mine", 7),
    )
    assert by_events.details == {
        "messages": [
            text("user", "hi"),
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": {}}]},
            text("tool", "r"),
            text("user", "more"),
        ],
        "output": [text("assistant", "yo"), text("assistant", "kept")],
        "system_instructions": [{"type": "text", "content": "Be brief."}],
        "tool_definitions": [{"name": "f"}],
        "attributes": {"gen_ai.operation.name": "chat"},
        "events": [{"name": "mine", "timestamp_ns": 7, "attributes": {}}],
    }
    empty = told({**chat, "gen_ai.prompt": "", "gen_ai.input.messages": "[]"})
    assert empty.details["messages"] == []


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        ([{"type": "tool_use", "id": "c", "name": "f", "input": {}}], [("tool_call", "c")]),
        ([{"type": "tool_result", "tool_use_id": "c", "content": "r"}], [("tool_call_response", "c")]),
        ([{"toolResult": {"toolUseId": "c", "content": [{"json": {"a": 1}}]}}], [("tool_call_response", "c")]),
        ([{"toolUse": "odd"}], [("tool_call", None)]),
        ([{"image": {"format": "png"}}], [(None, None)]),
        (["plain", None, ""], [("text", None)]),
        ({"a": 1}, [(None, None)]),
        ([{"content": "x", "role": "y"}], [(None, None)]),
    ],
)
def test_blocks_of_every_provider_are_parts(blocks: Any, parts: list[tuple[Any, Any]]) -> None:
    """A block that nobody knows is left as it is."""
    fact = told({}, SpanEvent("gen_ai.user.message", 1, {"content": json.dumps(blocks)}))
    (message,) = fact.details["messages"]
    assert [(part.get("type"), part.get("id")) for part in message["parts"]] == parts


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ('[{"text":"a"},{"text":"b"}]', "ab"),
        ('[{"text":"a"},{"json":1}]', ["a", 1]),
        ('[{"text":"a","x":1}]', [{"text": "a", "x": 1}]),
        ("[1]", [1]),
        ("plain", "plain"),
        ('{"a":1}', {"a": 1}),
        ("[{", "[{"),
    ],
)
def test_a_tools_result_comes_without_its_blocks(result: str, output: Any) -> None:
    """The text or the data that the tool gave back."""
    fact = told({"gen_ai.operation.name": "execute_tool"}, SpanEvent("gen_ai.choice", 1, {"message": result}))
    assert fact.details["output"] == output


@pytest.mark.parametrize(("result", "message"), [('[{"text":"no"}]', "no"), ("[1]", ""), (None, "")])
def test_a_tool_that_gave_back_an_error_has_failed(result: str | None, message: str) -> None:
    """Though older versions of Strands say of its span that it is OK."""
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.status": "error"}
    events = () if result is None else (SpanEvent("gen_ai.choice", 1, {"message": result}),)
    failed = told(tool, *events, status_code=1)
    assert failed.outcome == "error"
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ToolError", message)
    assert told({**tool, "gen_ai.tool.status": "success"}).outcome == "ok"
    again = told(tool, status_code=2, status_description="why").error
    assert again is not None
    assert again.message == "why"


def test_scopes_that_speak_late() -> None:
    """A scope is known by how its name begins."""
    assert speaks_late("strands.telemetry.tracer")
    assert not speaks_late("opentelemetry.instrumentation.httpx")
    assert speaks_at_the_end("openinference.instrumentation.langchain")
    assert not speaks_at_the_end("strands.telemetry.tracer")
