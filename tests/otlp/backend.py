"""A backend of OTLP over HTTP that answers as it is told."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Backend:
    """An HTTP server that answers as it is told and keeps what it was sent."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.status, self.body, self.headers = 200, b"", {"content-type": "application/x-protobuf"}
        self.refuses: bytes | None = None  # answers 400 to what holds this, whatever `status` is
        self.missing = 0  # bytes of the body that are announced and do not come
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sent = {name.lower(): value for name, value in self.headers.items()}
                backend.received.append((self.path, sent, body))
                refused = backend.refuses is not None and backend.refuses in body
                self.send_response(400 if refused else backend.status)
                for name, value in backend.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(backend.body) + backend.missing))
                self.end_headers()
                self.wfile.write(backend.body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://{host}:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
