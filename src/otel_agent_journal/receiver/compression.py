"""gzip and zlib undone piece by piece, so that whoever takes the pieces can stop at any size. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

MAX_MEMBERS: Final = 64  # of gzip, one after the other; exporters send one, and each costs time however small it is
_GIVEN: Final = 256 * 1024  # compressed bytes at a time
_MADE: Final = 1024 * 1024  # decompressed bytes at a time, at most
_GZIP_OR_ZLIB: Final = 47  # zlib's window bits for both, told apart by their headers


def pieces(body: bytes) -> Iterator[bytes]:
    """Yield a body decompressed, in pieces of 1 MiB at most.

    Raises:
        ValueError: it is neither gzip nor zlib, ends early, or has too many members.
    """
    try:
        yield from _pieces(body)
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from error


def _pieces(body: bytes) -> Iterator[bytes]:
    reader, members = zlib.decompressobj(_GZIP_OR_ZLIB), 1
    for start in range(0, len(body), _GIVEN):
        given = body[start : start + _GIVEN]
        while given:
            if reader.eof:
                if members == MAX_MEMBERS:
                    raise ValueError(f"gzip of more than {MAX_MEMBERS} members")
                reader, members = zlib.decompressobj(_GZIP_OR_ZLIB), members + 1
            piece = reader.decompress(given, _MADE)
            yield piece
            given = reader.unused_data if reader.eof else reader.unconsumed_tail
    while not reader.eof:  # all of it was given; what it stands for may not be out yet
        piece = reader.decompress(b"", _MADE)
        if not piece and not reader.eof:
            raise ValueError("not gzip: it ends early")
        yield piece
