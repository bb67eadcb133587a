"""What content is known by: SHA-256 over its canonical JSON, the same in every process that is handed it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import UNENCODABLE
from otel_agent_journal.mapping.references import DIGEST, TOOL
from otel_agent_journal.plain import MESSAGES, light, plain

_MAX_ENCODED: Final = 64  # definitions and parameters, in their encoded form, that need no digest anew
_DIGITS: Final = 32  # 128 bits
_NOT_SAID: Final = ("id", DIGEST)
_NOT_SAID_HERE: Final = (*_NOT_SAID, "name")  # which a message's key has

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Digests:
    """Digests of what is said: SHA-256, with a key where they must not tell who guesses what it may be."""

    def __init__(self, key: bytes | None = None) -> None:
        self.keyed = key is not None
        self._begun = sha256(key or b"")
        self._encoded: dict[bytes, str] = {}

    def running(self) -> Any:
        """Return the state of a digest over a list of keys that may grow."""
        return self._begun.copy()

    def of(self, said: bytes) -> str:
        """Return the digest of something encoded."""
        running = self._begun.copy()
        running.update(said)
        return running.hexdigest()[:_DIGITS]

    def of_message(self, message: dict[str, Any]) -> str:
        """Return the digest of a message: of all but its ids, and its name, which is given to an answer later.

        That of a tool's result begins with `tool:`. Where digests have a key, the name counts, since it stands nowhere
        beside them.
        """
        said = message.copy()
        for name in _NOT_SAID if self.keyed else _NOT_SAID_HERE:
            said.pop(name, None)
        digest = self.of(encoded(said))
        return f"{TOOL}{digest}" if message.get("role") == "tool" else digest

    def of_value(self, value: Any) -> str:
        """Return the digest of a value that comes again and again, often as another object."""
        said = encoded(value)
        known = self._encoded.get(said)
        if known is None:
            if len(self._encoded) >= _MAX_ENCODED:
                self._encoded.clear()
            known = self._encoded[said] = self.of(said)
        return known


def encoded(value: Any) -> bytes:
    """Return any value as JSON, the same for what is equal; total."""
    try:
        return _encode(value if _is_text(value) or light([value], MESSAGES) else plain(value))
    except UNENCODABLE:  # half of a surrogate pair, or nested too deep
        return _encode(plain(value))


def _is_text(value: Any) -> bool:
    """Tell whether a message is of texts alone, as most are: that is sooner known than `light`."""
    if type(value) is not dict:
        return False
    for one in cast("dict[str, Any]", value).values():  # noqa: SIM110 - a generator costs as much as `light`
        if type(one) is not str:
            return False
    return True


def extended(running: Any, keys: Iterable[str]) -> str:
    """Return the digest of a list that has grown by some keys."""
    running.update("".join(f"{key}\n" for key in keys).encode("utf-8", "backslashreplace"))
    return running.hexdigest()[:_DIGITS]
