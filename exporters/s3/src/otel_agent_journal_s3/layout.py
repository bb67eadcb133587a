"""Where everything stands in the bucket: the names of objects, and back. Pure.

Below the store's prefix, `{key}` being `key_of` of a session's or an instance's id:

    journals/{key}/segments/{n:012d}.jsonl   what one flush wrote of the session, immutable, numbered without a gap;
                                             what is in it and those before it, and if the session rests, as metadata
    journals/{key}/journal.jsonl             the same events in order, as of its last rewriting
    journals/{key}/head.json                 the session's head, and on a second line the snapshot of its fold
    journals/{key}/documents/{name}.json     a document that goes with the session
    journals/{key}/blobs/{digest}            values over the field limit
    documents/{scope}/{name}.json            another document
    unsettled/{key}/{marker}                 the id of a session that may have events which its head does not know
    log/{999999999999 - g:012d}.json         which sessions began to be written, in order; the newest is listed first
    listing/{...}                            which sessions there are, the newest first: see `listing`
    instances/{key}.json                     the session of an agent instance
    layout.json                              the version of all this
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from otel_agent_journal.codec import valid_text
from otel_agent_journal.store import keys
from otel_agent_journal.store.protocol import session_of_scope

LAYOUT_VERSION: Final = 1
MAX_KEY_BYTES: Final = 240  # S3 on a file system takes 255 bytes between two slashes
_HASH_BYTES: Final = 24
_DIGITS: Final = 12
_LAST: Final = 10**_DIGITS - 1


@lru_cache(maxsize=4096)
def key_of(text: str, most: int = MAX_KEY_BYTES) -> str:
    """Return `store.keys.key_of` of an id, and its hashed form already where it is longer than a file's name."""
    key = keys.key_of(text)
    if len(key) <= most:
        return key
    return "~" + blake2b(valid_text(text).encode(), digest_size=_HASH_BYTES).hexdigest()


class Layout:
    """The names below one prefix."""

    def __init__(self, prefix: str) -> None:
        self.root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.journals = f"{self.root}journals/"
        self.log = f"{self.root}log/"
        self.listing = f"{self.root}listing/"
        self.unsettled = f"{self.root}unsettled/"
        self.version = f"{self.root}layout.json"

    def session(self, key: str) -> str:
        """Return the folder of a session, by its key."""
        return f"{self.journals}{key}/"

    def values(self, key: str) -> tuple[str, str]:
        """Return the folders of a session's blobs and of the documents that go with it."""
        return self.blobs(key), self.of_session(key)

    def behind_values(self, key: str) -> str:
        """Return a name in a session's folder behind its values, and before all else."""
        return f"{self.journals}{key}/head"

    def segments(self, key: str) -> str:
        """Return the folder of a session's segments."""
        return f"{self.journals}{key}/segments/"

    def segment(self, key: str, number: int) -> str:
        """Return the name of a segment."""
        return f"{self.journals}{key}/segments/{number:012d}.jsonl"

    def journal(self, key: str) -> str:
        """Return the name of a session's compacted form."""
        return f"{self.journals}{key}/journal.jsonl"

    def head(self, key: str) -> str:
        """Return the name of a session's head."""
        return f"{self.journals}{key}/head.json"

    def markers(self, key: str) -> str:
        """Return the folder of the markers which say that a session may be unsettled."""
        return f"{self.unsettled}{key}/"

    def marked(self, name: str) -> str | None:
        """Return the key of the session that a marker is of; None for what somebody else put there."""
        key, _, marker = name.removeprefix(self.unsettled).partition("/")
        return key if key and marker and "/" not in marker else None

    def entry(self, number: int) -> str:
        """Return the name of an entry of the log."""
        return f"{self.log}{_LAST - number:012d}.json"

    def number_of_entry(self, name: str) -> int | None:
        """Return the number of an entry of the log; None for what somebody else put there."""
        number = _number(name.removeprefix(self.log), ".json")
        return None if number is None else _LAST - number

    def instance(self, instance_id: str) -> str:
        """Return the name of the object that says which session an instance is of."""
        return f"{self.root}instances/{key_of(instance_id)}.json"

    def blobs(self, key: str) -> str:
        """Return the folder of a session's blobs."""
        return f"{self.journals}{key}/blobs/"

    def blob(self, key: str, digest: str) -> str:
        """Return the name of a blob."""
        return f"{self.journals}{key}/blobs/{key_of(digest)}"

    def documents(self, scope: str) -> str:
        """Return the folder of the documents of a scope: in that of the session that they go with, if they do."""
        session_id = session_of_scope(scope)
        return f"{self.root}documents/{key_of(scope)}/" if session_id is None else self.of_session(key_of(session_id))

    def of_session(self, key: str) -> str:
        """Return the folder of the documents that go with a session."""
        return f"{self.journals}{key}/documents/"

    def document(self, scope: str, name: str) -> str:
        """Return the name of a document's object."""
        return f"{self.documents(scope)}{key_of(name)}.json"


def number_of_segment(name: str) -> int | None:
    """Return the number of a segment; None for what somebody else put there, as the placeholder of a folder."""
    return _number(name.rpartition("/")[2], ".jsonl")


def _number(name: str, ending: str) -> int | None:
    text = name.removesuffix(ending)
    return int(text) if len(text) == _DIGITS and text.isdecimal() and text != name else None
