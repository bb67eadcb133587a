"""A server that takes down what it is asked: for webhooks, and in the place of Lambda and Step Functions."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Asked:
    """A request that came in."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)

    @property
    def action(self) -> str:
        """What is asked of an AWS service that speaks JSON."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]


class Wire:
    """Listens on a port of its own; answers with these statuses in turn, the last again and again."""

    def __init__(self, statuses: Sequence[int] = (200,)) -> None:
        self.asked: list[Asked] = []
        self._statuses = list(statuses)
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                wire.asked.append(Asked(self.path, {name.lower(): text for name, text in self.headers.items()}, body))
                status = wire._statuses.pop(0) if len(wire._statuses) > 1 else wire._statuses[0]
                self.send_response(status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
