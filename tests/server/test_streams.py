"""Streams: nothing is lost, nothing comes twice, and who looks costs the store nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.server import feeds
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore, Page
from otel_agent_journal.store.sqlite import SqliteStore
from tests.projections import told
from tests.server.served import WAIT_S, Served, keep, served

CUTS = 100


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def a_run(count: int, first: int = 1) -> list[JournalEvent]:
    """A root with steps below it, each begun and ended."""
    events = [told.start("root", first)]
    for number in range(count):
        at = first + 10 * number + 1
        events.append(told.start(f"step{number}", at, under="root", kind="TOOL"))
        events.append(told.end(f"step{number}", at, at + 5, under="root", kind="TOOL"))
    return events


def stored(kind: str, tmp_path: Path) -> JournalStore:
    return MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "journal.db")


class Writing:
    """Appends events one by one while a test reads."""

    def __init__(self, store: JournalStore, events: list[JournalEvent], pause_s: float = 0.002) -> None:
        self._thread = threading.Thread(target=self._write, args=(store, events, pause_s), daemon=True)
        self._thread.start()

    def _write(self, store: JournalStore, events: list[JournalEvent], pause_s: float) -> None:
        for event in events:
            store.append([event])
            time.sleep(pause_s)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()


class Mirror:
    """A viewer's rows: bootstrapped, and merged by key and revision."""

    def __init__(self, server: Served, session_id: str) -> None:
        self._server, self._path = server, f"/api/sessions/{session_id}/tree"
        self.session_id = session_id
        self.rows: dict[str, list[Any]] = {}
        self.at = ""
        self.fetch()

    def fetch(self) -> None:
        tree = self._server.json(self._path)
        self.rows = {row[0]: row for row in tree["rows"]}
        self.at = tree["at"]

    def take(self, message: dict[str, str]) -> None:
        self.at = message.get("id", self.at)
        if message.get("event") == "resync":
            self.fetch()
        elif message.get("event") == "rows":
            told_of = json.loads(message["data"])
            for key in told_of["gone"]:
                self.rows.pop(key, None)
            for row in told_of["rows"]:
                known = self.rows.get(row[0])
                assert known is None or row[-1] >= known[-1], "a row came back as it had been before"
                self.rows[row[0]] = row


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_raw_events_survive_a_connection_cut_a_hundred_times(kind: str, tmp_path: Path) -> None:
    """Each event comes once and in order, though the connection is cut at random and taken up by Last-Event-ID."""
    store, chance = stored(kind, tmp_path), random.Random(7)
    events = a_run(200)
    keep(store, events[:1])
    had: list[str] = []
    last: dict[str, str] = {}
    with served(store) as server:
        Writing(store, events[1:])
        cuts = 0
        while len(had) < len(events):
            with server.stream(f"/api/sessions/{told.SESSION}/events", **last) as messages:
                for left in range(chance.randint(0, 4), -1, -1):
                    message = next(messages)
                    had.append(json.loads(message["data"])["event_id"])
                    last = {"Last-Event-ID": message["id"]}
                    if not left or len(had) == len(events):
                        break
            cuts += 1
    assert cuts >= CUTS
    assert had == [event.event_id for event in events]


def test_rows_survive_a_connection_cut_a_hundred_times() -> None:
    """Rows that are merged over a connection cut at random are those of the tree in the end; none ever goes back."""
    store, chance = MemoryStore(), random.Random(11)
    events = a_run(200)
    keep(store, events[:1])
    with served(store) as server:
        mirror = Mirror(server, told.SESSION)
        writing = Writing(store, events[1:])
        for _ in range(CUTS):
            with server.stream(f"/api/stream?session={told.SESSION}", **{"Last-Event-ID": mirror.at}) as messages:
                for _ in range(chance.randint(1, 3)):
                    mirror.take(next(messages))
                    if writing.done:
                        break
        until(lambda: writing.done, "all was written")

        def whole() -> bool:
            with server.stream(f"/api/stream?session={told.SESSION}&after={mirror.at}") as messages:
                mirror.take(next(messages))
            return len(mirror.rows) == 201

        until(whole, "all rows came")
        expected = {row[0]: row for row in server.json(f"/api/sessions/{told.SESSION}/tree")["rows"]}
    assert mirror.rows == expected


def test_another_epoch_is_told_to_fetch_anew() -> None:
    """A reader that comes with what another server, or an earlier fold, gave it is told to fetch the tree anew."""
    store = MemoryStore()
    keep(store, a_run(3))
    with served(store) as server, server.stream(f"/api/stream?session={told.SESSION}&after=another.7") as messages:
        message = next(messages)
        assert message["event"] == "resync"
        assert json.loads(message["data"]) == {"session_id": told.SESSION}


def test_what_a_step_streams_comes_in_pieces_that_follow_each_other() -> None:
    """Text comes with its offset in UTF-16 units, and the row shows its end."""
    store = MemoryStore()
    begun = [told.start("root", 1), told.start("call", 2, under="root", kind="MODEL")]
    keep(store, begun)
    pieces = ["Hel", "lo \U0001f600 ", "wor", "ld"]
    with served(store) as server:
        mirror = Mirror(server, told.SESSION)
        text = ""
        with server.stream(f"/api/stream?session={told.SESSION}&after={mirror.at}") as messages:
            for number, piece in enumerate(pieces):
                chunk = told.noted("CHUNK", 10 + number, "call", 2)
                store.append([_with_text(chunk, piece)])
            while text != "".join(pieces):
                message = next(messages)
                mirror.take(message)
                if message["event"] == "text":
                    said = json.loads(message["data"])
                    assert said["offset"] == len(text.encode("utf-16-le")) // 2
                    assert (said["key"], said["attempt"]) == ("call", 1)
                    text += said["text"]
        assert mirror.rows["call"][-3] == "Hello \U0001f600 world"


def _with_text(event: JournalEvent, text: str) -> JournalEvent:
    return msgspec.structs.replace(event, details={"text": text})


class Counted(MemoryStore):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.follows = 0
        self.reads = 0

    def follow(self, *args: Any, **options: Any) -> Any:
        self.follows += 1
        return super().follow(*args, **options)

    def read(self, *args: Any, **options: Any) -> Any:
        self.reads += 1
        return super().read(*args, **options)


def test_fifty_viewers_cost_the_store_what_one_costs() -> None:
    """The store is followed by one thread: fifty that look at a session ask it no more often than one."""
    asked: dict[int, tuple[int, int]] = {}
    for viewers in (1, 50):
        store = Counted()
        events = a_run(60)
        keep(store, events[:1])
        with served(store) as server:
            room = server.app.hub.room(told.SESSION)
            held = [_listener(server) for _ in range(viewers)]
            until(lambda room=room, held=held: len(room.readers) == len(held), "all look")
            store.follows = store.reads = 0
            began = time.monotonic()
            for event in events[1:]:
                store.append([event])
                time.sleep(0.01)
            until(lambda held=held: all(one() >= 60 for one in held), "all have all rows")
            asked[viewers] = (round(store.follows / (time.monotonic() - began)), store.reads)
    assert asked[50][0] <= asked[1][0] * 1.3 + 10
    assert asked[50][1] <= asked[1][1] + 2


def _listener(server: Served) -> Callable[[], int]:
    """A viewer in a thread; returns what says how many rows it has."""
    keys: set[str] = set()

    def listen() -> None:
        with contextlib.suppress(httpx.HTTPError), server.stream(f"/api/stream?session={told.SESSION}") as messages:
            for message in messages:
                if message["event"] == "rows":
                    keys.update(row[0] for row in json.loads(message["data"])["rows"])

    threading.Thread(target=listen, daemon=True).start()
    return lambda: len(keys - {"root"})


def test_a_reader_that_is_too_slow_is_told_to_fetch_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a slow reader is bounded: beyond that it is thrown away, and the reader told so."""
    monkeypatch.setattr(feeds, "MOST_FRAMES", 5)

    async def read() -> list[str]:
        feed = feeds.Feed(feeds.Frame("resync", b"{}"))
        feed.put([feeds.Frame("rows", b"{}")] * 3)
        feed.put([feeds.Frame("rows", b"{}")] * 3)
        feed.put([feeds.Frame("rows", b"{}")])
        feed.close()
        return [frame.event async for frame in feed.frames() if frame is not None]

    assert asyncio.run(read()) == ["resync", "rows"]


def test_a_session_whose_writer_goes_silent_turns_interrupted_without_an_event() -> None:
    """A row that runs turns interrupted, lost, once its writer was silent for a minute: by time, not by an event."""
    store = MemoryStore()
    keep(store, [told.start("root", time.time_ns())])
    passed_ns = [0]
    with served(store, clock=lambda: time.time_ns() + passed_ns[0]) as server:
        mirror = Mirror(server, told.SESSION)
        assert mirror.rows["root"][6] == "running"
        with server.stream(f"/api/stream?session={told.SESSION}&after={mirror.at}") as messages:
            passed_ns[0] = 61_000_000_000
            for message in messages:
                mirror.take(message)
                if mirror.rows["root"][6] != "running":
                    break
        assert mirror.rows["root"][6:8] == ["interrupted", "lost"]


def test_the_list_tells_of_sessions_that_begin_and_end() -> None:
    """Who looks at the list is told of a session that begins, what runs in it, and that it ended."""
    store = MemoryStore()
    now = time.time_ns()
    with served(store) as server, server.stream("/api/stream?list=1") as messages:
        begun = [told.start("root", now, name="researcher"), told.start("call", now + 1, under="root", kind="MODEL")]
        keep(store, begun)
        row = json.loads(next(messages)["data"])
        assert (row["session_id"], row["status"], row["doing"]) == (
            told.SESSION,
            "PROCESSING",
            "researcher is thinking…",
        )
        ended = [
            told.end("call", now + 1, now + 5, under="root", kind="MODEL"),
            told.end("root", now, now + 9, name="researcher"),
        ]
        keep(store, ended)
        while row["status"] != "COMPLETED":
            row = json.loads(next(messages)["data"])
        assert row["doing"] is None


def test_the_latest_page_waits_for_the_first_session_and_leads_there() -> None:
    """Of `run --ui`: until a session begins the page looks again each second; then it leads to that session."""
    store = MemoryStore()
    keep(store, [told.start("root", 1)])  # of before
    with served(store) as server:
        answer = server.client.get("/latest")
        assert (answer.status_code, answer.headers["refresh"]) == (200, "1")
        begun = msgspec.structs.replace(told.start("root", time.time_ns()), session_id="a/b")
        keep(store, [begun])
        answer = server.client.get("/latest")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sessions/a%2Fb")


def test_to_ask_a_stream_for_its_head_ends() -> None:
    """HEAD of a stream is answered at once, without a body."""
    store = MemoryStore()
    keep(store, [told.start("root", 1)])
    with served(store) as server:
        answer = server.client.head(f"/api/stream?session={told.SESSION}")
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_a_trace_that_is_part_of_a_session_leads_to_it() -> None:
    """Whoever asks for the trace is shown the session, with the steps of both."""
    store = MemoryStore()
    link = told.said("SESSION_LINKED", 3, session=told.SESSION, trace="trace")
    parts = [told.start("there", 4), told.end("there", 4, 5)]
    keep(store, [told.start("root", 1), link])
    keep(store, [msgspec.structs.replace(event, session_id="trace") for event in (link, *parts)])
    with served(store) as server:
        trees = [server.json(f"/api/sessions/{name}/tree") for name in (told.SESSION, "trace")]
    assert [tree["session"]["session_id"] for tree in trees] == [told.SESSION] * 2
    assert [[row[0] for row in tree["rows"]] for tree in trees] == [["root", "there"]] * 2


class Stalled(MemoryStore):
    """A store that answers no question about one session until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Wait, where it is of the session."""
        if session_id == told.SESSION:
            self.asked.set()
            self.let_go.wait(WAIT_S)
        return super().follow(cursor, session_id=session_id, limit=limit)


@pytest.mark.parametrize("path", [f"/api/stream?session={told.SESSION}", f"/api/sessions/{told.SESSION}/events"])
def test_who_waits_for_a_server_that_ends_is_told(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A request that the store holds up does not hold up the end; it is answered 503, and the log is quiet."""
    store = Stalled()
    keep(store, [told.start("root", 1)])
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(1) as pool, served(store) as server:

        def ask() -> None:
            answers.append(httpx.get(server.base + path, headers=server.client.headers, timeout=WAIT_S))

        asking = pool.submit(ask)
        assert store.asked.wait(WAIT_S)
        began_s = time.monotonic()
        server.end()
        asking.result(WAIT_S)
        took_s = time.monotonic() - began_s
        store.let_go.set()
    assert [answer.status_code for answer in answers] == [503]
    assert took_s < 15
    assert not [record for record in caplog.records if "Exception" in record.getMessage()]
