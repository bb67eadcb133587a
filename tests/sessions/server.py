"""A server of the session API on a socket that it inherits: `python -m tests.sessions.server FD STORE`."""

from __future__ import annotations

import socket
import sys

import uvicorn

from otel_agent_journal import Sessions
from otel_agent_journal.sessions.asgi import SessionApp
from otel_agent_journal.sessions.http import SessionRoutes
from tests.sessions.conftest import AGENTS


def main() -> None:
    """Serve until killed."""
    with Sessions(sys.argv[2], AGENTS, max_runs=6) as sessions:
        app = SessionApp(SessionRoutes(sessions))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
