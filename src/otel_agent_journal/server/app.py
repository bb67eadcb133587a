"""The app: the table of routes behind the guard, the viewer's files, and errors as problems. ASGI, on Starlette.

Requests are answered in threads, each with a journal of its own; streams in the loop, fed by the hub's one thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import anyio
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from otel_agent_journal.errors import JournalError
from otel_agent_journal.event import EMPTY
from otel_agent_journal.server.files import Files
from otel_agent_journal.server.guard import Access, Guard, is_api, said_of
from otel_agent_journal.server.hub import Hub
from otel_agent_journal.server.journals import AT_ONCE, Journals
from otel_agent_journal.server.problems import Refused, refused_by, response_of
from otel_agent_journal.server.routes import JSON, Call, Contexts, Found, Route, Routes
from otel_agent_journal.server.sse import EVENTS
from otel_agent_journal.server.table import LANGGRAPH, ROUTES, RUNNING
from otel_agent_journal.sessions.runs import Refused as Unfit
from otel_agent_journal.store.protocol import SessionFilter

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from otel_agent_journal.reading.journal import Journal

_log = logging.getLogger("otel_agent_journal.server")
_WAITS: Final = (
    '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>agent-journal</title>'
    "<p>Waiting for the program's first session…</p>"
)
_ENDING: Final = response_of(Refused(503, "this server is ending; ask again once it is back"))
_OURS: Final = frozenset(("/healthz", "/ping", "/openapi.json"))


class App:
    """The server as an ASGI app.

    Args:
        open_journal: opens a journal for one thread.
        access: who may ask.
        write: whether routes that change anything are served.
        routes: further ones, as those that run agents.
        contexts: reads what the agents of a session have in their contexts.
        agents: those that can be run, and what they do.
        closes: called as it is closed.
    """

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        access: Access,
        *,
        write: bool = False,
        routes: tuple[Route, ...] = (),
        contexts: Contexts | None = None,
        agents: Mapping[str, str] = EMPTY,
        closes: tuple[Callable[[], object], ...] = (),
    ) -> None:
        self.hub = Hub(open_journal)
        self.access = access
        self.seen_browser = False
        self._began_ns = time.time_ns()
        self._journals = Journals(open_journal)
        self._write = write
        self._contexts = contexts
        self._agents = agents
        self._closes = closes
        self._routes = Routes((*ROUTES, *(routes or (*RUNNING, *LANGGRAPH))))
        self._files = Files(access)
        self._limit: anyio.CapacityLimiter | None = None
        self._guarded = Guard(self._answer, access)

    def start(self) -> None:
        """Begin to follow the store. Raises what opening it raises."""
        self.hub.start()

    def close(self) -> None:
        """End every stream, and close every journal."""
        self.hub.close()
        self._journals.close()
        for close in self._closes:
            close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; one that is cut off by the server's end with 503, a stream of messages by its own end."""
        began = streams = False

        async def noted(message: Message) -> None:
            nonlocal began, streams
            if message["type"] == "http.response.start":
                began, streams = True, _is_stream(message)
            elif not message.get("more_body"):
                streams = False
            await send(message)

        try:
            await self._guarded(scope, receive, noted)
        except asyncio.CancelledError:
            if not self.hub.ending:
                raise
            if not began:
                await _ENDING(scope, receive, send)
            elif streams:  # its reader comes again and is answered then; any other answer is seen to be cut off
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except Refused as refused:
            response = response_of(refused)
        except Unfit as error:
            response = response_of(Refused(error.status, str(error)))
        except JournalError as error:
            response = response_of(refused_by(error))
        except Exception:  # noqa: BLE001 - the boundary: one answer fails, and the log says why
            _log.exception("request=<%s> | could not be answered", said_of(scope))
            response = response_of(Refused(500, "the server met a defect of its own; its log says more"))
        response.headers.setdefault("Cache-Control", "no-store")
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        path = request.scope["path"]
        if not (is_api(path) or path in _OURS):
            self.seen_browser = True
            if path == "/latest" and request.method in ("GET", "HEAD"):
                return await to_thread.run_sync(self._latest)
            return self._files.response(request, path)
        found = self._routes.find(request.method, path)
        if found.route.writes and not self._write:
            raise Refused(403, "this server only reads; start it with --write to let it change anything")
        call = Call(request, found.args, self.hub, self._journals, self._contexts, self._agents)
        if request.method == "HEAD" and EVENTS in found.route.media_types:
            return Response(media_type=EVENTS)  # whose body would have no end
        if found.route.flows is not None:
            return await found.route.flows(call)
        return await self._blocking(found, call)

    def _latest(self) -> Response:
        """Lead to the session that began first since the server did; until then, a page that looks again."""
        with self._journals.one() as journal:
            wanted = SessionFilter(since_ns=self._began_ns)
            began = [head for head in journal.heads(wanted) if head.started_ns >= self._began_ns]
        first = min(began, key=lambda head: (head.started_ns, head.session_id), default=None)
        if first is None:
            return HTMLResponse(_WAITS, headers={"Refresh": "1"})
        page = f"{self.access.root_path}/sessions/{quote(first.session_id, safe='')}"
        return Response(status_code=303, headers={"Location": page})

    async def _blocking(self, found: Found, call: Call) -> Response:
        if self._limit is None:
            self._limit = anyio.CapacityLimiter(2 * AT_ONCE)
        if found.route.takes is not None:
            call.request.state.body = await call.request.body()
        answered = await to_thread.run_sync(self._does, found.route, call, limiter=self._limit)
        if isinstance(answered, Response):
            return answered
        return Response(answered, found.route.status, media_type=JSON)

    def _does(self, route: Route, call: Call) -> Response | bytes:
        assert route.does is not None
        with self._journals.one() as journal:
            return route.does(call, journal)


def _is_stream(start: Message) -> bool:
    return any(name == b"content-type" and value.startswith(EVENTS.encode()) for name, value in start["headers"])
