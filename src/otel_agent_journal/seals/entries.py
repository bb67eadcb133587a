"""The list of a seal's leaves: of each event where it is, its leaf's hash, and its salt; in chunks. Pure.

With it a later check can name the event that was changed or is gone. The list itself needs no trust: the root that was
signed is made of it. Salts are in it because they must go with the content that they hide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from otel_agent_journal.errors import CodecError
from otel_agent_journal.seals.leaves import SALT_BYTES
from otel_agent_journal.seals.tree import HASH_BYTES

CHUNK: Final = 4_096  # entries kept together: some 400 KB
MEDIA_TYPE: Final = "application/vnd.agent-journal.seal"


class Entry(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One sealed event: its place in the session's order, the hash of its leaf, its salt. Sorts by its place."""

    timestamp_ns: int
    event_id: str
    leaf: bytes
    salt: bytes

    @property
    def position(self) -> tuple[int, str]:
        """Where it is in the order of a session."""
        return self.timestamp_ns, self.event_id


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Entry]).decode


def chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield entries in lists, `CHUNK` in each but the last."""
    left = iter(entries)
    while some := list(islice(left, CHUNK)):
        yield some


def chunk_of(entries: list[Entry]) -> bytes:
    """Return entries as bytes."""
    return _encode(entries)


def entries_in(chunk: bytes) -> list[Entry]:
    """Return the entries of a chunk.

    Raises:
        CodecError: it is no chunk.
    """
    try:
        found = _decode(chunk)
    except (msgspec.DecodeError, ValueError) as error:
        raise CodecError(f"not a list of sealed events: {error}") from error
    if any(len(one.leaf) != HASH_BYTES or len(one.salt) != SALT_BYTES for one in found):
        raise CodecError("not a list of sealed events: a hash or a salt has another length")
    return found
