"""The session API's own routes, as what is asked and what is answered: for ASGI, for Lambda. Knows no server.

Ids are percent-encoded in paths, so that one may hold `/`, `..` and anything else. An answer that is a refusal is
problem+json (RFC 9457), which says what, why and what next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, quote, unquote

import msgspec

from otel_agent_journal.codec import encode_line as encode_event
from otel_agent_journal.codec import encode_value
from otel_agent_journal.errors import ConfigError, JournalError, SessionNotFound, StoreUnreachable, UnsupportedByStore
from otel_agent_journal.sessions.runs import Asked, OnBusy, Refused, unfit
from otel_agent_journal.sessions.service import SessionService
from otel_agent_journal.sessions.watched import State

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
MAX_KEY_CHARACTERS: Final = 255
MAX_EVENTS: Final = 1000  # in one answer
MAX_WAIT_S: Final = 60.0
RETRY_AFTER_S: Final = 1

_JSON: Final = "application/json"
_LINES: Final = "application/x-ndjson"
_PROBLEM: Final = "application/problem+json"
_SESSIONS: Final = "/api/sessions"
_KEY: Final = re.compile(r"[\x21-\x7e]+")


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `path` is raw: percent-encoded as it was sent; names of headers are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def asked(self, name: str) -> str | None:
        """Return a parameter of the query, the last of its name."""
        return dict(parse_qsl(self.query, keep_blank_values=True)).get(name)


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `again`: a result that is not there yet, for which the caller would wait so many seconds.

    `session_id`: the session that it is about, where it is there.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    again: float | None = None
    session_id: str | None = None


class Routes(Protocol):
    """What answers requests, of this API or of one that is built on a `SessionService`."""

    max_body_bytes: int

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to a request; never raises."""
        ...


class SubmitBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/sessions`."""

    agent: str | None = None
    input: Any = None
    session_id: str | None = None
    metadata: dict[str, Any] = {}
    webhook: str | None = None
    task_token: str | None = None
    on_busy: OnBusy = "reject"


class InputBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/sessions/{id}/input`."""

    input: Any = None
    agent: str | None = None
    metadata: dict[str, Any] = {}
    webhook: str | None = None
    task_token: str | None = None
    on_busy: OnBusy = "reject"


class ForkBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/sessions/{id}/fork`. `at`: the step before which the fork goes on; by default the end."""

    at: int | str | None = None
    state: dict[str, Any] | None = None
    session_id: str | None = None


class EmptyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/sessions/{id}/cancel`: none, or an empty object."""


_Body = TypeVar("_Body", bound=msgspec.Struct)
_Handler = Callable[["SessionRoutes", HttpRequest, str], HttpAnswer]


class SessionRoutes:
    """Answers requests for one service. Safe from any thread that the service is safe from.

    Args:
        service: what runs agents.
        writes: whether anything may be submitted; else what would change something is 403.
        max_body_bytes: of a request.
    """

    def __init__(self, service: SessionService, *, writes: bool = True, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._service = service
        self._writes = writes
        self.max_body_bytes = max_body_bytes

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to a request; never raises."""
        return refusals_told(lambda: self._answer(request))

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        found = _route(request.path)
        if found is None:
            return problem(404, "Not found", f"{request.path} is no path of this API; see /openapi.json")
        route, session_id = found
        handler = _ROUTES[route].get(request.method)
        if handler is None:
            return not_allowed(request, _ROUTES[route])
        if request.method not in ("GET", "HEAD") and not self._writes:
            return problem(403, "Read-only", "this server only reads; start it with --write to run agents")
        return handler(self, request, session_id)

    # --- one route each ---------------------------------------------------------------------------------------------

    def _submit(self, request: HttpRequest, _: str) -> HttpAnswer:
        body = self._body(request, SubmitBody)
        asked = Asked(**{name: getattr(body, name) for name in SubmitBody.__struct_fields__})
        done = self._service.ask(asked, key=_idempotency_key(request))
        return _accepted(done.session_id, msgspec.to_builtins(done))

    def _input(self, request: HttpRequest, session_id: str) -> HttpAnswer:
        body = self._body(request, InputBody)
        done = self._service.answer(
            session_id,
            body.input,
            agent=body.agent,
            on_busy=body.on_busy,
            key=_idempotency_key(request),
            metadata=body.metadata,
            webhook=body.webhook,
            task_token=body.task_token,
        )
        return _accepted(done.session_id, msgspec.to_builtins(done))

    def _cancel(self, request: HttpRequest, session_id: str) -> HttpAnswer:
        if request.body:
            self._body(request, EmptyBody)
        return _accepted(session_id, _shown(self._service.cancel(session_id)))

    def _fork(self, request: HttpRequest, session_id: str) -> HttpAnswer:
        body = self._body(request, ForkBody) if request.body else ForkBody()
        new = self._service.fork(session_id, body.at, body.state, new=body.session_id)
        return answer(201, {"session_id": new, "forked_from": session_id}, {"location": _place(new)})

    def _status(self, request: HttpRequest, session_id: str) -> HttpAnswer:
        return about(session_id, answer(200, _shown(self._service.state(session_id))))

    def _result(self, request: HttpRequest, session_id: str) -> HttpAnswer:
        wait_s = _seconds(request.asked("wait"))
        state, result = self._service.result(session_id)
        shown = _shown(state)
        if not state.ended:
            made = answer(202, shown, {"retry-after": str(RETRY_AFTER_S)})
            return about(session_id, msgspec.structs.replace(made, again=wait_s))
        return about(session_id, answer(200, {**shown, "result": result}))

    def _events(self, request: HttpRequest, session_id: str) -> HttpAnswer:
        """Return events as JSON lines; the header `cursor` is what `after` goes on from."""
        self._service.watched.head(session_id)
        store = self._service.journal.store
        after = request.asked("after") or None
        kinds = frozenset(filter(None, (request.asked("kinds") or "").upper().split(",")))
        try:
            page = store.follow(after, session_id=session_id, limit=MAX_EVENTS)
        except ValueError as error:
            raise unfit("after is no cursor of this session; take that of the last answer, or leave it out") from error
        shown = islice((event for event in page.events if not kinds or event.type in kinds), MAX_EVENTS)
        lines = b"".join(encode_event(event).rstrip(b"\n") + b"\n" for event in shown)
        return HttpAnswer(status=200, body=lines, headers={**_headers(_LINES), "cursor": page.cursor})

    def _agents(self, request: HttpRequest, _: str) -> HttpAnswer:
        agents = self._service.agents
        return answer(200, {"agents": [{"name": name, "description": agents[name].description} for name in agents]})

    def _body(self, request: HttpRequest, kind: type[_Body]) -> _Body:
        return body_of(request, kind, self.max_body_bytes)


def body_of(request: HttpRequest, kind: type[_Body], most: int = MAX_BODY_BYTES) -> _Body:
    """Return the JSON body of a request.

    Raises:
        Refused: it is too large, no JSON, or does not fit.
    """
    if len(request.body) > most:
        raise too_large(most)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != _JSON:
        raise Refused(f"the body is '{media}'; send application/json", status=415, title="Unsupported media type")
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.ValidationError as error:
        raise unfit(f"the body does not fit: {error}; {_fields(kind)}") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        why = str(error) or type(error).__name__
        raise Refused(f"the body is no JSON: {why}", status=400, title="Malformed body") from error


_ROUTES: Final[Mapping[str, Mapping[str, _Handler]]] = {
    "": {"POST": SessionRoutes._submit},  # noqa: SLF001 - its own
    "agents": {"GET": SessionRoutes._agents},  # noqa: SLF001
    "status": {"GET": SessionRoutes._status},  # noqa: SLF001
    "input": {"POST": SessionRoutes._input},  # noqa: SLF001
    "cancel": {"POST": SessionRoutes._cancel},  # noqa: SLF001
    "fork": {"POST": SessionRoutes._fork},  # noqa: SLF001
    "result": {"GET": SessionRoutes._result},  # noqa: SLF001
    "events": {"GET": SessionRoutes._events},  # noqa: SLF001
}
_BELOW: Final = frozenset(("input", "cancel", "fork", "result", "events"))


def _route(path: str) -> tuple[str, str] | None:
    """Return the route of a raw path and the session that it names, or None."""
    if path == "/api/agents":
        return "agents", ""
    if path in (_SESSIONS, f"{_SESSIONS}/"):
        return "", ""
    if not path.startswith(f"{_SESSIONS}/"):
        return None
    parts = path[len(_SESSIONS) + 1 :].split("/")
    if not parts[0] or len(parts) > 2:
        return None
    session_id = unquote(parts[0], errors="surrogateescape")
    if len(parts) == 1:
        return "status", session_id
    return (parts[1], session_id) if parts[1] in _BELOW else None


def refusals_told(answered: Callable[[], HttpAnswer]) -> HttpAnswer:
    """Return an answer; what it raises of ours as the problem that it is."""
    try:
        return answered()
    except Refused as error:
        return problem(error.status, error.title, str(error))
    except SessionNotFound as error:
        return problem(404, "No such session", str(error))
    except StoreUnreachable as error:
        after = {"retry-after": str(max(1, round(error.retry_after_s)))}
        return problem(503, "Store unreachable", str(error), headers=after)
    except (ConfigError, UnsupportedByStore) as error:
        return problem(501, "Not possible here", str(error))
    except JournalError as error:
        return problem(409, type(error).__name__, str(error))


def answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    """Return a value as a JSON answer."""
    return HttpAnswer(status=status, body=encode_value(value), headers={**_headers(_JSON), **(headers or {})})


def about(session_id: str, answered: HttpAnswer) -> HttpAnswer:
    """Return an answer that says which session it is about."""
    return msgspec.structs.replace(answered, session_id=session_id)


def problem(status: int, title: str, detail: str, *, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    """Return a refusal as RFC 9457 has it."""
    body = encode_value({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return HttpAnswer(status=status, body=body, headers={**_headers(_PROBLEM), **(headers or {})})


def too_large(most: int) -> Refused:
    """Return the refusal of a body that is too large."""
    return Refused(f"the body is over {most:,} bytes; send a reference to what is large", status=413, title="Too large")


def _headers(media: str) -> dict[str, str]:
    return {"content-type": media, "cache-control": "no-store", "x-content-type-options": "nosniff"}


def not_allowed(request: HttpRequest, methods: Mapping[str, Any]) -> HttpAnswer:
    """Return the refusal of a method; `methods` are those that are allowed."""
    allowed = ", ".join(methods)
    detail = f"{request.method} is not allowed here; allowed: {allowed}"
    return problem(405, HTTPStatus.METHOD_NOT_ALLOWED.phrase, detail, headers={"allow": allowed})


def _accepted(session_id: str, shown: dict[str, Any]) -> HttpAnswer:
    return answer(202, {**shown, "poll_url": _place(session_id)}, {"location": _place(session_id)})


def _place(session_id: str) -> str:
    named = quote(session_id, safe="", errors="surrogateescape")
    return f"{_SESSIONS}/{named.replace('.', '%2E') if set(session_id) == {'.'} else named}"


def _shown(state: State) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.to_builtins(state))


def _idempotency_key(request: HttpRequest) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY_CHARACTERS:
        raise unfit(f"Idempotency-Key is not 1 to {MAX_KEY_CHARACTERS} printable ASCII characters; a UUID will do")
    return key


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= MAX_WAIT_S:
        raise unfit(f"wait is '{text}'; seconds from 0 to {MAX_WAIT_S:g} are expected")
    return value


def _fields(kind: type[msgspec.Struct]) -> str:
    return f"fields are: {', '.join(kind.__struct_fields__) or 'none'}"
