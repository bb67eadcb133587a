"""A POST to a receiver: one attempt, no redirect followed, within its time. Of the answer the status counts alone.

Headers and body go to the host that was named, and to no other. Errors never have the URL in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from otel_agent_journal.alerts.receivers import NotSent
from otel_agent_journal.uninstrumented import uninstrumented

_SECONDS: Final = re.compile(r"\d{1,6}", re.ASCII)
_LONGEST_PAUSE_S: Final = 3600


@uninstrumented()
def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
    """Send a body as JSON.

    Raises:
        NotSent: it was not answered with a 2xx; says why, and whether the receiver named a time to come again.
    """
    import http.client
    import urllib.error
    import urllib.request

    class Unjudged(urllib.request.HTTPErrorProcessor):
        def http_response(self, request: Any, response: Any) -> Any:
            return response  # whatever its status, and a redirect is not followed

        https_response = http_response

    said = {"content-type": "application/json", "user-agent": "otel-agent-journal", **headers}
    request = urllib.request.Request(url, body, said, method="POST")  # noqa: S310 - http(s), see `http_url`
    try:
        with urllib.request.build_opener(Unjudged).open(request, timeout=timeout_s) as answer:
            status, after = int(answer.status), answer.headers.get("retry-after", "")
    except urllib.error.URLError as error:
        raise NotSent(_why(error.reason, timeout_s)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotSent(_why(error, timeout_s)) from None
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise NotSent(f"it answered {status} and points elsewhere, which is not followed; name where it is now")
    pause_s = min(_LONGEST_PAUSE_S, int(after)) if _SECONDS.fullmatch(after.strip()) else 0
    raise NotSent(f"it answered {status}{_MEANING.get(status, '')}", retry_after_s=pause_s)


_MEANING: Final = {
    400: " (bad request)",
    401: " (unauthorized): is the secret the one that it has?",
    403: " (forbidden)",
    404: " (not found): is the URL right?",
    410: " (gone): the URL was given up",
    429: " (too many requests)",
    503: " (unavailable)",
}


def _why(error: object, timeout_s: float) -> str:
    """Return why nothing was answered, without the URL, which errors of the standard library may repeat."""
    import socket
    import ssl

    if isinstance(error, TimeoutError):
        return f"it did not answer within {timeout_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    if isinstance(error, socket.gaierror):
        return "its host was not found"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, OSError) and error.strerror:
        return f"the connection failed ({error.strerror})"
    return f"the connection failed ({type(error).__name__})"
