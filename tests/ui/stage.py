"""A server of rows that a test makes up, for the viewer alone: the built page, and answers in the Structs of `wire`.

What only the real server can show (that it says what the journal holds) is tested with that; here are the states and
the loads that an agent would take minutes or hours to get into.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from otel_agent_journal.server.wire import Row, Rows, SessionRow, Text, Tree

STATIC = Path(__file__).resolve().parents[2] / "src" / "otel_agent_journal" / "server" / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'"
)


class Played:
    """A session on the stage."""

    def __init__(self, session: SessionRow, rows: list[Row], **tree: Any) -> None:
        self.session = session
        self.rows = {row.key: row for row in rows}
        self.tree = tree
        self.steps: dict[str, dict[str, Any]] = {}
        self.messages: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.listeners: list[queue.Queue[bytes | None]] = []
        self.sent = 0
        self.at = "1.0"
        self.lock = threading.Lock()

    def say(self, kind: str, message: Any) -> None:
        """Send a message to all who listen."""
        with self.lock:
            self.sent += 1
            data = f"id: 1.{self.sent}\nevent: {kind}\ndata: ".encode() + msgspec.json.encode(message) + b"\n\n"
            for listener in self.listeners:
                listener.put(data)

    def put(self, *rows: Row) -> None:
        """Have rows come or change."""
        with self.lock:
            self.rows.update({row.key: row for row in rows})
        self.say("rows", Rows(session_id=self.session.session_id, rows=rows))

    def stream(self, key: str, offset: int, text: str, attempt: int = 1) -> None:
        """Have a step stream text."""
        self.say("text", Text(session_id=self.session.session_id, key=key, attempt=attempt, offset=offset, text=text))

    def become(self, **changes: Any) -> None:
        """Have the session itself change."""
        self.session = msgspec.structs.replace(self.session, **changes)
        self.say("session", self.session)

    def cut(self) -> None:
        """Break all connections."""
        with self.lock:
            for listener in self.listeners:
                listener.put(None)


class Stage:
    """The sessions that are served, and where."""

    def __init__(self) -> None:
        self.sessions: dict[str, Played] = {}
        self.asked: list[str] = []
        self.url = ""

    def play(self, session: SessionRow, rows: list[Row], **tree: Any) -> Played:
        """Put a session on the stage."""
        played = Played(session, rows, **tree)
        self.sessions[session.session_id] = played
        return played


@contextmanager
def raised() -> Iterator[Stage]:
    """Serve a stage on a port that the system picks."""
    stage = Stage()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            stage.asked.append(self.path)
            answer(self, stage)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    stage.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stage
    finally:
        for played in stage.sessions.values():
            played.cut()
        server.shutdown()
        thread.join()
        server.server_close()


def answer(door: BaseHTTPRequestHandler, stage: Stage) -> None:
    """Answer one request as the server would."""
    parts = urlsplit(door.path)
    path = [unquote(part) for part in parts.path.split("/")[1:]]
    match path:
        case ["api", "stream"]:
            wanted = parts.query.removeprefix("session=").split("&")[0]
            follow(door, stage.sessions.get(unquote(wanted)))
        case ["api", "sessions"]:
            sessions = [played.session for played in stage.sessions.values()]
            send(door, {"sessions": sessions, "cursor": None, "counts": {}})
        case ["api", "sessions", name, *rest] if name in stage.sessions:
            of_session(door, stage.sessions[name], rest, parts.query)
        case ["api", *_]:
            detail = "agent-journal ls lists all sessions"
            send(door, {"title": "Not found", "status": 404, "detail": detail}, 404)
        case ["static", name] if (STATIC / name).is_file():
            body = (STATIC / name).read_bytes()
            write(door, 200, TYPES[Path(name).suffix], body)
        case _:
            write(door, 200, TYPES[".html"], (STATIC / "index.html").read_bytes().replace(b"%ROOT_PATH%", b""))


def of_session(door: BaseHTTPRequestHandler, played: Played, rest: list[str], query: str) -> None:
    """Answer what is asked of a session."""
    match rest:
        case ["tree"]:
            rows = tuple(sorted(played.rows.values(), key=lambda row: row.began_ms))
            send(door, Tree(session=played.session, rows=rows, at=played.at, **played.tree))
        case ["steps", step]:
            send(door, played.steps.get(step) or in_full(played, step))
        case ["messages"]:
            first = int(query.removeprefix("from=") or 0)
            send(door, {"messages": played.messages[first:], "next": None, "cut": []})
        case ["events"]:
            write(
                door, 200, "application/x-ndjson", b"".join(msgspec.json.encode(one) + b"\n" for one in played.events)
            )
        case _:
            send(door, {"agents": []})


def in_full(played: Played, step: str) -> dict[str, Any]:
    """Make a step's details of its row, where the test gave none."""
    row = next(one for one in played.rows.values() if one.step_id == step)
    return {
        "session_id": played.session.session_id,
        "step_id": step,
        "number": row.number,
        "kind": row.kind,
        "name": row.name,
        "status": row.status,
        "attempts": [],
        "error": None if row.error is None else dict(zip(("type", "message"), row.error.split(": ", 1), strict=False)),
        "above": [],
        "process": None,
        "input": row.given or None,
        "output": row.gave or None,
        "prompt": None,
        "effects": None,
        "trace_id": None,
        "span_id": None,
    }


def follow(door: BaseHTTPRequestHandler, played: Played | None) -> None:
    """Send what a session says until one of the two has enough."""
    if played is None:
        return send(door, {"title": "Not found", "status": 404, "detail": "no such session"}, 404)
    listener: queue.Queue[bytes | None] = queue.Queue()
    door.close_connection = True
    with played.lock:
        played.listeners.append(listener)
    try:
        door.send_response(200)
        door.send_header("Content-Type", "text/event-stream")
        door.send_header("Cache-Control", "no-store")
        door.send_header("Connection", "close")
        door.end_headers()
        door.wfile.write(b"retry: 100\n\n")
        if door.headers["Last-Event-ID"]:  # what was said in between is not kept here, as on a server long after
            door.wfile.write(b'event: resync\ndata: {"session_id": null}\n\n')
        door.wfile.flush()
        while (data := listener.get()) is not None:
            door.wfile.write(data)
            door.wfile.flush()
    except OSError:
        pass
    finally:
        with played.lock:
            played.listeners.remove(listener)


def send(door: BaseHTTPRequestHandler, body: Any, status: int = 200) -> None:
    """Send JSON."""
    write(door, status, "application/json", msgspec.json.encode(body))


def write(door: BaseHTTPRequestHandler, status: int, content_type: str, body: bytes) -> None:
    """Send an answer whole, under the policy that the real server sends."""
    door.send_response(status)
    door.send_header("Content-Type", content_type)
    door.send_header("Content-Length", str(len(body)))
    door.send_header("Content-Security-Policy", CSP)
    door.end_headers()
    door.wfile.write(body)


def pretty(value: Any) -> str:
    """A value as text, for messages of asserts."""
    return json.dumps(msgspec.to_builtins(value), indent=1)
