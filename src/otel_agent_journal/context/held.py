"""Bodies that may still be taken back: kept in a document in place of their event, which can be replaced and deleted.

An event never changes, and what a guardrail redacts must not be at rest. So the newest message of a user has its body
in a document at first. Its event names that; once an answer follows, the message is settled: an event of its own has
the body, `settles` says whose. What is redacted before is replaced in the document, and nothing else had it.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.context.messages import Message, put_together, taken_apart
from otel_agent_journal.context.pieces import NOTHING, Pieces
from otel_agent_journal.errors import CodecError, StoreError
from otel_agent_journal.store.protocol import Blob, DocumentStore, JournalStore, of_session

_SLOTS: Final = 1_000  # a writer that finds so many bodies of others takes a name of its own
_TRIES: Final = 100  # where others replace a document, too
_WRITTEN_WITHIN_NS: Final = 3_600 * 10**9  # in which a writer has named the body that it has put, if it lives


class Held(NamedTuple):
    """A message whose body is in a document, and the numbers of the events that name it."""

    body: str
    document: str
    message: Message
    numbers: tuple[int, ...]


def can_hold(store: JournalStore) -> bool:
    """Tell whether a store keeps documents."""
    return isinstance(store, DocumentStore) and store.capabilities.documents


class Slot:
    """One document for one body after another; it is this writer's from its first body on. Not thread-safe.

    Args:
        store: which keeps documents.
        session_id: the session that the document goes with.
        instance_id: the agent instance.
        is_settled: tells of a body's id whether an event has it by now; None where no event names it.
    """

    def __init__(
        self, store: JournalStore, session_id: str, instance_id: str, is_settled: Callable[[str], bool | None]
    ) -> None:
        self._pieces = Pieces(store, of_session(session_id))
        self._before = f"context/{instance_id}/held/"
        self._is_settled = is_settled
        self._name = ""
        self._head = NOTHING

    def put(self, body: str, message: Message) -> str:
        """Keep a body in the place of the last one, durably, and return the document's name.

        Args:
            body: its id.
            message: with texts and bytes.
        """
        for number in range(_SLOTS):
            if not self._name:
                self._take(number)
            if not self._name:
                continue
            said = {"body": body, "at": time.time_ns()}
            data = _data_of(message)
            written = self._pieces.write(self._name, said, data, self._head)
            if written is None and (known := self._pieces.head(self._name)) and known.said.get("body") == body:
                written = self._pieces.write(self._name, said, data, known)  # the answer to an earlier one was lost
            if written is not None:
                self._head = written
                return self._name
            self._name = ""
        raise StoreError(f"{self._before}: {_SLOTS} bodies are kept that nobody has settled; nothing was written")

    def clear(self) -> None:
        """Delete the document."""
        if self._name:
            self._pieces.delete(self._name, self._head)
            self._name = ""

    def _take(self, number: int) -> None:
        """Take a name that is free, or whose body is settled."""
        name = f"{self._before}{number}" if number < _SLOTS - 1 else f"{self._before}{os.urandom(8).hex()}"
        known = self._pieces.head(name)
        if known is None:
            self._name, self._head = name, NOTHING
            return
        settled = self._is_settled(str(known.said.get("body")))
        put_ns = known.said.get("at", 0)
        if settled or (settled is None and time.time_ns() - put_ns > _WRITTEN_WITHIN_NS):
            self._name, self._head = name, known


def put_apart(store: JournalStore, session_id: str, instance_id: str, body: str, message: Message) -> dict[str, Any]:
    """Keep a body in a document of its own, for good, and return what its event says of it; idempotent."""
    name = f"context/{instance_id}/held/{body}"
    Pieces(store, of_session(session_id)).write(name, {"body": body, "at": time.time_ns()}, _data_of(message), NOTHING)
    return {"document": name, "body": body}


def body_of(store: JournalStore, session_id: str, held: Mapping[str, Any]) -> Message | None:
    """Return the message that a document keeps, or None where it has another by now, or is gone.

    Args:
        store: the store.
        session_id: of the instance that wrote the event.
        held: what the event's details say of it.
    """
    found = Pieces(store, of_session(session_id)).read(str(held.get("document"))) if can_hold(store) else None
    if found is None or found[0].said.get("body") != held.get("body"):
        return None
    return _message_of(found[1])


def replace_body(store: JournalStore, session_id: str, held: Mapping[str, Any], message: Message) -> bool:
    """Put another message in the place of the one that a document keeps; return whether it was still there."""
    pieces, name = Pieces(store, of_session(session_id)), str(held.get("document"))
    for _ in range(_TRIES):
        known = pieces.head(name)
        if known is None or known.said.get("body") != held.get("body"):
            return False
        said = {"body": held.get("body"), "at": known.said.get("at", 0)}
        if pieces.write(name, said, _data_of(message), known) is not None:
            return True
    return False


def _data_of(message: Message) -> bytes:
    blobs: dict[str, Blob] = {}
    apart = taken_apart({"message": message}, blobs)
    kept = {digest: [blob.media_type, base64.b64encode(blob.data).decode()] for digest, blob in blobs.items()}
    return encode_value({**apart, "blobs": kept})


def _message_of(data: bytes) -> Message | None:
    try:
        kept = cast("dict[str, Any]", decode_value(data))
        blobs = {
            digest: Blob(base64.b64decode(text), media_type)
            for digest, (media_type, text) in cast("dict[str, list[str]]", kept.pop("blobs")).items()
        }
        return cast("Message", put_together(kept, lambda _: blobs)["message"])
    except (CodecError, KeyError, TypeError, ValueError):
        return None  # no body of ours
