"""Content: off on spans and on in the journal, both switchable; redacted, limited, never silently cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.codec import encode_line
from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording, recording_at

SECRET = "the secret question"
ANSWER = "the secret answer"


@contextmanager
def recorded(tmp_path: Path, **options: Any) -> Iterator[Recording]:
    """Record with other options than the fixture's."""
    with recording_at(tmp_path / "spool", provider=TracerProvider(), **options) as made:
        yield made
        made.check()


def ask() -> None:
    """Run an agent that calls a tool, with content worth hiding."""
    agent = graphs.agent([reply("", calls=[("search", {"query": "secret argument"})]), ANSWER])
    agent.invoke(graphs.question(SECRET), graphs.on_thread())


def journaled(recording: Recording) -> str:
    """Everything in the journal, as text."""
    return "\n".join(encode_line(event).decode() for event in recording.events)


def on_spans(recording: Recording) -> str:
    """Everything on spans, as text."""
    return "\n".join(str(span.to_json()) for span in recording.spans)


def test_by_default(tmp_path: Path) -> None:
    """By default content is in the journal and not on spans."""
    with recorded(tmp_path) as recording:
        ask()
        assert "secret" not in on_spans(recording)
        for text in (SECRET, ANSWER, "secret argument", "found secret argument"):
            assert text in journaled(recording)


def test_on_spans(tmp_path: Path, snapshot: Any) -> None:
    """With content on spans, messages, arguments and results are on them, as the GenAI conventions name them."""
    with recorded(tmp_path, span_content=True) as recording:
        ask()
        assert recording.span_tree() == snapshot
        for text in (SECRET, ANSWER, "secret argument", "found secret argument"):
            assert text in on_spans(recording)


def test_not_in_the_journal(tmp_path: Path, snapshot: Any) -> None:
    """With `AGENT_JOURNAL_CONTENT=metadata` there is no content in the journal, but every step, token and name."""
    with recorded(tmp_path, content=False) as recording:
        ask()
        assert "secret" not in journaled(recording)
        assert recording.tree() == snapshot


def test_streamed_text_is_content(tmp_path: Path) -> None:
    """With content off streamed text is not journaled either."""
    with recorded(tmp_path, content=False) as recording:
        graph = graphs.chat_node(ScriptedModel(script=[ANSWER]))
        list(graph.stream(graphs.question(SECRET), graphs.on_thread(), stream_mode="messages"))
        assert "secret" not in journaled(recording)


def test_redacted(tmp_path: Path) -> None:
    """A redactor sees every content field as plain data before anything is written, errors included."""

    def redact(field: str, value: Any) -> Any:
        seen.add(field)
        return json.loads(json.dumps(value).replace("secret", "[hidden]"))

    seen: set[str] = set()
    with recorded(tmp_path, redactor=redact) as recording:
        ask()
        list(
            graphs.chat_node(ScriptedModel(script=[ANSWER])).stream(
                graphs.question(SECRET), graphs.on_thread(), stream_mode="messages"
            )
        )
        with pytest.raises(ValueError, match="secret"):
            graphs.chat_node(ScriptedModel(script=[ValueError("secret fault")])).invoke(
                graphs.question(), graphs.on_thread()
            )
        assert "secret" not in journaled(recording)
        assert "[hidden]" in journaled(recording)
        assert "secret" not in (tmp_path / "spool").joinpath("a" * 32, "000001.seg").read_bytes().decode("latin-1")
    assert {"input", "output", "messages", "text", "error.message"} <= seen


def test_a_redactor_that_fails(tmp_path: Path) -> None:
    """A field that the redactor fails on is left out, and the agent does not notice."""

    def redact(field: str, value: Any) -> Any:
        raise RuntimeError(field)

    with recorded(tmp_path, redactor=redact) as recording:
        ask()
        assert "secret" not in journaled(recording)
        assert recording.status == ("COMPLETED", None)


def test_a_field_over_the_limit_is_a_blob(tmp_path: Path) -> None:
    """A field over the limit is kept whole as a blob; its event has the digest, the size and how it begins."""
    text = "long " * 50_000
    with recorded(tmp_path, field_limit_bytes=4096) as recording:
        graphs.nested(lambda state: {"notes": [text]}).invoke({"notes": []}, graphs.on_thread())
        for name in ("sub", "outer"):
            reference = recording.attempt(name).details_end["output"]
            assert set(reference) - {"messages"} == {"$blob", "bytes", "preview"}
            assert reference["preview"] == json.dumps({"notes": [text]}, separators=(",", ":"))[:256]
            blob = recording.store.get_blob("t1", reference["$blob"])
            assert json.loads(blob) == {"notes": [text]}
            assert len(blob) == reference["bytes"]
        assert max(len(encode_line(event)) for event in recording.events) < 8192


def test_a_message_over_the_limit_is_a_blob(tmp_path: Path) -> None:
    """Messages over the limit are kept as a blob too, once."""
    text = "long " * 50_000
    with recorded(tmp_path, field_limit_bytes=4096) as recording:
        graphs.chat_node(ScriptedModel(script=["short"])).invoke(
            {"messages": [HumanMessage(text, id="h1")]}, graphs.on_thread()
        )
        reference = recording.attempt("scripted-1").details_start["messages"]
        (message,) = json.loads(recording.store.get_blob("t1", reference["$blob"]))
        assert message["content"] == text
        assert recording.attempt("scripted-1").details_end["output"]["content"] == "short"


def test_the_limit_does_not_touch_what_is_small(tmp_path: Path) -> None:
    """Of an event with a large and a small field only the large one becomes a blob."""
    with recorded(tmp_path, field_limit_bytes=4096) as recording:
        graphs.nested(lambda state: {"notes": ["small"]}).invoke(
            {"notes": ["x" * 10_000]}, graphs.on_thread(metadata={"customer": "c1"})
        )
        details = recording.attempt("outer").details_start
        assert set(details["input"]) == {"$blob", "bytes", "preview"}
        assert details["metadata"] == {"customer": "c1"}


def test_metadata_of_the_user(recording: Recording) -> None:
    """What a program gives as metadata is in the root's START; what LangGraph adds is not."""
    graphs.two_nodes().invoke({"notes": []}, graphs.on_thread(metadata={"customer": "c1", "tier": 2}))
    assert recording.attempt("two").details_start["metadata"] == {"customer": "c1", "tier": 2}


def test_redacted_with_content_on_spans(tmp_path: Path) -> None:
    """What is on spans does not bypass the redactor on its way into the journal."""

    def redact(field: str, value: Any) -> Any:
        return json.loads(json.dumps(value).replace("secret", "[hidden]"))

    with recorded(tmp_path, redactor=redact, span_content=True) as recording:
        ask()
        assert "secret" not in journaled(recording)


def test_on_spans_and_not_in_the_journal(tmp_path: Path) -> None:
    """The two switches are apart: content on spans does not bring any into a journal that wants none."""
    with recorded(tmp_path, content=False, span_content=True) as recording:
        ask()
        assert SECRET in on_spans(recording)
        assert "secret" not in journaled(recording)


def test_on_spans_and_in_the_journal(tmp_path: Path) -> None:
    """Content that is on spans too is still journaled once."""
    with recorded(tmp_path, span_content=True) as recording:
        ask()
        assert journaled(recording).count(ANSWER) == 1
