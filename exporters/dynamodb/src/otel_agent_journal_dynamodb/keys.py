"""The keys of the one table, and of its indexes. Pure.

PK                    SK                              what
SESSION#{session}     EVENT#{timestamp}#{event_id}    an event
SESSION#{session}     META                            the session's head
SESSION#{session}     INSTANCE#{instance}             an agent instance: its next sequence number
SESSION#{session}     BLOB#{digest}#{n}               a chunk of an oversize value
SESSION#{session}     DOCUMENT#{name}             a document that goes with the session
DOCUMENTS#{scope}     DOCUMENT#{name}             another document
SESSION#{session}     ARRIVED#{number}                a record of which of its events arrived (`logs`, `arrivals`)
INSTANCE#{instance}   META                            which session an instance is in
INSTANCE#{instance}   ID#{event_id}                   an id that the instance has used
ACTIVE#{hour}#{n}     {time}#{session}                that a session had a record put at that time (`activity`)
UNSETTLED#{n}         {session}#{holder}              a mark: a store object that writes the session (`markers`)
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from otel_agent_journal.codec import format_timestamp, valid_text
from otel_agent_journal.store.keys import key_of, session_of
from otel_agent_journal.store.protocol import session_of_scope

EVENT: Final = "EVENT#"
AFTER_EVENTS: Final = "EVENT$"  # the first text after all that begin with EVENT#
HEAD: Final = "META"
INSTANCE: Final = "INSTANCE#"
DOCUMENT: Final = "DOCUMENT#"
ARRIVED: Final = "ARRIVED#"
BY_SEQ: Final = "by_seq"
BY_UPDATED: Final = "by_updated"
LISTS: Final = 4  # partitions of the index of heads, of marks, and of activity; each takes 1,000 writes a second
LAST: Final = "\U0010ffff"  # behind every sort key

Key = tuple[str, str]  # PK, SK


def session_key(session_id: str) -> str:
    """Return the partition of a session."""
    return "SESSION#" + key_of(session_id)


def session_of_key(partition: str) -> str | None:
    """Return the session of a partition; None where its id is hashed, or it is no session's."""
    return session_of(partition.removeprefix("SESSION#")) if partition.startswith("SESSION#") else None


def marks_of(partition: str) -> str:
    """Return the partition where the marks of a session are, among others."""
    return f"UNSETTLED#{share_of(partition, LISTS)}"


def mark_key(partition: str, holder: str = "") -> str:
    """Return the sort key of a holder's mark of a session; without one, how those of the session begin."""
    return f"{partition.removeprefix('SESSION#')}#{holder}"


def activity_of(at_ns: int, share: int) -> str:
    """Return the partition of what happened in the hour of a time, to the sessions of one share."""
    return f"ACTIVE#{format_timestamp(at_ns)[:13]}#{share}"


def activity_key(at_ns: int, partition: str = "") -> str:
    """Return the sort key of what happened to a session; without one, how those of that time begin."""
    return f"{at_ns:020d}#{partition.removeprefix('SESSION#')}"


def record_key(number: int) -> str:
    """Return the sort key of a record of arrivals."""
    return f"{ARRIVED}{number:016d}"


def event_key(timestamp: str, event_id: str) -> str:
    """Return the sort key of an event; `timestamp` is the formatted one."""
    return f"EVENT#{timestamp}#{event_id if event_id.isascii() else valid_text(event_id)}"


def second_of(sort_key: str) -> str:
    """Return the part of an event's sort key down to its second: `EVENT#2026-01-31T12:00:00`."""
    return sort_key[:25]


def from_second(timestamp_ns: int) -> str:
    """Return the first sort key of an event in the second of a time."""
    return EVENT + format_timestamp(timestamp_ns)[:19]


def instance_key(instance_id: str) -> str:
    """Return the partition of an agent instance, which is its sort key in its session, too."""
    return INSTANCE + key_of(instance_id)


def used_id(event_id: str) -> str:
    """Return the sort key that says that an instance has used an id."""
    return "ID#" + valid_text(event_id)


def sequence_key(instance_id: str, seq: int) -> str:
    """Return the key of a context event in the index `by_seq`."""
    return f"{key_of(instance_id)}#{seq:016d}"


def blob_key(digest: str, chunk: int) -> str:
    """Return the sort key of a chunk of a value."""
    return f"BLOB#{digest}#{chunk:06d}"


def documents_of(scope: str) -> str:
    """Return the partition of the documents of a scope: that of the session that they go with, if they do."""
    session_id = session_of_scope(scope)
    return f"DOCUMENTS#{key_of(scope)}" if session_id is None else session_key(session_id)


def document_key(name: str) -> str:
    """Return the sort key of a document."""
    return DOCUMENT + key_of(name)


def share_of(text: str, parts: int) -> int:
    """Return which of `parts` a text belongs to, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") % parts
