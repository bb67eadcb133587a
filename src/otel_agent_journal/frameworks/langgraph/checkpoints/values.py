"""One value as the saver's serialiser writes it, and what two equal ones have in common.

Values are written by LangGraph's own serialiser or the one that the program gave, and by nothing else. Whether one is
known already is told by a digest of it as plain bytes, before it is encrypted; digests stay in memory.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from otel_agent_journal.codec import encode_value

Typed = tuple[str, bytes]  # as a serialiser gives and takes it
Ref = tuple[int, int]  # the number of the event that a value is in, and its place among that event's values
OWN: Final = -1  # the number of an event that is not written yet
_KEY_BYTES: Final = 16
_CHARACTERS: Final = "latin-1"


class Packed(NamedTuple):
    """A value to be stored, and its key: equal of equal values."""

    typed: Typed
    key: bytes


class Serde:
    """The serialiser of a saver."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde
        self._encrypted = serde if isinstance(serde, EncryptedSerializer) else None

    def packed(self, value: Any) -> Packed:
        """Return a value as it is stored."""
        if self._encrypted is None:
            typed = self._serde.dumps_typed(value)
            return Packed(typed, _key(typed))
        kind, plain = self._encrypted.serde.dumps_typed(value)
        cipher, data = self._encrypted.cipher.encrypt(plain)
        return Packed((f"{kind}+{cipher}", data), _key((kind, plain)))

    def value(self, typed: Typed) -> Any:
        """Return a value anew: nobody else has it."""
        return self._serde.loads_typed(typed)

    def loaded(self, typed: Typed) -> tuple[Any, bytes]:
        """Return a value anew, and its key."""
        if self._encrypted is None:
            return self._serde.loads_typed(typed), _key(typed)
        plain = self._plain(typed)
        return self._encrypted.serde.loads_typed(plain), _key(plain)

    def key(self, typed: Typed) -> bytes:
        """Return the key of what is stored."""
        return _key(self._plain(typed))

    def _plain(self, typed: Typed) -> Typed:
        kind, data = typed
        if self._encrypted is None or "+" not in kind:  # written before encryption was turned on
            return typed
        kind, _, cipher = kind.partition("+")
        return kind, self._encrypted.cipher.decrypt(cipher, data)


def as_text(typed: Typed) -> list[str]:
    """Return what JSON can carry of what a serialiser gave: its bytes as characters where that is shorter than base64.

    Most of a message is text. NUL is left to base64, since not every database has it in a text.
    """
    kind, data = typed
    text = data.decode("latin-1")
    if b"\0" not in data and len(encode_value(text)) < len(data) * 4 // 3:
        return [kind, text, _CHARACTERS]
    return [kind, b2a_base64(data, newline=False).decode("ascii")]


def from_text(text: Any) -> Typed:
    """Return what a serialiser gave, of its JSON."""
    return text[0], text[1].encode("latin-1") if len(text) == 3 else a2b_base64(text[1])


def _key(typed: Typed) -> bytes:
    kind, data = typed
    state = blake2b(kind.encode(), digest_size=_KEY_BYTES)
    state.update(b"\0")
    state.update(data)
    return state.digest()
