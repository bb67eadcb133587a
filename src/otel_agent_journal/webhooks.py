"""Webhooks: a POST in one attempt, and the headers that say who it is from.

No redirect is followed: headers and body go to the host that was named, and to no other. Of the answer the status
counts alone, and errors never have the URL in them. Signed as Standard Webhooks has it:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. Repeating is the caller's.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import digest
from typing import Any, Final

from otel_agent_journal.errors import JournalError
from otel_agent_journal.uninstrumented import uninstrumented

PREFIX: Final = "whsec_"  # of a secret in base64
_SECONDS: Final = re.compile(r"\d{1,6}", re.ASCII)
_LONGEST_PAUSE_S: Final = 3600


class NotSent(JournalError):
    """A receiver did not take a message. `retry_after_s`: when it said to come again, 0 where it did not say."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for: `whsec_` and base64, or any other text as it is. Raises ValueError."""
    if secret.startswith(PREFIX):
        return b64decode(secret.removeprefix(PREFIX), validate=True)
    return secret.encode()


def headers_of(message_id: str, seconds: int, body: bytes, keys: Sequence[bytes] = ()) -> dict[str, str]:
    """Return the headers of a message: which it is, when it was sent, and by whom.

    Args:
        message_id: the same in each attempt.
        seconds: UTC, of this attempt.
        body: what is sent.
        keys: to sign by; several while one takes the place of another. None: it is not signed.
    """
    found = {"webhook-id": message_id, "webhook-timestamp": str(seconds)}
    content = f"{message_id}.{seconds}.".encode() + body
    signed = " ".join("v1," + b64encode(digest(key, content, sha256)).decode("ascii") for key in keys)
    return {**found, "webhook-signature": signed} if signed else found


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
