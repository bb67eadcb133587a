"""The log of a store's seals: records in documents of the store, and a signed checkpoint over all of them.

One document is its head: the checkpoint, the frontier of the tree, and the newest records. It is replaced over the
version that was seen, so of two writers one goes first. What no longer needs to be in it, is written to documents of
its own before: these records are signed already, and so the same whoever writes them.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.errors import JournalError, StoreError, UnsupportedByStore
from otel_agent_journal.seals.keys import Signer, check
from otel_agent_journal.seals.notes import BadNote, Checkpoint, Note, PublicKey, read_checkpoint, read_note, signed
from otel_agent_journal.seals.records import Followed, Record, line_of, record_of
from otel_agent_journal.seals.tree import Frontier, leaf_hash
from otel_agent_journal.store.protocol import BlobStore, Document, DocumentStore, JournalStore

SCOPE: Final = "seals"
HEAD: Final = "head"
FORMAT: Final = 1
TOGETHER: Final = 128  # records in a document
_TRIES: Final = 50  # against others that write to the log
_MOST_AT_ONCE: Final = 256  # records that come at once: the head stays below what a document may have


class SealBroken(StoreError):
    """What was sealed is not what it was; nothing is signed over it. `agent-journal verify --sealed` says more."""

    exit_code = 5


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The log as of now. `newest` are the last records, `size` counts all; `version` is the document's."""

    store: str
    note: str
    size: int
    nodes: tuple[str, ...]
    newest: tuple[str, ...]
    format: int = FORMAT
    version: int = 0


class Log:
    """The log of seals of a store.

    Raises:
        UnsupportedByStore: the store keeps no documents or values, or cannot be read.
    """

    def __init__(self, store: JournalStore) -> None:
        can = store.capabilities
        for capability in ("read", "documents", "blobs"):
            if not getattr(can, capability):
                raise UnsupportedByStore(store.url, capability, "seal where the events come to")
        if not isinstance(store, DocumentStore) or not isinstance(store, BlobStore):
            raise UnsupportedByStore(store.url, "documents")
        self._documents = cast("DocumentStore", store)
        self._url = store.url

    def head(self) -> Head | None:
        """Return the log's head, None where nothing was ever sealed.

        Raises:
            SealBroken: what is there is no head.
        """
        document = self._documents.get_document(SCOPE, HEAD)
        return None if document is None else self._read(document)

    def begin(self, signer: Signer) -> Head:
        """Return the head of the log, which is made if there is none."""
        for _ in range(_TRIES):
            head = self.head()
            if head is not None:
                return head
            store = os.urandom(8).hex()
            note = signed_checkpoint(f"{store}/log", Frontier(), signer)
            self._put(Head(store=store, note=str(note), size=0, nodes=(), newest=()))
        raise StoreError(f"the log of seals in {self._url} cannot be begun; try again")

    def append(self, records: Sequence[Record], signer: Signer) -> Head:
        """Write records, and sign the log as it is then; durable when it returns.

        Raises:
            SealBroken: the log is not as it was signed, or was signed by another key: nothing was written.
        """
        head = self.begin(signer)
        for start in range(0, len(records), _MOST_AT_ONCE):
            head = self._append(records[start : start + _MOST_AT_ONCE], signer)
        return head

    def resign(self, records: Sequence[Record], signer: Signer, before: Signer) -> Head:
        """Write records and sign the log by another key than before."""
        return self._append(records, signer, before=before)

    def records(self, head: Head) -> Iterator[tuple[bytes, Record]]:
        """Yield the records of the log up to a head, with their bytes.

        Raises:
            SealBroken: one is missing, or is none.
        """
        whole = (head.size - len(head.newest)) // TOGETHER
        for number in range(whole):
            document = self._documents.get_document(SCOPE, _name(number))
            if document is None:
                raise SealBroken(f"the log of seals in {self._url} lacks its records from {number * TOGETHER:,} on")
            yield from self._taken(self._lines(document))
        yield from self._taken(head.newest)

    def keys_after(self, trusted: Sequence[PublicKey], head: Head) -> list[PublicKey]:
        """Return the keys that are trusted, and those that are tied to them by records that both have signed."""
        return keys_tied(trusted, (record for _, record in self.records(head)))

    def _append(self, records: Sequence[Record], signer: Signer, before: Signer | None = None) -> Head:
        lines = [line_of(record) for record in records]
        for _ in range(_TRIES):
            head = self.begin(signer)
            frontier = self.trusted_frontier(head, (before or signer).public)
            for line in lines:
                frontier.push(leaf_hash(line))
            newest = list(head.newest)
            first = (head.size - len(newest)) // TOGETHER
            while len(newest) >= TOGETHER:
                self._spill(first, newest[:TOGETHER])
                newest, first = newest[TOGETHER:], first + 1
            written = Head(
                store=head.store,
                note=str(signed_checkpoint(f"{head.store}/log", frontier, signer)),
                size=frontier.size,
                nodes=tuple(b64encode(node).decode() for node in frontier.nodes),
                newest=(*newest, *(line.decode() for line in lines)),
                version=head.version,
            )
            if self._put(written):
                return written
        raise StoreError(f"the log of seals in {self._url} is written to all the time; try again")

    def trusted_frontier(self, head: Head, key: PublicKey) -> Frontier:
        """Return the tree that a head says it is, if a key has signed that.

        Raises:
            SealBroken: it has not, or it is another tree.
        """
        return trusted_frontier(head.note, f"{head.store}/log", head.nodes, [key], f"the log of seals in {self._url}")

    def _spill(self, number: int, lines: Sequence[str]) -> None:
        document = Document(scope=SCOPE, name=_name(number), data=msgspec.json.encode(lines))
        if self._documents.put_document(document) is None:
            there = self._documents.get_document(SCOPE, document.name)
            if there is None or there.data != document.data:
                raise SealBroken(f"the log of seals in {self._url} has other records from {number * TOGETHER:,} on")

    def _put(self, head: Head) -> bool:
        data = msgspec.json.encode(msgspec.structs.replace(head, version=0))
        return (
            self._documents.put_document(Document(scope=SCOPE, name=HEAD, data=data, version=head.version)) is not None
        )

    def _read(self, document: Document) -> Head:
        try:
            head = msgspec.json.decode(document.data, type=Head)
        except (msgspec.DecodeError, ValueError) as error:
            raise SealBroken(f"the log of seals in {self._url} cannot be read: {error}") from error
        if head.format != FORMAT or (head.size - len(head.newest)) % TOGETHER or head.size < len(head.newest):
            raise SealBroken(f"the log of seals in {self._url} is of a form that is not known here")
        return msgspec.structs.replace(head, version=document.version)

    def _lines(self, document: Document) -> list[str]:
        try:
            return msgspec.json.decode(document.data, type=list[str])
        except (msgspec.DecodeError, ValueError) as error:
            raise SealBroken(f"the log of seals in {self._url}: {document.name} cannot be read") from error

    def _taken(self, lines: Sequence[str]) -> Iterator[tuple[bytes, Record]]:
        for line in lines:
            data = line.encode()
            try:
                yield data, record_of(data)
            except JournalError as error:
                raise SealBroken(f"the log of seals in {self._url}: {error}") from error


def signed_checkpoint(origin: str, frontier: Frontier, signer: Signer) -> Note:
    """Return the checkpoint of a tree, signed."""
    return signed(Checkpoint(origin, frontier.size, frontier.root()).text, signer.public, signer.sign)


def trusted_frontier(note: str, origin: str, nodes: Sequence[str], keys: Sequence[PublicKey], whose: str) -> Frontier:
    """Return the tree of a signed checkpoint, if one of the keys has signed it and it is of that origin and tree.

    Raises:
        SealBroken: it is not.
    """
    try:
        found = read_note(note)
        checkpoint = read_checkpoint(found.text)
        frontier = Frontier(checkpoint.size, [b64decode(node, validate=True) for node in nodes])
    except (BadNote, ValueError) as error:
        raise SealBroken(f"{whose} has no checkpoint that can be read: {error}") from error
    if not any(found.signed_by(key, check) for key in keys):
        named = ", ".join(sorted({one.name for one in found.signatures}))
        raise SealBroken(f"{whose} was not signed by {' nor '.join(key.name for key in keys)}, but by {named}")
    if checkpoint.origin != origin or frontier.root() != checkpoint.root:
        raise SealBroken(f"{whose} is not what was signed")
    return frontier


def keys_tied(trusted: Sequence[PublicKey], records: Iterator[Record]) -> list[PublicKey]:
    """Return trusted keys, and those tied to one of them by a note that both have signed."""
    from otel_agent_journal.seals.rotating import keys_in

    known = list(trusted)
    pairs = [pair for one in records if isinstance(one, Followed) and (pair := keys_in(one.note)) is not None]
    changed: Callable[[Any], bool] = lambda pair: (pair[0] in known) != (pair[1] in known)  # noqa: E731
    while fresh := [pair for pair in pairs if changed(pair)]:
        known += [key for pair in fresh for key in pair if key not in known]
    return known


def _name(number: int) -> str:
    return f"log/{number:012d}"
