"""Checks of what was sealed: the log by its signature and anchors, each session by the log, each event by its leaf.

Nothing that is read here is trusted but the keys and anchors that were given: lists, states and the log are all in the
store, and count only as far as a signed root is made of them. Findings name the event where that is possible.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from otel_agent_journal.codec import DIGEST_BYTES, format_timestamp, intact
from otel_agent_journal.errors import CodecError, JournalError, StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.media import BLOB, WITHIN
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.values import mappings_in
from otel_agent_journal.seals.entries import Entry
from otel_agent_journal.seals.keys import check
from otel_agent_journal.seals.leaves import Unsealable, is_erased, leaf_of
from otel_agent_journal.seals.log import Head, Log, SealBroken, keys_tied
from otel_agent_journal.seals.notes import BadNote, Checkpoint, Note, PublicKey, read_checkpoint, read_note
from otel_agent_journal.seals.records import Deleted, Erased, Record, Sealed
from otel_agent_journal.seals.state import Seals, State
from otel_agent_journal.seals.tree import Frontier, leaf_hash
from otel_agent_journal.store.protocol import BlobStore, JournalStore, PutByOthers

CHECKS: Final = {
    "altered": "a sealed event, or a value it keeps apart, is not what was sealed",
    "missing": "a sealed event, session, or list of a seal is gone, and no deletion was recorded",
    "added": "an event stands among those that were sealed, and was not there then",
    "reordered": "sealed events are read in another order",
    "wrong key": "a checkpoint is not signed by a key that was given",
    "log rolled back": "the log of seals is shorter or other than an anchor has it",
    "erased": "content of sealed events was taken out, and no erasure was recorded",
    "unsealed": "events are not sealed yet; they show nothing",
    "not anchored": "the log has gone on since its newest anchor",
}
SAID_ONLY: Final = ("unsealed", "not anchored")  # how far seals reach, and no sign of a change


class Finding(NamedTuple):
    """What was found. `check` is one of CHECKS."""

    session_id: str
    check: str
    event_id: str | None
    detail: str


class Anchored(NamedTuple):
    """A checkpoint of the log that is kept elsewhere: where, since when it was there, and what it says."""

    where: str
    at_ns: int
    note: Note


class Verdict(NamedTuple):
    """What a session amounts to: sealed events, erased ones among them, and how many are not sealed."""

    sealed: int
    erased: int
    unsealed: int


class Known(NamedTuple):
    """What the log says of sessions, and the keys that it may be signed by."""

    store: str
    keys: list[PublicKey]
    sealed: dict[str, Sealed]
    deleted: dict[str, Deleted]
    erased: dict[str, tuple[set[str], bool]]


def read_log(
    log: Log, trusted: Sequence[PublicKey], anchors: Sequence[Anchored], told: Callable[[Finding], object]
) -> Known | None:
    """Return what the log says, where its signature and its anchors hold; what does not is told.

    Returns:
        None where nothing that it says can be believed; where there is none, what it would say of a store of copies.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    try:
        head = log.head()
        if head is None:
            what = "there is no log of seals; nothing of this store was ever sealed, or the log is gone"
            told(Finding("", "log rolled back" if anchors else "missing", None, what))
            return None if anchors else Known("", list(trusted), {}, {}, {})
        return _log(log, head, trusted, anchors, told)
    except SealBroken as error:
        told(Finding("", "altered", None, str(error)))
        return None


def _log(
    log: Log, head: Head, trusted: Sequence[PublicKey], anchors: Sequence[Anchored], told: Callable[[Finding], object]
) -> Known | None:
    at_sizes = _by_size(anchors, head.store, trusted, told)
    frontier, known = Frontier(), Known(head.store, list(trusted), {}, {}, {})
    followed: list[Record] = []
    reached: dict[int, bytes] = {0: frontier.root()} if 0 in at_sizes else {}
    for data, record in log.records(head):
        frontier.push(leaf_hash(data))
        if frontier.size in at_sizes:
            reached[frontier.size] = frontier.root()
        _take(known, followed, record)
    known.keys[:] = keys_tied(trusted, iter(followed))
    _, problem = checked(head.note, f"{head.store}/log", known.keys)
    rolled_back = False
    for size, found in at_sizes.items():
        for anchor, checkpoint in found:
            if reached.get(size) != checkpoint.root:
                rolled_back = True
                was = f"{size:,} records" if size > frontier.size else "other records"
                detail = f"the log has {frontier.size:,} records; {anchor.where} has it with {was}, {_when(anchor)}"
                told(Finding("", "log rolled back", None, detail))
    if problem is not None:
        told(Finding("", problem[0], None, f"the log of seals: {problem[1]}"))
        return None
    signed = read_checkpoint(read_note(head.note).text)
    if (signed.size, signed.root) != (frontier.size, frontier.root()):
        told(Finding("", "altered", None, "the records of the log of seals are not those that were signed"))
        return None
    newest = max(at_sizes, default=None)
    if newest is not None and not rolled_back and newest < frontier.size:
        last = max((anchor for anchor, _ in at_sizes[newest]), key=lambda one: one.at_ns)
        more = frontier.size - newest
        told(Finding("", "not anchored", None, f"{more:,} records since {last.where}, {_when(last)}"))
    return known


def _take(known: Known, followed: list[Record], record: Record) -> None:
    if isinstance(record, Sealed):
        known.sealed[record.session] = record
        known.deleted.pop(record.session, None)
    elif isinstance(record, Deleted):
        known.deleted[record.session] = record
        known.sealed.pop(record.session, None)
        known.erased.pop(record.session, None)
    elif isinstance(record, Erased):
        events, everything = known.erased.get(record.session, (set(), False))
        known.erased[record.session] = events | set(record.events), everything or record.all
    else:
        followed.append(record)


def _by_size(
    anchors: Sequence[Anchored], store: str, trusted: Sequence[PublicKey], told: Callable[[Finding], object]
) -> dict[int, list[tuple[Anchored, Checkpoint]]]:
    """Return the anchors that are this log's, by how many records it had."""
    found: dict[int, list[tuple[Anchored, Checkpoint]]] = {}
    others: set[str] = set()
    for anchor in anchors:
        try:
            checkpoint = read_checkpoint(anchor.note.text)
        except BadNote as error:
            told(Finding("", "altered", None, f"anchor {anchor.where} is no checkpoint: {error}"))
            continue
        if checkpoint.origin == f"{store}/log":
            found.setdefault(checkpoint.size, []).append((anchor, checkpoint))
        else:
            others.add(checkpoint.origin)
    if others and not found:
        named = ", ".join(sorted(others)[:3])
        told(Finding("", "log rolled back", None, f"the anchors are of other logs than {store}/log: {named}"))
    return found


def checked(text: str, origin: str, keys: Sequence[PublicKey]) -> tuple[Checkpoint | None, tuple[str, str] | None]:
    """Return the checkpoint of a note, and what is wrong with it: which check, and why."""
    try:
        note = read_note(text)
        checkpoint = read_checkpoint(note.text)
    except BadNote as error:
        return None, ("altered", f"its checkpoint cannot be read: {error}")
    if not any(note.signed_by(key, check) for key in keys):
        ids = {(key.name, key.key_id) for key in keys}
        if any((one.name, one.key_id) in ids for one in note.signatures):
            return None, ("altered", "its checkpoint is not what was signed")
        named = ", ".join(sorted(one.name for one in note.signatures))
        return None, ("wrong key", f"it is signed by {named}, which is none of {', '.join(key.name for key in keys)}")
    if checkpoint.origin != origin:
        return None, ("altered", f"its checkpoint is of {checkpoint.origin}")
    return checkpoint, None


def verify_session(
    store: JournalStore, session_id: str, known: Known, told: Callable[[Finding], object]
) -> Verdict | None:
    """Check one session by its seal and by what the log has of it; None where that shows nothing.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    seals = Seals(store, session_id)

    def tell(what: str, detail: str, event_id: str | None = None) -> None:
        told(Finding(session_id, what, event_id, detail))

    logged = known.sealed.get(session_id)
    try:
        state = seals.state()
        if state is None:
            return _unsealed(store, session_id, logged, tell)
        checkpoint, problem = checked(state.note, seals.origin(state.store), known.keys)
        if checkpoint is None or problem is not None:
            tell(*(problem or ("altered", "")))
            return None
        if logged is not None and not _is_logged(checkpoint, logged, tell):
            return None
        if not _is_listed(seals, state, checkpoint, tell):
            return None
        return _Walk(store, seals, state, known, tell).verdict()
    except (SealBroken, CodecError) as error:
        tell("missing" if "gone" in str(error) else "altered", str(error))
        return None


def _unsealed(store: JournalStore, session_id: str, logged: Sealed | None, tell: Callable[..., None]) -> Verdict | None:
    first = next(store.read(session_id), None)
    if logged is not None:
        what = "its seal is gone" if first is not None else "it is gone"
        tell("missing", f"{what}: sealed {logged.at} with {logged.size:,} events, and no deletion was recorded")
        return None
    count = 0 if first is None else sum(1 for _ in store.read(session_id))
    if count:
        tell("unsealed", f"tail of {count:,}: none of its events is sealed")
    return Verdict(0, 0, count)


def _is_logged(checkpoint: Checkpoint, logged: Sealed, tell: Callable[..., None]) -> bool:
    """Tell whether a session's seal is the one that the log has, or a later one, which is not logged yet."""
    if checkpoint.size < logged.size:
        less = f"the log has seal {logged.seal} with {logged.size:,} events, {logged.at}"
        tell("missing", f"its newest seal is gone: {less}; here are {checkpoint.size:,}")
        return False
    if checkpoint.size == logged.size and b64encode(checkpoint.root).decode() != logged.root:
        tell("altered", f"its seal is another than the log has, {logged.at}")
        return False
    return True


def _is_listed(seals: Seals, state: State, checkpoint: Checkpoint, tell: Callable[..., None]) -> bool:
    """Tell whether the list of what was sealed is the one that was signed."""
    frontier = Frontier()
    for entry in seals.entries(state):
        frontier.push(entry.leaf)
    if (frontier.size, frontier.root()) == (checkpoint.size, checkpoint.root):
        return True
    tell("altered", "the list of what was sealed is not the one that was signed; events cannot be named")
    return False


class _Walk:
    """Goes through what was sealed and what is there, side by side."""

    def __init__(
        self, store: JournalStore, seals: Seals, state: State, known: Known, tell: Callable[..., None]
    ) -> None:
        self._store = store
        self._seals = seals
        self._state = state
        self._tell = tell
        self._recorded = known.erased.get(seals.session_id, (set[str](), False))
        self._foreign = state.store != known.store  # a copy: its erasures are in another log
        self._unsealed: list[tuple[tuple[int, str], str]] = []
        self._erased = 0
        self._unrecorded = 0

    def verdict(self) -> Verdict:
        """Return what was found in all, once every finding was told."""
        entries = self._seals.in_order(self._state)
        entry, last, sealed = next(entries, None), None, 0
        for event in self._read():
            position = (event.timestamp_ns, event.event_id)
            if last is not None and position <= last:
                again = position == last
                what = "is there more than once" if again else "is read after a later event"
                self._tell("added" if again else "reordered", f"{event.type} {what}", event.event_id)
                continue
            last = position
            while entry is not None and entry.position < position:
                self._missing(entry)
                entry = next(entries, None)
            if entry is not None and entry.position == position:
                sealed += self._is_as_sealed(event, entry)
                entry = next(entries, None)
            else:
                self._unsealed.append((position, event.type))
        while entry is not None:
            self._missing(entry)
            entry = next(entries, None)
        self._tell_unsealed()
        if self._unrecorded:
            self._tell("erased", f"content of {self._unrecorded:,} events is gone, and no erasure was recorded")
        return Verdict(sealed, self._erased, len(self._unsealed))

    def _read(self) -> Iterator[JournalEvent]:
        """Yield the session's events; where one cannot be read that is told, and those behind it are missing."""
        try:
            yield from self._store.read(self._seals.session_id)
        except StoreUnreachable:
            raise
        except (JournalError, ValueError, TypeError) as error:
            self._tell("altered", f"an event cannot be read, nor those behind it: {error}")

    def _missing(self, entry: Entry) -> None:
        when = format_timestamp(entry.timestamp_ns)
        self._tell("missing", f"an event of {when} was sealed, and is not there", entry.event_id)

    def _is_as_sealed(self, event: JournalEvent, entry: Entry) -> bool:
        try:
            same = leaf_hash(leaf_of(event, entry.salt)) == entry.leaf
        except Unsealable as error:
            self._tell("altered", f"{event.type}: {error}", event.event_id)
            return False
        if not same or not intact(event):
            self._tell("altered", f"{event.type} was changed after it was sealed", event.event_id)
            return False
        if is_erased(event):
            events, everything = self._recorded
            self._erased += 1
            self._unrecorded += not (self._foreign or everything or event.event_id in events)
        return self._has_values(event)

    def _has_values(self, event: JournalEvent) -> bool:
        """Tell whether what an event keeps apart is there, and what it says."""
        wanted = sorted(set(_values_of(event)))
        if not wanted or not isinstance(self._store, BlobStore):
            return True
        fine = True
        found = self._store.get_blobs(event.session_id, wanted)
        for digest in wanted:
            blob = found.get(digest)
            if blob is None or blake2b(blob.data, digest_size=DIGEST_BYTES).hexdigest() != digest:
                what = "missing" if blob is None else "altered"
                self._tell(what, f"{event.type}: the value {digest} that it keeps apart is {what}", event.event_id)
                fine = False
        return fine

    def _tell_unsealed(self) -> None:
        """Tell what is not sealed: behind the seal's cursor it came later, before it somebody put it in."""
        if not self._unsealed:
            return
        cursor, session_id = self._state.cursor, self._seals.session_id
        behind: set[tuple[int, str]] | None = None
        if cursor is not None and not isinstance(self._store, PutByOthers):
            behind = set()
            while (page := self._store.follow(cursor, session_id=session_id)).events:
                behind.update((event.timestamp_ns, event.event_id) for event in page.events)
                cursor = page.cursor
        tail = 0
        for position, kind in self._unsealed:
            if behind is not None and position not in behind:
                self._tell("added", f"{kind} came before the seal, and was not there then", position[1])
            else:
                tail += 1
        if tail:
            self._tell("unsealed", f"tail of {tail:,}: events that came after seal {self._state.number}")


def _values_of(event: JournalEvent) -> Iterator[str]:
    """Yield the digests of what an event keeps apart, but for what was lost before it was written."""
    for one in mappings_in(dict(event.details), lambda mapping: not refers_to_blob(mapping)):
        if refers_to_blob(one) and "lost" not in one:
            yield one[BLOB]
            within = one.get(WITHIN)
            yield from within if isinstance(within, list) else ()


def sessions_of(known: Known) -> Iterable[str]:
    """Return the sessions that should be there by the log."""
    return list(known.sealed)


def _when(anchor: Anchored) -> str:
    return format_timestamp(anchor.at_ns) if anchor.at_ns else "at a time that is not known"
