"""An AgentCore app served over real HTTP by uvicorn in a thread of this process, and a client for it."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from bedrock_agentcore.runtime import BedrockAgentCoreApp

SESSION_HEADER = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id"
REQUEST_HEADER = "X-Amzn-Bedrock-AgentCore-Runtime-Request-Id"
LIMIT_S = 20


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body as JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """Its server-sent events."""
        return [json.loads(part.removeprefix(b"data: ")) for part in self.body.split(b"\n\n") if part]


@dataclass(frozen=True)
class Served:
    """A running app."""

    app: BedrockAgentCoreApp
    port: int

    def begin(self, payload: Any, session: str | None = "s1", **headers: str) -> http.client.HTTPResponse:
        """Send a request and return its response with nothing of the body read. Close it when done."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        sent = {"Content-Type": "application/json", REQUEST_HEADER: "request-1", "Connection": "close", **headers}
        if session is not None:
            sent[SESSION_HEADER] = session
        connection.request("POST", "/invocations", json.dumps(payload), sent)
        return connection.getresponse()

    def call(self, payload: Any, session: str | None = "s1", **headers: str) -> Answer:
        """Send a request and read its response to the end."""
        response = self.begin(payload, session, **headers)
        with response:
            found = {name.lower(): value for name, value in response.getheaders() if name.lower() != "date"}
            return Answer(response.status, found, response.read())

    def ping(self) -> str:
        """Ask for the app's health, as the runtime does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        connection.request("GET", "/ping", headers={"Connection": "close"})
        with connection.getresponse() as response:
            return json.loads(response.read())["status"]


@contextmanager
def served(app: BedrockAgentCoreApp) -> Iterator[Served]:
    """Serve an app on a free port of the loopback; afterwards the server has ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Served(app, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(LIMIT_S)
        listener.close()
        _end_worker(app)
        assert not thread.is_alive()


def _end_worker(app: BedrockAgentCoreApp) -> None:
    """End the app's worker loop, which it never does itself, with all that runs there."""
    gc.collect()  # streams that were broken off are closed only now
    loop, thread = getattr(app, "_worker_loop", None), getattr(app, "_worker_thread", None)
    if loop is None or thread is None:
        return

    async def cancel_all() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(cancel_all(), loop).result(LIMIT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)
    loop.close()


def wait_until(holds: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Wait until something holds; fail where it does not in time."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)
