"""Steps in forked children: what they inherit has been counted by another, and is no identity of theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import decode_fact, events_of
from otel_agent_journal.pipeline.recorder import Recorder
from tests.pipeline.conftest import Written

WORKERS = 3


def forked(written: Written, tmp_path: Path, work: Callable[[int], Any]) -> list[list[JournalEvent]]:
    """Do something in each of some children beside each other; return what each wrote."""
    children: list[int] = []
    for number in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            written.payloads.clear()
            try:
                work(number)
                (tmp_path / str(number)).write_bytes(
                    b"".join(len(one).to_bytes(4, "big") + one for one in written.payloads)
                )
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return [events_in((tmp_path / str(number)).read_bytes()) for number in range(WORKERS)]


def events_in(data: bytes) -> list[JournalEvent]:
    """Return the events of what a child has written."""
    found: list[JournalEvent] = []
    while data:
        length = int.from_bytes(data[:4], "big")
        found += events_of(decode_fact(data[4 : 4 + length]), "w" * 32)
        data = data[4 + length :]
    return found


def identities(events: list[JournalEvent]) -> set[tuple[str | None, int | None]]:
    """Return the attempts that events are of."""
    return {(event.step_id, event.attempt) for event in events if event.type == "TOOL_START"}


def test_parallel_calls_are_distinct(recorder: Recorder, written: Written, tmp_path: Path) -> None:
    """Calls of one tool in forked workers, and before and after in their parent, are that many steps, once each."""
    root = recorder.start_step("AGENT", "a")

    def call(_: int = 0) -> None:
        for _ in range(2):
            recorder.start_step("TOOL", "fetch", parent=root).end()

    call()
    children = forked(written, tmp_path, call)
    call()
    found = [identities(events) for events in (written.events, *children)]
    assert [len(one) for one in found] == [4, 2, 2, 2]
    assert len(set().union(*found)) == 10
    assert {attempt for _, attempt in set().union(*found)} == {1}


def test_children_of_children(recorder: Recorder, written: Written, tmp_path: Path) -> None:
    """So are those of a worker's own worker, which inherits twice; below a step that began there ids are as ever."""
    root = recorder.start_step("AGENT", "a")

    def call(number: int) -> None:
        recorder.start_step("TOOL", "fetch", parent=root).end()
        inner = forked(
            written, tmp_path / str(number + 10), lambda _: recorder.start_step("TOOL", "fetch", parent=root).end()
        )
        assert len({step for events in inner for step, _ in identities(events)}) == WORKERS
        node = recorder.start_step("NODE", "n", parent=root, step_id="n" * 32)
        recorder.start_step("TOOL", "fetch", parent=node).end()

    for number in range(WORKERS):
        (tmp_path / str(number + 10)).mkdir()
    children = forked(written, tmp_path, call)
    for events in children:
        assert len(identities(events)) == 2
    below = {event.step_id for events in children for event in events if event.parent_step_id == "n" * 32}
    assert len(below) == 1  # as in any other process: the same step again


def test_attempts_are_not_inherited(recorder: Recorder, written: Written, tmp_path: Path) -> None:
    """A step whose id is known counts from 1 in a child, as in any other process."""
    again: dict[str, Any] = {"step_id": "s" * 32}
    root = recorder.start_step("AGENT", "a")
    recorder.start_step("TOOL", "t", parent=root, **again).end()
    children = forked(written, tmp_path, lambda _: recorder.start_step("TOOL", "t", parent=root, **again).end())
    assert [identities(events) for events in children] == [{("s" * 32, 1)}] * WORKERS


@pytest.mark.parametrize("kind", ["PROGRESS", "CHUNK"])
def test_what_is_said_within_an_inherited_step(recorder: Recorder, written: Written, tmp_path: Path, kind: str) -> None:
    """Events of one step by several processes are all there, and text that was gathered is told once."""
    root = recorder.start_step("AGENT", "a")
    root.note("PROGRESS", {"message": "parent"})
    root.chunk("early ")
    root.chunk("parent ")  # waits for its quarter of a second

    def say(number: int) -> None:
        if kind == "CHUNK":
            root.chunk(f"child {number}")
            root.flush_chunks()
        else:
            root.note(kind, {"message": f"child {number}"})

    children = forked(written, tmp_path, say)
    root.flush_chunks()
    everything = [
        event for events in (written.events, *children) for event in events if event.type in ("PROGRESS", "CHUNK")
    ]
    assert len({event.event_id for event in everything}) == len(everything) == 3 + WORKERS
    assert sum("parent " in str(event.details.get("text")) for event in everything) == 1
