"""Lambda's events as requests and back: API Gateway's of version 1 and 2, and those of function URLs. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from otel_agent_journal.sessions.http import HttpAnswer, HttpRequest
from otel_agent_journal.sessions.runs import Refused

_API: Final = "/api/"
_ACTIONS: Final = ("/input", "/cancel", "/fork", "/result", "/events")


def is_request(event: Any) -> bool:
    """Tell whether an event of Lambda is a request that came by HTTP."""
    return isinstance(event, Mapping) and ("httpMethod" in event or "requestContext" in event)


def request_from(event: Mapping[str, Any]) -> HttpRequest:
    """Return the request that an event of API Gateway, of version 1 or 2, or of a function URL is.

    Raises:
        Refused: its body cannot be decoded.
    """
    context: Any = event.get("requestContext") or {}
    if "httpMethod" in event:
        many = cast("Mapping[str, Any]", event.get("multiValueQueryStringParameters") or {})
        many = many or cast("Mapping[str, Any]", event.get("queryStringParameters") or {})
        query, method, path = urlencode(many, doseq=True), str(event["httpMethod"]), str(event.get("path") or "/")
    else:
        http: Any = context.get("http") or {}
        query, method = str(event.get("rawQueryString") or ""), str(http.get("method") or "GET")
        path = str(event.get("rawPath") or "/")
    headers = cast("Mapping[str, Any]", event.get("headers") or {})
    return HttpRequest(
        method=method.upper(),
        path=_path(path),
        query=query,
        headers={name.lower(): str(value) for name, value in headers.items()},
        body=_body(event),
    )


def response_of(answer: HttpAnswer) -> dict[str, Any]:
    """Return an answer as API Gateway and function URLs take it."""
    return {
        "statusCode": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body.decode(),
        "isBase64Encoded": False,
    }


def _path(path: str) -> str:
    """Return a raw path below the stage. Gateways give it decoded: then the id is what is before the last word."""
    at = path.find(_API)
    path = path[at:] if at >= 0 else path
    start = "/api/sessions/"
    named = path[len(start) :] if path.startswith(start) else ""
    if not named or "%" in named:
        return path
    action = next((one for one in _ACTIONS if named.endswith(one) and named != one), "")
    return f"{start}{quote(named.removesuffix(action), safe='')}{action}"


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(text).encode()
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise Refused("the body is said to be base64, and is not", status=400, title="Malformed body") from error
