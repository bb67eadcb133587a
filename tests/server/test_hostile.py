"""What agents, users and other writers may put into a journal: anything. Answers stay whole, bounded, and text."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote

import msgspec
import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.server.bounded import MOST_TEXT, PIECE
from otel_agent_journal.store.memory import MemoryStore
from tests.projections import told
from tests.server.served import TOKEN, WAIT_S, Served, keep, served

IDS = (
    "a/b",
    "../../etc",
    "..",
    ".",
    "%2F",
    "a?b=c#d",
    "\u202egnp.exe",
    "<script>",
    "sp ace",
    "ü" * 300,
    "~",
    "a~2",
    "x\\y",
)
HTML = '</script><script>alert(1)</script><img src=x onerror="alert(1)">\u202e\u0000\x1b[31m'
LONG = 3 * 1024 * 1024


def of(event: JournalEvent, session_id: str) -> JournalEvent:
    return msgspec.structs.replace(event, session_id=session_id)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    store = MemoryStore()
    for session_id in IDS:
        keep(store, [of(told.start("root", 1), session_id), of(told.end("root", 1, 2), session_id)])
    keep(
        store,
        [
            of(told.start(HTML, 1, name=HTML * 100, details={"input": HTML, HTML: [HTML]}), "hostile"),
            of(told.end(HTML, 1, 9, "error", name=HTML * 100, details={"output": "x" * LONG}), "hostile"),
        ],
    )
    with served(store) as one:
        yield one


@pytest.mark.parametrize("session_id", IDS)
def test_an_id_may_be_anything(server: Served, session_id: str) -> None:
    """A session is found by its very id, percent-encoded, whatever that holds; no path leads out of it."""
    path = f"/api/sessions/{quote(session_id, safe='').replace('.', '%2E')}"
    assert server.json(path)["session_id"] == session_id
    assert server.json(f"{path}/tree")["session"]["session_id"] == session_id
    assert server.json(f"{path}/steps/1")["session_id"] == session_id


def test_every_id_is_in_the_list_and_pages_do_not_repeat(server: Served) -> None:
    """Pages of the list have each session once, in order, however it is called."""
    found: list[str] = []
    cursor = ""
    while True:
        page = server.json("/api/sessions", limit=3, cursor=cursor)
        found += [row["session_id"] for row in page["sessions"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(found) == sorted([*IDS, "hostile"])


def test_rows_are_short_whatever_the_events_say(server: Served) -> None:
    """A row holds the beginning of a long name, and of what went in and came out a few words."""
    answer = server.client.get("/api/sessions/hostile/tree")
    assert len(answer.content) < 10_000
    (row,) = answer.json()["rows"]
    assert row[0] == HTML.replace("~", "~~")
    assert len(row[5]) <= 500
    assert row[5].endswith("…")
    assert answer.headers["content-type"] == "application/json"


def test_what_is_long_is_cut_and_the_rest_is_had_in_pieces(server: Served) -> None:
    """Of a text of megabytes the step has the beginning, says so, and gives the rest piece by piece."""
    path = "/api/sessions/hostile/steps/1"
    step = server.json(path)
    assert step["output"] == "x" * MOST_TEXT
    cut = {one["pointer"]: one for one in step["cut"]}
    assert cut["/output"] == {"pointer": "/output", "length": LONG, "unit": "characters"}
    text = step["output"]
    while len(text) < LONG:
        piece = server.client.get(f"{path}/value", params={"pointer": "/output", "from": len(text)})
        assert len(piece.text) <= PIECE
        assert piece.headers["content-type"].startswith("text/plain")
        assert piece.headers["agent-journal-length"] == str(LONG)
        text += piece.text
    assert text == "x" * LONG
    assert server.client.get(f"{path}/value", params={"pointer": "/no/such"}).status_code == 404


def test_a_step_with_any_number_of_events_is_bounded() -> None:
    """A step with thousands of events answers with as many as an answer may have, and says how many there are."""
    store = MemoryStore()
    noted = [told.noted("PROGRESS", 10 + number, "root", 1) for number in range(5000)]
    keep(store, [told.start("root", 1), *noted])
    with served(store) as server:
        step = server.json(f"/api/sessions/{told.SESSION}/steps/1", prompt=0)
    assert len(step["attempts"][0]["events"]) == 2000
    assert {"pointer": "/attempts/0/events", "length": 5000, "unit": "items"} in step["cut"]


@pytest.mark.parametrize("step", ["0", "99999999999999999999", "-1", "no", "%00", "1" * 5000])
def test_a_step_that_is_not_there_is_a_problem(server: Served, step: str) -> None:
    """What names no step is answered by 404, in words."""
    answer = server.client.get(f"/api/sessions/hostile/steps/{step}")
    assert answer.status_code in (404, 431, 400)
    if answer.status_code == 404:
        assert answer.json()["status"] == 404


@pytest.mark.parametrize("after", ["x", "eyJ4IjoxfQ", "W10", "a.b", "~", "~~", ".", "é".encode().decode("latin-1")])
def test_a_cursor_that_is_none_of_ours_is_refused_or_means_to_fetch_anew(server: Served, after: str) -> None:
    """A cursor that somebody made up is refused, or answered by `resync`: nothing is ever left out silently."""
    answer = server.client.get("/api/sessions/hostile/events", params={"after": after})
    assert answer.status_code == 400
    with server.client.stream(
        "GET", "/api/stream", params={"session": "hostile", "list": "1", "after": after}
    ) as told_of:
        for line in told_of.iter_lines():
            if line.startswith("event:"):
                assert line == "event: resync" or after in ("~", "~~")
                break


def test_a_session_that_cannot_be_folded_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the events of one session cannot be read, that one answers with a problem, and all others go on."""

    class Torn(MemoryStore):
        def follow(self, cursor=None, *, session_id=None, limit=1000):
            if session_id == "torn":
                raise ValueError("a page that is torn")
            return super().follow(cursor, session_id=session_id, limit=limit)

    store = Torn()
    keep(store, [of(told.start("root", 1), "torn")])
    keep(store, [told.start("root", 1)])
    with served(store) as server:
        answer = server.client.get("/api/sessions/torn/tree")
        assert answer.status_code == 500
        assert "torn" in answer.json()["detail"]
        assert server.json(f"/api/sessions/{told.SESSION}/tree")["rows"]


def test_a_store_that_is_away_is_said_and_taken_up_again() -> None:
    """While the store cannot be reached, those who look are told that what they see may be old; then that it is not."""
    from otel_agent_journal.errors import StoreUnreachable

    away: list[bool] = []

    class Away(MemoryStore):
        def follow(self, cursor=None, *, session_id=None, limit=1000):
            if away:
                raise StoreUnreachable("the store is away; retry")
            return super().follow(cursor, session_id=session_id, limit=limit)

    store = Away()
    keep(store, [told.start("root", 1)])
    with served(store) as server, server.stream(f"/api/stream?session={told.SESSION}") as messages:
        assert next(messages)["event"] == "session"
        away.append(True)
        said = next(one for one in messages if one["event"] == "delayed")
        assert json.loads(said["data"]) == {"delayed_s": 0.0, "why": "the store is away; retry"}
        away.clear()
        said = next(one for one in messages if one["event"] == "delayed")
        assert json.loads(said["data"])["delayed_s"] is None
    assert WAIT_S


def test_headers_that_do_not_come_keep_no_connection() -> None:
    """A client that is slow with them is let go; one that reads a stream for longer than that is not."""
    store = MemoryStore()
    keep(store, [of(told.start("root", 1), "s")])
    with served(store, headers_s=0.5) as one, socket.create_connection(("127.0.0.1", one.port), WAIT_S) as slow:
        began = time.monotonic()
        asked = (
            f"GET /api/stream?session=s HTTP/1.1\r\nHost: 127.0.0.1:{one.port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", one.port), WAIT_S) as reading:
            reading.sendall(asked.encode())
            assert b"200 OK" in reading.recv(65536)
            slow.sendall(b"GET / HTTP/1.1\r\nHost: x")
            assert slow.recv(1) == b""
            assert time.monotonic() - began < WAIT_S
            reading.settimeout(1.5)
            with contextlib.suppress(TimeoutError):
                while True:
                    assert reading.recv(65536), "the stream was closed"
