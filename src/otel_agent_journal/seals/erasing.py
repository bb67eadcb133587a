"""Content of a session's events taken out for good, while its seal goes on to hold.

No store changes an event. So the session is written to a file on this machine without that content, deleted, and taken
in again from the file; the file stays until all of it is in the store, and a broken-off erasure goes on from there. The
log says before which events are erased. What is metadata stays: which fields these are, `mapping/harmless.py` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.codec import decode_line, encode_line, format_timestamp
from otel_agent_journal.errors import StoreError, UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.harmless import harmless_fact
from otel_agent_journal.places import make_folder
from otel_agent_journal.reading.copying import blobs_of
from otel_agent_journal.reading.written_out import Import, blob_line
from otel_agent_journal.seals.carrying import Carried, taken_in, written_out
from otel_agent_journal.seals.entries import Entry
from otel_agent_journal.seals.keys import Signer
from otel_agent_journal.seals.leaves import ERASED, NO_SALT, SALT_BYTES, erased
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.records import MOST_NAMED, Erased, Record
from otel_agent_journal.seals.state import NAME, Seals
from otel_agent_journal.store.deleting import delete_alone
from otel_agent_journal.store.keys import key_of
from otel_agent_journal.store.protocol import (
    BlobStore,
    Document,
    DocumentStore,
    Erases,
    JournalStore,
    StoreAdmin,
    of_session,
)

SUFFIX: Final = ".erasing"


class Emptied(NamedTuple):
    """How many events of a session lost content, and whether the session was sealed."""

    session_id: str
    events: int
    sealed: bool


class _Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What a session has beside its events, as the last line of the file: without it, the file is not whole."""

    seal: Carried | None
    documents: tuple[tuple[str, bytes], ...]
    events: int
    sealed: bool


def erase(
    store: JournalStore,
    session_id: str,
    wanted: Sequence[str],
    signer: Signer | None,
    folder: Path,
    clock: Callable[[], int],
) -> Emptied:
    """Erase content of a session in which nobody is at work.

    Args:
        store: which can delete.
        session_id: the session.
        wanted: ids of events; none for all that it has.
        signer: for the log; needed where the session is sealed.
        folder: on this machine, for the file that the session is in meanwhile.
        clock: returns UTC nanoseconds.

    Raises:
        UnsupportedByStore: it cannot delete, or keeps no documents.
        SealBroken: the log is not as it was signed; nothing was erased.
        StoreError: the session is sealed, and there is no key; or an event is not there. Nothing was erased.
        StoreUnreachable: and other errors of the store; the same call goes on.
    """
    if not (store.capabilities.prune and isinstance(store, StoreAdmin) and isinstance(store, DocumentStore)):
        raise UnsupportedByStore(store.url, "delete_session")
    file = folder / f"{key_of(session_id)[:200]}{SUFFIX}"
    if not file.exists():
        make_folder(folder)
        sealed = Seals(store, session_id).state() is not None
        if sealed and signer is None:
            raise StoreError(f"session {session_id} is sealed; give --key, so that the log says what was erased")
        changed = _write(store, session_id, frozenset(wanted), file.with_suffix(".new"), sealed=sealed)
        if sealed and signer is not None and changed:
            Log(store).append(_records(session_id, changed if wanted else [], clock()), signer)
        file.with_suffix(".new").replace(file)
    rest = _rest(file)
    if rest.events:
        delete_alone(store, session_id)
        _take_in(store, session_id, file, rest)
    file.unlink()
    if isinstance(store, Erases):
        store.erase()
    return Emptied(session_id, rest.events, rest.sealed)


def _write(store: JournalStore, session_id: str, wanted: frozenset[str], path: Path, *, sealed: bool) -> list[str]:
    """Write a session without that content to a file; return which events have changed."""
    salts = _salts(store, session_id) if sealed else {}
    changed: list[str] = []
    told: set[str] = set()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for event in store.read(session_id):
            if not wanted or event.event_id in wanted:
                salt = salts.get((event.timestamp_ns, event.event_id)) or os.urandom(SALT_BYTES)
                emptied = _without_content(event, salt)
                if emptied is not event:
                    changed.append(event.event_id)
                    event = emptied  # noqa: PLW2901 - what is written
            for line in _blob_lines(store, event, told):
                file.write(line + b"\n")
            file.write(encode_line(event) + b"\n")
        missing = wanted - set(changed)
        if missing and not changed:
            raise StoreError(f"session {session_id}: of {', '.join(sorted(missing)[:5])} nothing can be erased")
        gone = frozenset(changed)
        rest = _Rest(
            seal=written_out(store, session_id, lambda entry: _forgotten(entry, gone)) if sealed else None,
            documents=tuple(_documents(store, session_id)) if wanted else (),
            events=len(changed),
            sealed=sealed,
        )
        file.write(msgspec.json.encode(rest) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return changed


def _without_content(event: JournalEvent, salt: bytes) -> JournalEvent:
    """Return an event without what may be content; itself, where it has none."""
    harmless = harmless_fact(event)
    kept = {
        name for name, value in event.details.items() if name in harmless.details and harmless.details[name] == value
    }
    own = event.details.keys() - {ERASED}
    has_message = event.error is not None and harmless.error != event.error
    return event if kept >= own and not has_message else erased(event, salt, kept)


def _forgotten(entry: Entry, gone: frozenset[str]) -> Entry:
    return msgspec.structs.replace(entry, salt=NO_SALT) if entry.event_id in gone else entry


def _salts(store: JournalStore, session_id: str) -> dict[tuple[int, str], bytes]:
    seals = Seals(store, session_id)
    state = seals.state()
    return {} if state is None else {entry.position: entry.salt for entry in seals.entries(state)}


def _blob_lines(store: JournalStore, event: JournalEvent, told: set[str]) -> Iterator[bytes]:
    wanted = [one for one in dict.fromkeys(blobs_of(event.details)) if one not in told]
    if wanted and isinstance(store, BlobStore):
        told.update(wanted)
        for digest, blob in store.get_blobs(event.session_id, wanted).items():
            yield blob_line(event.session_id, digest, blob)


def _documents(store: JournalStore, session_id: str) -> Iterator[tuple[str, bytes]]:
    """Yield the documents of a session but its seals: an agent's context may need them."""
    assert isinstance(store, DocumentStore)
    for document in store.documents(of_session(session_id)):
        if document.name != NAME and not document.name.startswith(f"{NAME}/"):
            yield document.name, document.data


def _records(session_id: str, events: Sequence[str], now_ns: int) -> list[Record]:
    at = format_timestamp(now_ns)
    if not events:
        return [Erased(session=session_id, all=True, at=at)]
    return [
        Erased(session=session_id, events=tuple(events[start : start + MOST_NAMED]), at=at)
        for start in range(0, len(events), MOST_NAMED)
    ]


def _rest(file: Path) -> _Rest:
    with file.open("rb") as lines:
        last = b""
        for line in lines:
            last = line
    try:
        return msgspec.json.decode(last, type=_Rest)
    except (msgspec.DecodeError, ValueError) as error:
        raise StoreError(f"{file} is not whole; it is of an erasure that had not begun: delete it") from error


def _take_in(store: JournalStore, session_id: str, file: Path, rest: _Rest) -> None:
    def refused(number: int, why: str) -> None:
        raise StoreError(f"session {session_id}: line {number} of {file} is not taken: {why}; the file is kept")

    with file.open("rb") as source:
        lines = (line for line in source if not line.startswith(b'{"seal":'))
        for _ in Import(store, insist=lambda call: call(), told=refused).take(lines):
            pass
    assert isinstance(store, DocumentStore)
    for name, data in rest.documents:
        there = store.get_document(of_session(session_id), name)
        if there is None:
            store.put_document(Document(scope=of_session(session_id), name=name, data=data))
    if rest.seal is not None:
        taken_in(store, rest.seal)
    _check(store, session_id, file)


def _check(store: JournalStore, session_id: str, file: Path) -> None:
    """See to it that the store has every event of the file before that goes."""
    there = {event.key for event in store.read(session_id)}
    with file.open("rb") as lines:
        wanted = {decode_line(line).key for line in lines if b'"event_id"' in line and not line.startswith(b'{"seal":')}
    if not wanted <= there:
        raise StoreError(f"session {session_id} is not whole after its erasure; {file} is kept: run it again")
