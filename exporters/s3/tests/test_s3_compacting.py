"""`journal.jsonl`: what it holds, when it is rewritten, what it costs, and that nobody is disturbed by it."""

from __future__ import annotations

import os
import signal
import threading
import time
from itertools import count, pairwise
from multiprocessing.context import SpawnProcess
from typing import Any

import boto3
import msgspec
import pytest

from exporters.s3.tests.wire import Send, Wire, name_of
from otel_agent_journal.codec import encode_line
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything, ids
from otel_agent_journal_s3 import S3Store, compacting, open_store
from otel_agent_journal_s3.known import COVERS

FOREIGN = b"""{"timestamp": "2026-01-01T00:00:00.5Z", "session_id": "s1", "event_type": "TOOL_START", "tool_name": "go"}
not json

{"timestamp": "2026-01-01T01:00:01+01:00", "session_id": "s1", "event_type": "NOTE", "level": "INFO", "details": "x"}
"""


def journal_of(store: S3Store, session_id: str = "s1") -> tuple[bytes, int] | None:
    """The text of a session's journal and the first segment that is not in it."""
    found = store._bucket.get(store._layout.journal(session_id))
    return (found.data, int(found.metadata.get(COVERS, "-1"))) if found else None


def ended() -> SessionHead:
    """The head of a session that has ended."""
    return a_head(status="COMPLETED", open_writers=(), writers={})


def text_of(made: list[JournalEvent]) -> bytes:
    """The lines of events."""
    return b"".join(encode_line(event) + b"\n" for event in made)


def put_journal(store: S3Store, data: bytes) -> None:
    """Write a journal as another program does: without conditions and metadata."""
    name = store._layout.journal("s1")
    store._bucket.client.put_object(Bucket=store._place.bucket, Key=name, Body=data)


def test_journal_rewritten_while_a_session_is_looked_up(store: S3Store, url: str, wire: Wire) -> None:
    """Who reads a journal that is newer than its listing of the segments knows up to where it is."""
    other = open_store(url)
    other.append(events(2))
    other.compact("s1")

    def rewrite(request: Any, send: Send) -> Any:
        if request.method == "GET" and name_of(request).endswith("journal.jsonl"):
            wire.fault = None
            other.append(events(2, first=2))
            other.compact("s1")
        return send(request)

    wire.fault = rewrite
    arrived = store.append(events(2, first=4))["s1"]
    page = store.follow(arrived.after, session_id="s1")
    assert (ids(page.events), page.cursor) == (ids(events(2, first=4)), arrived.cursor)


def test_ending(store: S3Store) -> None:
    """At a session's end its journal is its events in order, readable without us."""
    made = events(30)
    for start in (10, 0, 20):
        store.append(made[start : start + 10])
    assert journal_of(store) is None
    store.write_head(ended())
    assert journal_of(store) == (text_of(made), 3)
    assert list(store.read("s1")) == made


def test_still_at_work(store: S3Store) -> None:
    """A session in progress, or with a step open somewhere, is not rewritten."""
    store.append(events(3))
    store.write_head(a_head(status="PROCESSING"))
    head = store.head("s1")
    assert head is not None
    store.write_head(msgspec.structs.replace(head, status="INTERRUPTED", open_writers=("w",)))
    assert journal_of(store) is None


def test_outgrown(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that goes on is rewritten when its tail outgrew the journal, and each time the journal doubles."""
    monkeypatch.setattr(compacting, "TAIL_SEGMENTS", 16)
    made = events(16 * 5)
    covers: list[int] = []
    for event in made:
        store.append([event])
        found = journal_of(store)
        if found and found[1] not in covers:
            covers.append(found[1])
    assert 2 <= len(covers) <= 4
    assert all(later >= 2 * earlier for earlier, later in pairwise(covers))
    assert list(store.read("s1")) == made
    assert len(everything(store)[0]) == len(made)


def test_many_endings(store: S3Store, wire: Wire) -> None:
    """A chat of a hundred turns, each an ending, costs no more than three times its events."""
    made, head = events(400, details={"text": "x" * 1_000}), ended()
    for start in range(0, 400, 4):
        store.append(made[start : start + 4])
        after = store.write_head(head)
        assert after is not None
        head = after
    written = sum(len(text_of([event])) for event in made)
    assert 5 <= sum(name.endswith("journal.jsonl") for name in wire.puts) <= 20
    assert wire.put_bytes < 3 * written
    assert list(store.read("s1")) == made


@pytest.mark.parametrize("size", [100, 1_000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_linear_bytes(store: S3Store, wire: Wire, size: int, record_property: Any) -> None:
    """Bytes written stay under three times the events', where download, append and upload is quadratic."""
    flush, made = 50, events(size, details={"output": "x" * 600})
    head = a_head(status="PROCESSING")
    for start in range(0, size, flush):
        store.append(made[start : start + flush])
        after = store.write_head(head)
        assert after is not None
        head = after
    store.write_head(msgspec.structs.replace(head, status="COMPLETED", open_writers=()))
    bytes_of_events = len(text_of(made))
    naive = sum(len(text_of(made[:end])) for end in range(flush, size + 1, flush))
    segments = [name for name in wire.puts if "/segments/" in name]
    assert len(segments) == size // flush
    assert wire.put_bytes < 3 * bytes_of_events
    assert size == 100 or naive > 3 * bytes_of_events
    assert journal_of(store) == (text_of(made), size // flush)
    record_property("bytes", (size, bytes_of_events, wire.put_bytes, naive, dict(wire.requests)))


def test_operator(store: S3Store, url: str) -> None:
    """An operator's compacting covers all there is, once, of one session or of every one."""
    for session_id in ("s1", "s2", "s3"):
        store.append(events(3, session_id=session_id))
    other = open_store(url)
    assert other.compact("s1") == 1
    assert other.compact() == 2
    assert other.compact() == 0
    store.append(events(4, session_id="s2"))
    assert other.compact() == 1
    assert journal_of(store, "s2") == (text_of(events(4, session_id="s2")), 2)
    other.close()


def test_two_at_once(store: S3Store, url: str) -> None:
    """Of two that rewrite one journal one wins, and the journal is whole."""
    store.append(events(50))
    clients = [open_store(url) for _ in range(4)]
    threads = [threading.Thread(target=client.compact, args=("s1",)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert journal_of(store) == (text_of(events(50)), 1)


def test_failure(store: S3Store, wire: Wire) -> None:
    """A rewriting that fails is no failure of the write that caused it, and is made up for."""

    def fault(request: Any, send: Send) -> Any:
        if name_of(request).endswith("journal.jsonl") and request.method == "PUT":
            raise ConnectionResetError
        return send(request)

    wire.fault = fault
    store.append(events(5))
    assert store.write_head(ended()) is not None
    assert journal_of(store) is None
    assert list(store.read("s1")) == events(5)
    wire.fault = None
    assert store.compact("s1") == 1
    assert list(store.read("s1")) == events(5)


def _compact_forever(url: str) -> None:
    signal.alarm(600)  # should nobody kill it
    store = open_store(url)
    while True:
        store.compact("s1")


def test_killed_half_way(store: S3Store, url: str) -> None:
    """Whoever is killed while rewriting, at any point, leaves a journal that is whole."""
    written: list[JournalEvent] = []
    numbers = count()
    process = SpawnProcess(target=_compact_forever, args=(url,))
    process.start()
    for delay in (1.5, 0.3, 0.41):
        until = time.monotonic() + delay
        while time.monotonic() < until:
            made = [an_event(next(numbers)) for _ in range(5)]
            store.append(made)
            written += made
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(30)
        assert list(store.read("s1")) == written
        if delay != 0.41:
            process = SpawnProcess(target=_compact_forever, args=(url,))
            process.start()
    assert list(store.read("s1")) == written
    store.compact("s1")
    assert list(store.read("s1")) == written
    assert ids(everything(store)[0]) == ids(written)


def test_readers_and_writers_meanwhile(store: S3Store, url: str) -> None:
    """While writers write and a journal is rewritten again and again, each read begins with what was read before."""
    over, failed = threading.Event(), list[str]()

    def write(number: int) -> None:
        client = open_store(url)
        for start in range(0, 60, 3):
            client.append(events(3, first=number * 10_000 + start))
        client.close()

    def compact() -> None:
        client = open_store(url)
        while not over.is_set():
            client.compact("s1")
        client.close()

    def read() -> None:
        client, before = open_store(url), list[str]()
        while not over.is_set():
            now = ids(client.read("s1"))
            known = set(before)
            if [one for one in now if one in known] != before or len(set(now)) != len(now):
                failed.append(f"{len(before)} events became {len(now)}")
            before = now
        client.close()

    others = [threading.Thread(target=work) for work in (compact, read)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in others + writers:
        thread.start()
    for thread in writers:
        thread.join(60)
    over.set()
    for thread in others:
        thread.join(60)
    assert not failed
    assert len(list(store.read("s1"))) == 180


def test_foreign_journal(store: S3Store) -> None:
    """A journal of another program is read, what is no event passed over, and its ids are the same each time."""
    put_journal(store, FOREIGN)
    read = list(store.read("s1"))
    assert [(event.type, event.name, event.timestamp_ns % 10**9) for event in read] == [
        ("TOOL_START", "go", 500_000_000),
        ("NOTE", None, 0),
    ]
    assert len({event.event_id for event in read}) == 2
    assert list(store.read("s1")) == read


def test_foreign_journal_and_ours(store: S3Store) -> None:
    """What is appended to a session of another program is read beside it, and compacted with it."""
    put_journal(store, FOREIGN)
    foreign = list(store.read("s1"))
    store.append([*events(3), foreign[0]])
    both = sorted([*foreign, *events(3)], key=lambda event: (event.timestamp_ns, event.event_id))
    assert list(store.read("s1")) == both
    assert ids(everything(store)[0]) == ids(events(3))
    assert store.compact("s1") == 1
    assert list(store.read("s1")) == both
    found = journal_of(store)
    assert found == (text_of(both), 1)
    put_journal(store, found[0] + FOREIGN)  # it uploads again what it had downloaded, and a line of its own
    assert list(store.read("s1")) == both
    store.append_context("i1", 0, context_events(2, text="later"))
    assert len(list(store.read("s1"))) == len(both) + 2


def test_plain_tools(store: S3Store) -> None:
    """The journal is an object that any client of S3 reads."""
    store.append(events(2))
    store.compact("s1")
    client = boto3.client("s3", endpoint_url=store._place.endpoint_url)
    body = client.get_object(Bucket=store._place.bucket, Key="team/a/journals/s1/journal.jsonl")["Body"].read()
    assert body == text_of(events(2))
