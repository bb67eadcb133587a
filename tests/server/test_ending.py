"""A server's end is the end of its streams, too: of those that have only just begun, and of those that are slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from otel_agent_journal.server.arrivals import arrivals
from otel_agent_journal.server.ears import Ear
from otel_agent_journal.server.feeds import Feed, Frame
from otel_agent_journal.server.hub import Hub
from otel_agent_journal.server.live_list import Wanted
from otel_agent_journal.store.memory import MemoryStore
from tests.projections import told
from tests.server.served import TOKEN, WAIT_S, opener, served
from tests.server.test_streams import a_run, keep

EVENTS = f"/api/sessions/{told.SESSION}/events"

PAGE = 2


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A hub over one session."""
    store = MemoryStore()
    keep(store, a_run(3))
    hub = Hub(opener(store, tmp_path))
    hub.start()
    return hub


def attach_to_room(hub: Hub) -> Callable[[Feed], None]:
    """To a session that is looked at."""
    room = hub.room(told.SESSION)
    return lambda feed: room.attach(feed, None)


def attach_to_ear(hub: Hub) -> Callable[[Feed], None]:
    """To raw events."""
    return hub.ear(told.SESSION).readers.attach


def attach_to_list(hub: Hub) -> Callable[[Feed], None]:
    """To the list."""
    listed = hub.listed
    return lambda feed: listed.attach(feed, Wanted(), None)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", [attach_to_room, attach_to_ear, attach_to_list])
def test_who_comes_as_it_ends_is_let_go(hub: Hub, kind: Callable[[Hub], Callable[[Feed], None]], *, late: bool) -> None:
    """A reader ends with the hub, whether it was attached before or, having asked before, is attached after."""
    attach = kind(hub)

    async def read() -> None:
        feed = Feed(Frame("resync", b"{}"))
        if late:
            hub.close()
        attach(feed)
        if not late:
            hub.close()
        async with asyncio.timeout(WAIT_S):
            async for _ in feed.frames():
                pass

    asyncio.run(read())


@pytest.mark.parametrize("kind", [attach_to_room, attach_to_ear])
def test_who_comes_to_what_was_let_go_of_comes_again(
    hub: Hub, kind: Callable[[Hub], Callable[[Feed], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session may be forgotten between being asked for and read; its reader is not left with what nobody follows."""
    attach = kind(hub)
    for bound in ("KEPT_S", "ADOPT_S"):
        monkeypatch.setattr(f"otel_agent_journal.server.hub.{bound}", -1.0)

    async def read() -> None:
        feed = Feed(Frame("resync", b"{}"))
        hub._let_go(0.0)
        hub._let_go(float("inf"))
        attach(feed)
        async with asyncio.timeout(WAIT_S):
            async for _ in feed.frames():
                pass

    try:
        asyncio.run(read())
    finally:
        hub.close()


def test_who_waits_for_arrivals_as_it_ends_is_let_go(hub: Hub) -> None:
    """Whoever reads for himself looks once more, and is done."""
    ear: Ear = hub.ear(told.SESSION)
    hub.close()

    async def looks() -> int:
        async with asyncio.timeout(WAIT_S):
            return len([found async for found in arrivals(ear)])

    assert asyncio.run(looks()) == 1


class Slow(MemoryStore):
    """Gives a reader of raw events the second page once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.let = threading.Event()

    def follow(self, cursor: str | None = None, **options: Any) -> Any:
        """Wait, where a second page of raw events is asked for."""
        if cursor is not None and options.get("limit") == PAGE:
            self.asked.set()
            self.let.wait(WAIT_S)
        return super().follow(cursor, **options)


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_a_slow_answer_is_cut_off_so_that_one_can_tell(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream ends, for its reader comes again; lines that are not all there are seen to be cut off."""
    monkeypatch.setattr("otel_agent_journal.server.streams.PAGE", PAGE)
    monkeypatch.setattr("otel_agent_journal.server.serving.GRACE_S", 1)
    store = Slow()
    keep(store, a_run(3))
    ends: list[str] = []
    with served(store) as server:
        server.app.hub.ear(told.SESSION)

        def read() -> None:
            headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
            client = httpx.Client(base_url=server.base, headers=headers, timeout=WAIT_S, trust_env=False)
            try:
                with client, client.stream("GET", EVENTS) as answer:
                    list(answer.iter_lines())
                    ends.append(f"whole, {answer.status_code}")
            except httpx.RemoteProtocolError:
                ends.append("cut off")

        reader = threading.Thread(target=read)
        reader.start()
        assert store.asked.wait(WAIT_S)
        ender = threading.Timer(1.5, store.let.set)
        ender.start()
        server.end()
        reader.join(WAIT_S)
    assert ends == ["whole, 200" if accept == "text/event-stream" else "cut off"]
