"""Signed notes and checkpoints as C2SP has them: text, a blank line, and lines of signatures. Pure.

Keys are in the notation of Go's `sumdb/note`: `NAME+HASH+BASE64`, a secret one with `PRIVATE+KEY+` before it. Who signs
and who checks a signature is given as a function. See c2sp.org/signed-note and c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from otel_agent_journal.seals.tree import HASH_BYTES

ED25519: Final = b"\x01"  # the algorithm's byte in front of a key
KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_SIGNATURE: Final = "\u2014 "  # an em dash begins the line of a signature
_PRIVATE: Final = "PRIVATE+KEY+"
_MAX_NOTE: Final = 1_000_000  # characters

Sign = Callable[[bytes], bytes]
Check = Callable[[bytes, bytes, bytes], bool]  # key, signature, what was signed


class BadNote(ValueError):
    """A text that is no note, no key or no checkpoint; says why."""


class PublicKey(NamedTuple):
    """Who can have signed: a name, and the 32 bytes of an Ed25519 key."""

    name: str
    key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """The key as a line of text."""
        return f"{self.name}+{self.key_id.hex()}+{_encoded(ED25519 + self.key)}"


class SecretKey(NamedTuple):
    """A key that signs: its name, and the 32 bytes that it is made of."""

    name: str
    seed: bytes


class Signature(NamedTuple):
    """A line of a note: whose name, which key's id, and the signature."""

    name: str
    key_id: bytes
    data: bytes


class Note(NamedTuple):
    """A signed text. It ends with a line end, which is signed, too."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        """The note as it is written."""
        lines = (f"{_SIGNATURE}{one.name} {_encoded(one.key_id + one.data)}\n" for one in self.signatures)
        return f"{self.text}\n{''.join(lines)}"

    def signed_by(self, key: PublicKey, check: Check) -> bool:
        """Tell whether a key has signed this very text."""
        mine = (one for one in self.signatures if (one.name, one.key_id) == (key.name, key.key_id))
        return any(check(key.key, one.data, self.text.encode()) for one in mine)


class Checkpoint(NamedTuple):
    """The state of a log: whose it is, how many leaves it has, their root, and lines of other meaning."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text that is signed."""
        lines = (self.origin, str(self.size), _encoded(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def signed(text: str, key: PublicKey, sign: Sign) -> Note:
    """Return a text as a note with one signature."""
    return Note(text, (Signature(key.name, key.key_id, sign(text.encode())),))


def read_note(text: str) -> Note:
    """Return the note that a text is.

    Raises:
        BadNote: it is none.
    """
    if len(text) > _MAX_NOTE or any(ord(letter) < 32 and letter != "\n" for letter in text):
        raise BadNote("it is too long, or has control characters")
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise BadNote("a text, a blank line and lines of signatures are expected")
    return Note(f"{body}\n", tuple(_signature(line) for line in lines[:-1].split("\n")))


def read_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that the text of a note is.

    Raises:
        BadNote: it is none.
    """
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise BadNote("an origin, a size and a root are expected, a line each")
    origin, size, root = lines[:3]
    if not (size.isascii() and size.isdigit()) or size != str(int(size)):
        raise BadNote(f"'{size}' is no number of leaves")
    return Checkpoint(origin, int(size), _decoded(root, HASH_BYTES), tuple(lines[3:]))


def read_public_key(line: str) -> PublicKey:
    """Return the key of a line `NAME+HASH+BASE64`.

    Raises:
        BadNote: it is none, or its hash is another key's.
    """
    name, key_id, data = _parts(line.strip())
    key = PublicKey(name, _key_in(data))
    if key.key_id.hex() != key_id:
        raise BadNote(f"its hash {key_id} is not that of this name and key, {key.key_id.hex()}")
    return key


def read_secret_key(line: str) -> SecretKey:
    """Return the key of a line `PRIVATE+KEY+NAME+HASH+BASE64`; that its hash is right is for who has the public one.

    Raises:
        BadNote: it is none; nothing of it is in the message.
    """
    text = line.strip()
    if not text.startswith(_PRIVATE):
        raise BadNote(f"a secret key begins with {_PRIVATE}")
    name, _, data = _parts(text.removeprefix(_PRIVATE))
    return SecretKey(name, _key_in(data))


def written(secret: SecretKey, public: PublicKey) -> str:
    """Return a secret key as a line of text."""
    return f"{_PRIVATE}{secret.name}+{public.key_id.hex()}+{_encoded(ED25519 + secret.seed)}"


def is_name(name: str) -> bool:
    """Tell whether a key can have this name: nothing in it that parts a line."""
    return bool(name) and name.isprintable() and not any(letter.isspace() or letter == "+" for letter in name)


def _parts(line: str) -> tuple[str, str, str]:
    parts = line.split("+", 2)
    if len(parts) != 3 or not is_name(parts[0]):
        raise BadNote("a key is NAME+HASH+BASE64, a name without spaces")
    return parts[0], parts[1], parts[2]


def _key_in(text: str) -> bytes:
    data = _decoded(text, 1 + KEY_BYTES)
    if data[:1] != ED25519:
        raise BadNote("the key is of no algorithm that is known here; Ed25519 is")
    return data[1:]


def _signature(line: str) -> Signature:
    name, _, data = line.removeprefix(_SIGNATURE).partition(" ")
    if not line.startswith(_SIGNATURE) or not is_name(name):
        raise BadNote(f"no line of a signature: '{line[:80]}'")
    decoded = _decoded(data)
    if len(decoded) <= _ID_BYTES:
        raise BadNote("a signature is too short")
    return Signature(name, decoded[:_ID_BYTES], decoded[_ID_BYTES:])


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str, length: int | None = None) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNote("base64 is expected") from error
    if (length is not None and len(data) != length) or _encoded(data) != text:
        raise BadNote("base64 of another length, or in another form, is expected")
    return data
