"""How a session's id stands in keys and paths: one form for every store that has them. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from urllib.parse import quote, unquote

from otel_agent_journal.codec import valid_text

MAX_KEY_BYTES: Final = 512
_SAFE: Final = ":@"  # beside letters, digits and _.-~, of which the tilde is ours
_HASH_BYTES: Final = 24


def key_of(session_id: str) -> str:
    """Return the id percent-encoded outside `[A-Za-z0-9._:@-]`; over 512 bytes `~` and a blake2b of it.

    `.` and `..` are encoded too, so that a key is never a step in a path. What is hashed cannot be read back: the true
    id is in the session's head and in each of its events. The empty id is `~`.
    """
    key = quote(valid_text(session_id), safe=_SAFE).replace("~", "%7E")
    if key in (".", ".."):
        return key.replace(".", "%2E")
    if len(key) > MAX_KEY_BYTES:
        return "~" + blake2b(valid_text(session_id).encode(), digest_size=_HASH_BYTES).hexdigest()
    return key or "~"


def session_of(key: str) -> str | None:
    """Return the id that a key stands for, or None where it is hashed."""
    if key == "~":
        return ""
    return None if key.startswith("~") else unquote(key)
