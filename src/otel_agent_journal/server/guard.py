"""Who may ask: the rules that keep other people, and other pages in the same browser, out. Around the whole app.

1. `Host` must be ours, else 421: a name that was pointed at this machine (DNS rebinding) gets nothing.
2. A token, else 401: as `Authorization: Bearer`, as `x-api-key`, or as the cookie that the printed
   link is exchanged for.
3. What is not GET or HEAD must come from our own page or from no browser, else 403 (as Go's CrossOriginProtection).
   A page of an origin that was allowed by name may ask the API, with a token in a header; our cookie is none there.
4. A body is JSON, else 415, and of bounded size, else 413.
5. Answers may not be framed, sniffed, read by others or kept; scripts are our own files alone.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.server.problems import Refused, response_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
OPEN_PATHS: Final = frozenset(("/healthz", "/ping"))  # which say nothing of the journal
_API: Final = ("/api/", "/threads", "/runs", "/assistants", "/info", "/ok", "/store", "/a2a", "/.well-known/")
_METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
_EXPOSED: Final = "Content-Location, Location, X-Pagination-Total, X-Pagination-Next"
_KEPT_S: Final = 600  # what an answer to a preflight holds for
_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ASKS: Final = (
    "<!doctype html><meta charset=utf-8><title>agent-journal</title><p>This journal asks for a token. Open the link"
    " that <code>agent-journal serve</code> printed, with <code>?token=…</code> in it, or ask who runs it for one.</p>"
)


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What is let in.

    Args:
        tokens: any of which admits; none: everybody is admitted.
        port: where we listen; in the name of the cookie, so that two servers on one host do not fight.
        root_path: what stands before our paths, as `/journal`, without a slash at its end.
        hosts: names that we are asked by, beside those of loopback.
        everywhere: whether we listen beyond this machine: then any address of ours will do as `Host`.
        proxies: addresses of proxies whose `X-Forwarded-Proto` is believed.
        origins: of pages elsewhere that may ask the API.
    """

    tokens: tuple[str, ...] = ()
    port: int = 0
    root_path: str = ""
    hosts: tuple[str, ...] = ()
    everywhere: bool = False
    proxies: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return f"agent_journal_{self.port}"

    def sealed(self, token: str) -> str:
        """Return what the cookie holds for a token: not the token itself."""
        return hmac.new(token.encode(), b"agent-journal cookie", sha256).hexdigest()

    def admits_bearer(self, authorization: str) -> bool:
        """Tell whether an `Authorization` header admits."""
        scheme, _, offered = authorization.partition(" ")
        return scheme.lower() == "bearer" and _is_any(offered.strip(), self.tokens)

    def admits_key(self, key: str) -> bool:
        """Tell whether an `x-api-key` header admits, as LangGraph's clients send it."""
        return _is_any(key.strip(), self.tokens)

    def admits_cookie(self, header: str) -> bool:
        """Tell whether the cookies of a request admit."""
        try:
            found = SimpleCookie(header).get(self.cookie)
        except CookieError:
            return False
        return found is not None and _is_any(found.value, map(self.sealed, self.tokens))

    def admits_token(self, token: str) -> bool:
        """Tell whether a token, as it stands in the printed link, admits."""
        return _is_any(token, self.tokens)

    def is_ours(self, host: str) -> bool:
        """Tell whether a `Host` header names this server."""
        name = _name_of(host)
        if name is None:
            return False
        if name in ("localhost", "127.0.0.1", "::1") or name in self.hosts:
            return True
        if not self.everywhere:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # no name that somebody else could point at us


def _is_any(offered: str, known: Iterable[str]) -> bool:
    found = [hmac.compare_digest(offered.encode(), one.encode()) for one in known]  # all of them, always
    return any(found)


def _name_of(host: str) -> str | None:
    """Return the name in a `Host` header, None where it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or "@" in host or not parts.hostname:
        return None
    return parts.hostname.lower().rstrip(".")


def is_api(path: str) -> bool:
    """Tell whether a path is one that programs ask, and no page."""
    return any(path == one or path.startswith(one if one.endswith("/") else f"{one}/") for one in _API)


def _within(path: str) -> str:
    """Return a path so that a browser takes it for one of this server: no slash, of either kind, at its beginning."""
    return quote(path, safe="/%:@!$&'()*+,;=~-._").lstrip("/").replace("%5C", "").replace("%5c", "")


class Guard:
    """Lets in what `Access` does, and puts the headers of safety on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            return

        headers = Headers(scope=scope)
        path = self._path(scope)
        origin = self._allowed(headers, path)
        ours = HEADERS if origin is None else (*_shared(origin), *HEADERS)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in ours if pair[0] not in known)]
            await send(message)

        try:
            self._check_host(headers)
            preflight = origin is not None and scope["method"] == "OPTIONS"
            answered = _preflight(headers) if preflight else self._check_token(scope, headers, path, origin)
            if answered is None and origin is not None:
                self._check_body(scope, headers)
            elif answered is None:
                self._check_origin(scope, headers, path)
                self._check_body(scope, headers)
        except Refused as refused:
            answered = response_of(refused)
            answered.headers["Cache-Control"] = "no-store"
        if answered is not None:
            await answered(scope, receive, guarded)
            return
        scope["path"], scope["root_path"] = path, self._access.root_path
        await self._app(scope, _bounded(receive), guarded)

    def _path(self, scope: Scope) -> str:
        """Return the path as it was sent, still encoded, without what stands before ours."""
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        root = self._access.root_path
        if not root:
            return path
        if path == root:
            return "/"
        if path.startswith(root + "/"):
            return path[len(root) :]
        return path  # a proxy that takes it off

    def _allowed(self, headers: Headers, path: str) -> str | None:
        """Return the origin of the page that asks, where it may."""
        origins = headers.getlist("origin")
        known = len(origins) == 1 and origins[0] in self._access.origins and is_api(path)
        return origins[0] if known else None

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.is_ours(hosts[0]):
            said = hosts[0][:200] if hosts else ""
            raise Refused(
                421, f"Host is '{said}', which is not this server's; name it with --allow-host, or use 127.0.0.1"
            )

    def _check_token(self, scope: Scope, headers: Headers, path: str, origin: str | None) -> Response | None:
        access = self._access
        if not access.tokens or path in OPEN_PATHS:
            return None
        is_page = scope["method"] in ("GET", "HEAD") and not is_api(path) and not path.startswith("/static/")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        offered = next((value for name, value in query if name == "token"), None)
        if is_page and offered is not None and access.admits_token(offered):
            return self._exchanged(scope, headers, path, offered, query)
        if access.admits_bearer(headers.get("authorization", "")):
            return None
        if access.admits_key(headers.get("x-api-key", "")):
            return None
        if origin is None and access.admits_cookie("; ".join(headers.getlist("cookie"))):
            return None
        if is_page and "text/html" in headers.get("accept", ""):
            return HTMLResponse(_ASKS, 401, headers={"Cache-Control": "no-store"})
        raise Refused(
            401,
            "there is no token, or a wrong one; send Authorization: Bearer TOKEN, or open the link that was printed",
            headers={"WWW-Authenticate": 'Bearer realm="agent-journal"'},
        )

    def _exchanged(
        self, scope: Scope, headers: Headers, path: str, token: str, query: list[tuple[str, str]]
    ) -> Response:
        """Answer the printed link: a cookie, and the same address without the token."""
        left = urlencode([(name, value) for name, value in query if name != "token"])
        target = f"{self._access.root_path}/{_within(path)}" + (f"?{left}" if left else "")
        response = Response(status_code=303, headers={"Location": target, "Cache-Control": "no-store"})
        response.set_cookie(
            self._access.cookie,
            self._access.sealed(token),
            path=f"{self._access.root_path}/",
            httponly=True,
            samesite="strict",
            secure=self._is_secure(scope, headers),
        )
        return response

    def _is_secure(self, scope: Scope, headers: Headers) -> bool:
        client = (scope.get("client") or ("",))[0]
        trusted = client in self._access.proxies
        return scope.get("scheme") == "https" or (trusted and headers.get("x-forwarded-proto") == "https")

    def _check_origin(self, scope: Scope, headers: Headers, path: str) -> None:
        site = headers.get("sec-fetch-site")
        if scope["method"] in _SAFE:
            if site in ("cross-site", "same-site") and (is_api(path) or path.startswith("/static/")):
                raise Refused(403, "a page of another origin asked; open the viewer itself, or use a bearer token")
            return
        if site is not None:
            if site not in ("same-origin", "none"):
                raise Refused(403, "a page of another origin asked for a change; that is never done")
            return
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
            raise Refused(403, "a page of another origin asked for a change; that is never done")

    def _check_body(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] in _SAFE:
            return
        length = headers.get("content-length")
        if length is not None and (not length.isdecimal() or int(length) > MAX_BODY_BYTES):
            raise _too_large()
        if length in (None, "0") and "transfer-encoding" not in headers:
            return
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise Refused(415, f"the body's type is '{media[:80]}'; send it as Content-Type: application/json")


def _shared(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers by which a browser lets a page of this origin have an answer."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED.encode()),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"vary", b"Origin"),
    )


def _preflight(headers: Headers) -> Response:
    """Return what a browser is told that asks whether a page may ask; it sends no token with that."""
    told = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
        "Access-Control-Max-Age": str(_KEPT_S),
        "Cache-Control": "no-store",
    }
    if headers.get("access-control-request-private-network") == "true":
        told["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=told)


def _too_large() -> Refused:
    return Refused(413, f"the body is over {MAX_BODY_BYTES:,} bytes; send less, or a reference to what is large")


def _bounded(receive: Receive) -> Receive:
    """Return what receives a body up to its limit, however it comes."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return bounded


def origins_of(origins: Collection[str]) -> tuple[str, ...]:
    """Return origins as browsers send them.

    Raises:
        ConfigError: one is none.
    """
    for one in origins:
        parts = urlsplit(one)
        if parts.scheme not in ("http", "https") or not parts.netloc or one != f"{parts.scheme}://{parts.netloc}":
            raise ConfigError(
                f"--allow-origin is '{one[:200]}'; scheme, name and port are expected, as https://app.example"
            )
    return tuple(one.lower() for one in origins)


def names_of(hosts: Collection[str]) -> tuple[str, ...]:
    """Return names as `is_ours` compares them."""
    return tuple(host.lower().rstrip(".") for host in hosts)


def said_of(scope: Mapping[str, Any]) -> str:
    """Return a request for a log: without its query, in which a token may be."""
    return f"{scope['method']} {scope['path'][:200]}"
