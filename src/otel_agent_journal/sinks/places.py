"""How far each sink is, kept in the store that it follows: a document with its cursor, and whose turn it is to send.

A cursor is moved only by who has seen the last one. The turn saves work, no more: two who send at once send everything
twice, each in order, so that what comes first of each event comes in order still. A holder that died on this machine is
known to be dead, of another machine's its turn runs out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Final, cast

import msgspec

from otel_agent_journal.errors import NewerSchema, StoreError, UnsupportedByStore
from otel_agent_journal.masking import masked
from otel_agent_journal.sinks.registry import without_begin
from otel_agent_journal.spool.processes import process_of, still_runs
from otel_agent_journal.store.identity import identity_of
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore

SCOPE: Final = "sinks"
FORMAT: Final = 1
TURN_NS: Final = 30 * 1_000_000_000  # how long a turn lasts that is not renewed


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process whose turn it is, until then. `token` tells two shippers of one process apart."""

    token: str
    pid: int
    process: str
    host: str
    until_ns: int

    def holds(self, now_ns: int) -> bool:
        """Tell whether it may still send: its turn has not run out, and nobody can see that it died."""
        return self.until_ns > now_ns and still_runs(self.process, self.pid, self.host) is not False


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sink is. Times are UTC nanoseconds, 0 where there was none.

    `name` is that of its document, `url` may be printed, `cursor` is behind what was taken, None: the beginning. `sent`
    and `withheld` count since it was first sent anything. `error` is why it takes nothing now, None where it does.
    `version` is the store's, 0 before it was ever written.
    """

    name: str
    url: str
    cursor: str | None = None
    began_ns: int = 0
    sent: int = 0
    sent_ns: int = 0
    withheld: int = 0
    error: str | None = None
    error_ns: int = 0
    holder: Holder | None = None
    version: int = 0

    def is_held(self, now_ns: int) -> bool:
        """Tell whether somebody sends to it now."""
        return self.holder is not None and self.holder.holds(now_ns)


class _Format(msgspec.Struct, frozen=True):
    format: int


class _Kept(msgspec.Struct, frozen=True):
    format: int
    place: Place


def name_of(url: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the name of a sink, the same for each URL of it, whatever options and credentials it is reached by."""
    identity = identity_of(without_begin(url), os.environ if environ is None else environ)
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def holder_here(token: str, now_ns: int) -> Holder:
    """Return this process as the holder of a turn that begins now."""
    pid = os.getpid()
    return Holder(token=token, pid=pid, process=process_of(pid), host=socket.gethostname(), until_ns=now_ns + TURN_NS)


class Places:
    """The places of a store's sinks.

    Raises:
        UnsupportedByStore: the store keeps no documents, or cannot be read.
    """

    def __init__(self, store: JournalStore) -> None:
        can = store.capabilities
        if not (can.read and can.documents) or not isinstance(store, DocumentStore):
            missing = "documents" if can.read else "read"
            raise UnsupportedByStore(store.url, missing, "have sinks follow the store that the events come to")
        self._url = store.url
        self._documents = cast("DocumentStore", store)

    def all(self) -> Iterator[Place]:
        """Yield the places of all sinks that were ever sent anything of this store, in order of their names."""
        for document in self._documents.documents(SCOPE):
            yield self._read(document)

    def get(self, name: str) -> Place | None:
        """Return a place, None where there is none."""
        document = self._documents.get_document(SCOPE, name)
        return None if document is None else self._read(document)

    def put(self, place: Place) -> Place | None:
        """Write a place over the version that it has; return it with its new one, None where another was first."""
        data = msgspec.json.encode(_Kept(FORMAT, msgspec.structs.replace(place, version=0, url=masked(place.url))))
        document = Document(scope=SCOPE, name=place.name, data=data, version=place.version)
        written = self._documents.put_document(document)
        return None if written is None else msgspec.structs.replace(place, version=written.version)

    def forget(self, place: Place) -> bool:
        """Delete a place of this version; tell whether it was deleted."""
        return self._documents.delete_document(SCOPE, place.name, place.version)

    def change(self, name: str, changed: Callable[[Place], Place]) -> Place | None:
        """Write what becomes of a place, whoever else writes it meanwhile; None where there is none."""
        while (known := self.get(name)) is not None:
            if (written := self.put(changed(known))) is not None:
                return written
        return None

    def _read(self, document: Document) -> Place:
        try:
            written = msgspec.json.decode(document.data, type=_Format).format
            if written > FORMAT:
                raise NewerSchema(f"store {self._url}: what is known of sink {document.name}", written, FORMAT)
            place = msgspec.json.decode(document.data, type=_Kept).place
        except msgspec.DecodeError as error:
            raise StoreError(
                f"store {self._url}: what is known of sink {document.name} cannot be read ({error}); begin it anew:"
                f" agent-journal sinks forget {document.name}"
            ) from error
        return msgspec.structs.replace(place, version=document.version)
