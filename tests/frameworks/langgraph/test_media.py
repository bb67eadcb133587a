"""Pictures, sounds and documents in requests and answers are kept once, as bytes with their type, and told exactly."""

from __future__ import annotations

import random
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from otel_agent_journal.codec import encode_line
from otel_agent_journal.frameworks.langgraph.rebuilding import message_of
from otel_agent_journal.store.memory import MemoryStore
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording, recording_at
from tests.frameworks.langgraph.test_answers import Saying
from tests.frameworks.langgraph.test_requests import Process, Witness, chat, check
from tests.frameworks.requests_told import answers_of

PICTURE = random.Random(1).randbytes(200_000)
TEXT = b64encode(PICTURE).decode()
BLOCKS: dict[str, Any] = {
    "image_url": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{TEXT}"}},
    "image": {"type": "image", "source_type": "base64", "mime_type": "image/png", "data": TEXT},
    "image v1": {"type": "image", "base64": TEXT, "mime_type": "image/png"},
    "audio": {"type": "audio", "base64": TEXT, "mime_type": "audio/wav"},
    "file": {"type": "file", "base64": TEXT, "mime_type": "application/pdf", "filename": "r.pdf"},
    "input_audio": {"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}},
    "openai file": {"type": "file", "file": {"filename": "r.pdf", "file_data": f"data:application/pdf;base64,{TEXT}"}},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TEXT}},
}


def kept_in(store: Any) -> dict[str, tuple[int, str]]:
    """Return what a store keeps apart: size and media type, by digest."""
    assert isinstance(store, MemoryStore)
    return {digest: (len(blob.data), blob.media_type) for (_, digest), blob in store._blobs.items()}


def size_of(recording: Recording) -> int:
    """Return the bytes of all that is in the store."""
    events = sum(len(encode_line(event)) for event in recording.events)
    return events + sum(size for size, _ in kept_in(recording.store).values())


@pytest.mark.parametrize("kind", BLOCKS)
def test_twenty_turns_with_one_picture(recording: Recording, kind: str) -> None:
    """Over twenty turns of a thread a picture is stored once, and each of them is told with it."""
    model = Witness(answer=lambda messages: f"answer {len(messages)}")
    agent = chat(lambda state: {"messages": [model.invoke(state["messages"])]}, InMemorySaver())
    look: Any = [{"type": "text", "text": "what is it?"}, BLOCKS[kind]]
    for turn in range(20):
        agent.invoke({"messages": [HumanMessage(look if turn % 10 == 0 else f"and {turn}?")]}, graphs.on_thread())
    for block in (one for call in model.seen for said in call["messages"] for one in said["content"]):
        if isinstance(block, dict) and str(block.get("id")).startswith("lc_"):
            del block["id"]  # LangChain draws one anew at each call
    check(recording, model)
    assert [size for size, _ in kept_in(recording.store).values()] == [len(PICTURE)]
    assert size_of(recording) < len(PICTURE) + 100_000
    assert not [event for event in recording.events if TEXT[:100] in str(event.details)]


def test_over_processes(tmp_path: Path) -> None:
    """The same where each turn is a process of its own that is handed the whole thread."""
    thread = Process(tmp_path, lambda messages: f"answer {len(messages)}")
    for turn in range(3):
        recording, model = thread.turn([BLOCKS["image_url"]] if turn == 0 else f"and {turn}?")  # type: ignore[arg-type]
        check(recording, model, of_process=slice(turn, None))
    assert list(kept_in(thread.store).values()) == [(len(PICTURE), "image/png")]


@pytest.mark.parametrize("field_limit_bytes", [64, 64 * 1024])
def test_answers(tmp_path: Path, field_limit_bytes: int) -> None:
    """An answer that is a picture or a sound comes back as it was, also where its field is itself kept apart."""
    said = [
        AIMessage([{"type": "media", "mime_type": "audio/wav", "data": PICTURE}, {"type": "text", "text": "so"}]),
        AIMessage("", additional_kwargs={"audio": {"id": "a", "data": TEXT, "transcript": "hello"}}),
        AIMessage([BLOCKS["image v1"]]),
    ]
    with recording_at(tmp_path, field_limit_bytes=field_limit_bytes) as recording:
        given = [Saying(candidates=[one]).invoke("q", graphs.on_thread()) for one in said]
        recording.check()
        told = [one for key, events in recording.sessions.items() for one in answers_of(recording.store, key, events)]
        assert sorted(map(repr, map(message_of, told))) == sorted(map(repr, given))
        assert (len(PICTURE), "audio/wav") in kept_in(recording.store).values() or len(recording.sessions) > 1


def test_redacted(tmp_path: Path) -> None:
    """What a redactor made of a message is searched as well: it sees texts, and may leave the picture out."""
    seen: list[str] = []

    def redact(field: str, value: Any) -> Any:
        seen.append(field)
        return value

    with recording_at(tmp_path, redactor=redact) as recording:
        Saying(candidates=[AIMessage("a cat")]).invoke([HumanMessage([BLOCKS["image_url"]])])
        (events,) = recording.sessions.values()
        assert "messages" in seen
        assert list(kept_in(recording.store).values()) == [(len(PICTURE), "image/png")]
        assert TEXT[:100] not in str(events)
