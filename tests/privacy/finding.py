"""Secrets that are found again in bytes: as they are, escaped, and in base64."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path


def secret(number: int) -> str:
    """Return the secret of a place: the same in JSON, in a URL, in msgpack and in protobuf."""
    return f"canary{number:03d}kx7q9z{number:03d}"


def forms(told: str) -> tuple[bytes, ...]:
    """Return what a secret looks like in bytes: plain, in capitals, percent-encoded, escaped, in hex, in base64."""
    plain = told.encode()
    found = {
        plain,
        plain.upper(),
        "".join(f"%{byte:02X}" for byte in plain).encode(),
        "".join(f"\\u{byte:04x}" for byte in plain).encode(),
        plain.hex().encode(),
        told.encode("utf-16-le"),
        *(_within_base64(plain, before) for before in range(3)),
    }
    return tuple(found | {one.replace(b"+", b"-").replace(b"/", b"_") for one in found})


def _within_base64(plain: bytes, before: int) -> bytes:
    """Return what base64 of a text with `plain` in it has, with so many bytes before it: without the blurred ends."""
    encoded = base64.b64encode(b"\0" * before + plain)
    return encoded[-(-before * 4 // 3) : (before + len(plain)) * 4 // 3 - 1]


def found_in(chunks: Iterable[bytes], secrets: dict[str, str]) -> set[str]:
    """Return the places whose secrets are in any of these bytes."""
    said = b"\n".join(chunks)
    return {place for place, told in secrets.items() if any(form in said for form in forms(told))}


def bytes_below(folder: Path) -> list[bytes]:
    """Return what is in every file below a folder, and what the files are called."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return [part for file in files for part in (str(file.relative_to(folder)).encode(), file.read_bytes())]
