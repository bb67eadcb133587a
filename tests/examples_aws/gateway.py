"""Where moto's state machine finds AWS: DynamoDB is the real local server, Lambda is a process of ours.

moto interprets the workflow's definition and calls every service at one address of this machine. Here that address is
the gateway's. It passes DynamoDB's calls on to DynamoDB Local, which tells the truth about them, starts the agent for
Lambda's, and answers with an error where a test wants one.
"""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

FUNCTIONS: Final = "/2015-03-31/functions/"
TIMEOUT_S: Final = 30

Agent = Callable[[dict[str, Any]], None]


class Fault(NamedTuple):
    """An error that a service answers with."""

    code: str
    status: int = 400
    message: str = "The level of configured provisioned throughput for the table was exceeded"


class Gateway:
    """The address; a context manager. `calls` counts what was called, `faults` holds what the next calls end with."""

    def __init__(self, dynamodb: str) -> None:
        self.dynamodb = urlsplit(dynamodb).netloc
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, Any]] = []
        self.faults: dict[str, deque[Fault | None]] = {}
        self.agent: Agent = _never
        self.waits = False  # whether an invocation is answered when its agent is done
        self.agents: list[threading.Thread] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.gateway = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join_agents()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reset(self, agent: Agent, *, waits: bool) -> None:
        """Forget what was, and have another agent."""
        self.waits = waits
        self.join_agents()
        self.calls.clear()
        self.requests.clear()
        self.faults.clear()
        self.agent = agent

    def fail(self, call: str, *faults: Fault | None) -> None:
        """Answer the next calls of a name, as `PutItem` or `Invoke`, with these errors; None lets one pass."""
        self.faults[call] = deque(faults)

    def join_agents(self) -> None:
        """Wait until every agent that was started is done."""
        for agent in self.agents:
            agent.join(TIMEOUT_S)
        self.agents.clear()

    def answer(self, path: str, target: str | None, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Return what a request is answered with."""
        call = (target or "").partition(".")[2] or ("Invoke" if path.startswith(FUNCTIONS) else path)
        self.calls[call] += 1
        asked = json.loads(body or b"{}")
        self.requests.append((call, asked))
        waiting = self.faults.get(call)
        if waiting and (fault := waiting.popleft()) is not None:
            return fault.status, json.dumps({"__type": fault.code, "Type": "User", "message": fault.message}).encode()
        if call == "Invoke":
            self.agents.append(threading.Thread(target=self.agent, args=(asked,), daemon=True))
            self.agents[-1].start()
            if self.waits:
                self.join_agents()
            return 202, b""
        connection = http.client.HTTPConnection(self.dynamodb, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _never(payload: dict[str, Any]) -> None:
    """An agent that does nothing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        gateway: Gateway = self.server.gateway  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = gateway.answer(self.path, self.headers.get("X-Amz-Target"), dict(self.headers), body)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("x-amzn-RequestId", uuid.uuid4().hex)  # moto quotes it in an error's cause
        if status >= 400:
            self.send_header("x-amzn-ErrorType", json.loads(answer).get("__type", ""))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass
