"""Writers of one transcript at a time, each with a store of its own: what must hold whichever of them is first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any

from otel_agent_journal.context.transcript import Transcript
from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.protocol import JournalStore

_TRIES = 100


def writers_lose_nothing(opened: Callable[[], JournalStore], writers: int, each: int) -> None:
    """Every question is there once, with its answer behind it, those of a writer in its order."""

    all_are_there = Barrier(writers)

    def write(writer: int) -> None:
        with closing(opened()) as store:
            transcript = Transcript(store, "shared", "s1", {"name": "a"})
            insist(transcript.load)
            all_are_there.wait(60)  # so that each list is its writer's alone
            live: list[Any] = []
            for number in range(each):
                for role in ("user", "assistant"):
                    live.append({"role": role, "content": [{"text": f"{writer} {number}"}]})
                    insist(lambda: transcript.follow(live))
                if number % 3 == 2:
                    del live[:2]
                    insist(lambda: transcript.follow(live, look="all"))

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))


def check_race(store: JournalStore, writers: int, each: int) -> None:
    """Look at what was written: nothing is lost but what its own writer has trimmed."""
    transcript = Transcript(store, "shared", "s1", {})
    transcript.load()
    found = transcript.messages
    assert [one["role"] for one in found] == ["user", "assistant"] * (len(found) // 2)
    texts = [one["content"][0]["text"] for one in found]
    assert texts[::2] == texts[1::2], "an answer is not behind its question"
    for writer in range(writers):
        kept = [f"{writer} {number}" for number in range(each // 3, each)]
        assert [text for text in texts[::2] if text.startswith(f"{writer} ")] == kept
    events = list(store.read_context("shared"))
    assert [event.seq for event in events] == list(range(len(events)))
    assert sum(event.type == "ASSISTANT_MESSAGE" for event in events) == writers * each


def insist(call: Callable[[], Any]) -> None:
    """Call again until the store takes it."""
    for _ in range(_TRIES):
        try:
            call()
        except StoreError:
            continue
        return
    raise AssertionError(f"refused {_TRIES} times")
