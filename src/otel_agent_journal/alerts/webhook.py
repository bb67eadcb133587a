"""A webhook, signed as Standard Webhooks has it: whoever has the secret knows that it was us, and when.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import binascii
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from hmac import digest
from typing import Final

import msgspec

from otel_agent_journal.alerts.fields import Table
from otel_agent_journal.alerts.message import Message, payload
from otel_agent_journal.alerts.posting import post
from otel_agent_journal.alerts.receivers import Receiver, http_url, secret_of, shown_place, timeout_of

PREFIX: Final = "whsec_"
KEY_BYTES: Final = range(24, 65)  # as the specification has it
_MAKE_ONE: Final = f'make one: echo "{PREFIX}$(openssl rand -base64 32)"'


class Webhook:
    """Posts messages to a URL.

    Args:
        url: where to.
        keys: to sign by; several while one takes the place of another. None: it is not signed.
        timeout_s: how long a message may take.
        clock: the time of a signature, UTC nanoseconds.
    """

    def __init__(
        self, url: str, keys: Sequence[bytes], timeout_s: float, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._url = url
        self._keys = keys
        self._timeout_s = timeout_s
        self._clock = clock

    @property
    def shown(self) -> str:
        """Its host."""
        return shown_place(self._url)

    def send(self, message: Message) -> None:
        """Send a message, once. Raises NotSent."""
        body = msgspec.json.encode(payload(message))
        post(self._url, body, self.headers(message.message_id, body), self._timeout_s)

    def headers(self, message_id: str, body: bytes) -> dict[str, str]:
        """Return the headers that tell which message it is, when it was sent, and by whom."""
        seconds = self._clock() // 1_000_000_000
        signed = " ".join(signature(key, message_id, seconds, body) for key in self._keys)
        found = {"webhook-id": message_id, "webhook-timestamp": str(seconds)}
        return {**found, "webhook-signature": signed} if signed else found


def signature(key: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """Return the signature of a message: HMAC SHA-256 of its id, time and body."""
    return "v1," + b64encode(digest(key, f"{message_id}.{seconds}.".encode() + body, sha256)).decode("ascii")


def open_receiver(table: Table, environ: Mapping[str, str]) -> Receiver:
    """Return a webhook from its table.

    Raises:
        ConfigError: a key is malformed, or a secret is missing.
    """
    url = secret_of(table, "url", environ) if not table.has("url") else table.text("url")
    for other in ("url_env", "url_file"):
        table.text(other)
    if url is None:
        raise table.error("it has no url", 'name it: url = "https://…", or url_env, url_file where it is a secret')
    unsigned = table.flag("unsigned", default=False)
    said = secret_of(
        table,
        "secret",
        environ,
        needed="" if unsigned else f"name it by secret_env or secret_file; {_MAKE_ONE}; or say unsigned = true",
    )
    keys = tuple(_key(table, one) for one in said.split()) if said and not unsigned else ()
    return Webhook(http_url(table, "url", url), keys, timeout_of(table))


def _key(table: Table, secret: str) -> bytes:
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise table.error(
            f"its secret is not in the form of Standard Webhooks, {PREFIX} and base64 of 24 to 64 bytes", _MAKE_ONE
        )
    return key
