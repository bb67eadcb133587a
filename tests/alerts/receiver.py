"""A receiver of webhooks on loopback, that answers as a test says, and remembers what it was sent."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Got(NamedTuple):
    """A request, and when it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LocalReceiver:
    """Serves on a port of its own until it is closed. `status` and `headers` are of its next answers."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hold = threading.Event()
        self.hold.set()
        self._came = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._came:
                    receiver.got.append(Got(self.path, headers, body, time.monotonic()))
                    receiver._came.notify_all()
                receiver.hold.wait(20)
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def wait(self, count: int, timeout_s: float = 20) -> list[Got]:
        """Return what it was sent, once that is so many; else fail."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.got) >= count, timeout_s), f"{len(self.got)} came, not {count}"
            return list(self.got)

    def close(self) -> None:
        """Serve no more."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
