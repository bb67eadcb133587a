"""Where everything stands in the bucket: the names of objects, and back. Pure.

Below the store's prefix, `{key}` being `key_of` of a session's or an instance's id:

    journals/{key}/segments/{n:012d}.jsonl   what one flush wrote of the session, immutable, numbered without a gap;
                                             what is in it and those before it, and if the session rests, as metadata
    journals/{key}/journal.jsonl             the same events in order, as of its last rewriting
    journals/{key}/head.json                 the session's head, and on a second line the snapshot of its fold
    journals/{key}/documents/{name}.json     a document that goes with the session
    documents/{scope}/{name}.json            another document
    unsettled/{key}/{marker}                 the id of a session that may have events which its head does not know
    log/{999999999999 - g:012d}.json         which sessions began to be written, in order; the newest is listed first
    listing/{...}/{status}/{key}/{version}   empty; sessions by time and status (PART: of another), the newest first
    instances/{key}.json                     the session of an agent instance
    blobs/{key}/{digest}                     values over the field limit
    layout.json                              the version of all this
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from otel_agent_journal.codec import valid_text
from otel_agent_journal.store import keys
from otel_agent_journal.store.protocol import session_of_scope

LAYOUT_VERSION: Final = 1
MAX_KEY_BYTES: Final = 240  # S3 on a file system takes 255 bytes between two slashes
_HASH_BYTES: Final = 24
PART: Final = "PART"  # in the listing, in place of the status of a session that is part of another
_DIGITS: Final = 12
_LAST: Final = 10**_DIGITS - 1
_SLOT_NS: Final = 10 * 10**9  # heads are listed by time in slots of ten seconds, and by their own time within one
_LAST_SLOT: Final = 10**11 - 1


@lru_cache(maxsize=4096)
def key_of(text: str) -> str:
    """Return `store.keys.key_of` of an id, and its hashed form already where it is longer than a file's name."""
    key = keys.key_of(text)
    if len(key) <= MAX_KEY_BYTES:
        return key
    return "~" + blake2b(valid_text(text).encode(), digest_size=_HASH_BYTES).hexdigest()


class Listed(NamedTuple):
    """A place in the listing of sessions, newest first."""

    slot: int
    status: str
    key: str
    version: int


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
        return f"{self.root}blobs/{key}/"

    def blob(self, key: str, digest: str) -> str:
        """Return the name of a blob."""
        return f"{self.root}blobs/{key}/{key_of(digest)}"

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

    def listed(self, key: str, status: str, updated_ns: int, version: int) -> str:
        """Return a session's place in the listing."""
        return f"{self.listing}{_LAST_SLOT - slot_of(updated_ns):012d}/{key_of(status)}/{key}/{version}"

    def listed_from(self, updated_ns: int) -> str:
        """Return the name before which only sessions updated after the slot of this time are listed."""
        return f"{self.listing}{_LAST_SLOT - slot_of(updated_ns):012d}/"

    def place(self, name: str) -> Listed | None:
        """Return what a name in the listing says; None for what somebody else put there."""
        parts = name.removeprefix(self.listing).split("/")
        if len(parts) != 4 or not (parts[0].isdecimal() and parts[3].isdecimal()):
            return None
        slot, status, key, version = parts
        return Listed(_LAST_SLOT - int(slot), status, key, int(version))

    def parts(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the keys of the sessions that some of these names list as part of another."""
        for name in names:
            place = self.place(name) if name.startswith(self.listing) else None
            if place is not None and place.status == PART:
                yield place.key


def slot_of(updated_ns: int) -> int:
    """Return the slot of a time."""
    return max(0, min(updated_ns // _SLOT_NS, _LAST_SLOT))


def number_of_segment(name: str) -> int | None:
    """Return the number of a segment; None for what somebody else put there, as the placeholder of a folder."""
    return _number(name.rpartition("/")[2], ".jsonl")


def _number(name: str, ending: str) -> int | None:
    text = name.removesuffix(ending)
    return int(text) if len(text) == _DIGITS and text.isdecimal() and text != name else None
