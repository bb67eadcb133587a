"""A real server over a journal, and clients of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.server.app import App
from otel_agent_journal.server.guard import Access
from otel_agent_journal.server.serving import Server, listening
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore

TOKEN = "a-token-of-these-tests"
WAIT_S = 20.0


class KeptOpen:
    """A store that several journals share: closed by its owner alone."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def close(self) -> None:
        """Leave it open."""


def opener(store: JournalStore, spool: Path, clock: Callable[[], int] = time.time_ns) -> Callable[[], Journal]:
    """What opens journals over a store."""

    def opened() -> Journal:
        journal = Journal(KeptOpen(store), spool)  # type: ignore[arg-type]
        journal.clock = clock
        return journal

    return opened


class Served:
    """A server that runs, and a client with its token."""

    def __init__(self, app: App, port: int, end: Callable[[], None]) -> None:
        self.app = app
        self.end = end
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(
            base_url=self.base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=WAIT_S, trust_env=False
        )

    def json(self, path: str, **params: Any) -> Any:
        """What a route says."""
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @contextlib.contextmanager
    def stream(self, path: str, **headers: str) -> Generator[Iterator[dict[str, str]]]:
        """The messages of a stream, as dicts of their fields."""
        headers = {"Accept": "text/event-stream", **headers}
        with self.client.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            yield messages(answer.iter_lines())


def messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events as dicts of their fields."""
    one: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in one:
                yield one
            one = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            one[name] = value


@contextlib.contextmanager
def served(
    store: JournalStore | None = None,
    *,
    spool: Path = Path("no-spool"),
    access: Access | None = None,
    clock: Callable[[], int] = time.time_ns,
    headers_s: float = 15,
    **options: Any,
) -> Generator[Served]:
    """Serve a store."""
    store = store or MemoryStore()
    sockets = listening("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    access = msgspec.structs.replace(access or Access(tokens=(TOKEN,)), port=port)
    app = App(opener(store, spool, clock), access, **options)
    app.start()
    server = Server(app, sockets, headers_s=headers_s)
    thread = threading.Thread(target=server.serve_all, daemon=True)
    thread.start()
    deadline = time.monotonic() + WAIT_S
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    one = Served(app, port, server.end)
    try:
        yield one
    finally:
        one.client.close()
        server.end()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def keep(store: JournalStore, events: Any) -> None:
    """Append events, and write the heads of their sessions."""
    events = list(events)
    store.append(events)
    for session_id in {event.session_id for event in events}:
        known = store.head(session_id)
        head = head_of(fold(store.read(session_id)), session_id, version=0 if known is None else known.version)
        store.write_head(head)
