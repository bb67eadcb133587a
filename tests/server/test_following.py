"""A run followed for clients of other servers: what it streams, also where some of it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otel_agent_journal.server.a2a.words import Words
from otel_agent_journal.server.journals import Journals
from otel_agent_journal.server.langgraph.following import RunFollowed
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import JournalBuilder
from tests.server.served import opener


def followed(*events: tuple[str, Mapping[str, Any]], run: str, chunks: bool = False) -> RunFollowed:
    """Return a run of a session of these events, in this order."""
    store, builder = MemoryStore(), JournalBuilder("s1")
    for event_type, details in events:
        builder.record(event_type, details=details)
    store.append(builder.events)
    return RunFollowed(Journals(opener(store, Path("no-spool"))), "s1", run, chunks=chunks)


def part(number: int, mode: str, data: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    """Return a part of run r1."""
    return "STREAM_PART", {"run": "r1", "n": number, "mode": mode, "data": data, **more}


def test_a_part_that_is_missing_is_an_error_and_the_stream_goes_on() -> None:
    """Of values that are told by changes none is told that may be wrong; other modes, and the end, come as they are."""
    run = followed(
        ("SESSION_INITIATED", {"run": "r1", "agent": "a"}),
        part(1, "values", {"names": ["a"], "set": {"a": 1}}),
        part(2, "values", {"names": ["a"]}, **{"$cut": ["data"]}),
        part(3, "values", {"names": ["a", "b"], "set": {"b": 3}}),
        part(4, "custom", {"$blob": "0" * 32, "bytes": 1 << 30, "lost": "over 64 MB"}),
        part(5, "custom", "here"),
        part(6, "end", {"next": []}),
        ("AGENT_INVOCATION_SUCCEEDED", {"run": "r1", "output": {"a": 1, "b": 3}}),
        run="r1",
    )
    found = run.read()
    assert [(one.number, one.mode) for one in found] == [
        (1, "values"), (2, "error"), (3, "error"), (4, "error"), (5, "custom"),
    ]  # fmt: skip
    assert found[1].data["error"] == "TooLarge"
    assert run.is_done
    assert run.ended is not None
    assert run.ended.output == {"a": 1, "b": 3}


def test_chunks_are_of_the_run_that_is_followed() -> None:
    """What a run before it in its session streams is not its own; a graph's chunks are among its parts already."""
    two = (
        ("SESSION_INITIATED", {"run": "r1", "agent": "a"}),
        ("SESSION_INITIATED", {"run": "r2", "agent": "a"}),
        ("AGENT_INVOCATION_STARTED", {}),
        ("CHUNK", {"text": "one"}),
        ("AGENT_INVOCATION_SUCCEEDED", {"run": "r1"}),
        ("AGENT_INVOCATION_STARTED", {}),
        ("CHUNK", {"text": "two, "}),
        ("CHUNK", {"text": "three"}),
        ("AGENT_INVOCATION_SUCCEEDED", {"run": "r2"}),
    )
    words = Words()
    words.take(followed(*two, run="r2", chunks=True).read())
    assert words.text == "two, three"
    assert followed(*two, run="r2").read() == []
    graph = (*two[:2], two[2], part(1, "custom", 1), ("CHUNK", {"text": "told twice"}))
    assert [one.mode for one in followed(*graph, run="r1", chunks=True).read()] == ["custom"]
