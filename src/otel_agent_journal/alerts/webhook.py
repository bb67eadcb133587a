"""A webhook, signed: whoever has the secret knows that it was us, and when. See `otel_agent_journal.webhooks`."""

from __future__ import annotations

import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from otel_agent_journal.alerts.fields import Table
from otel_agent_journal.alerts.message import Message, payload
from otel_agent_journal.alerts.receivers import Receiver, http_url, secret_of, shown_place, timeout_of
from otel_agent_journal.webhooks import PREFIX, headers_of, key_of, post

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
        seconds = self._clock() // 1_000_000_000
        post(self._url, body, headers_of(message.message_id, seconds, body, self._keys), self._timeout_s)


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
        key = key_of(secret)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise table.error(
            f"its secret is not in the form of Standard Webhooks, {PREFIX} and base64 of 24 to 64 bytes", _MAKE_ONE
        )
    return key
