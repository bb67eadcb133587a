"""One event, shown to be sealed, in one file: the event, its leaf, and the way from there to signed checkpoints.

Who checks it needs the public key and this file, neither the journal nor this package: see `verify_seal.py`, which is
another implementation of `problems_of`.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import decode_value, encode_line, format_timestamp
from otel_agent_journal.errors import CodecError, StoreError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.seals.keys import check
from otel_agent_journal.seals.leaves import ERASED, MESSAGE_GONE, disclosed, leaf_of
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.notes import BadNote, Checkpoint, PublicKey, read_checkpoint, read_note
from otel_agent_journal.seals.records import Sealed
from otel_agent_journal.seals.stamps import stamps_in
from otel_agent_journal.seals.state import Seals
from otel_agent_journal.seals.tree import includes, inclusion_proof, leaf_hash
from otel_agent_journal.seals.verifying import Anchored
from otel_agent_journal.store.protocol import JournalStore

FORMAT: Final = 1
MAX_BYTES: Final = 64 * 1024 * 1024


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf in a signed tree: its index, what leads to the root, and the checkpoint as a note."""

    index: int
    proof: tuple[str, ...]
    note: str


class AnchorStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of a session in the log as an anchor has it; `stamp` is a time stamp's token."""

    where: str
    at: str | None
    proof: tuple[str, ...]
    note: str
    stamp: str | None = None


class Field(msgspec.Struct, frozen=True):
    """A field that is there: its salt in hex, and its canonical JSON. Their SHA-256 stands in the leaf."""

    salt: str
    text: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The file. `leaf` and `record` are texts, byte by byte what was hashed; `message` is an error's."""

    format: int
    event: Any
    leaf: str
    fields: Mapping[str, Field]
    message: Field | None
    session: Step
    record: str
    log: Step
    anchors: tuple[AnchorStep, ...] = ()


def proof_of(store: JournalStore, event: JournalEvent, anchors: Sequence[Anchored]) -> Proof:
    """Return the proof of an event.

    Args:
        store: which has it.
        event: as it is there.
        anchors: of which those are taken that have the session's record, beside the time stamps that the store keeps.

    Raises:
        StoreError: it is not sealed, or not as it was sealed.
    """
    seals, log = Seals(store, event.session_id), Log(store)
    state, head = seals.state(), log.head()
    if state is None or head is None:
        raise StoreError(f"session {event.session_id} is not sealed; agent-journal seal SESSION does that")
    leaves, at, salt = list[bytes](), -1, b""
    for entry in seals.entries(state):
        if entry.position == (event.timestamp_ns, event.event_id):
            at, salt = len(leaves), entry.salt
        leaves.append(entry.leaf)
    if at < 0:
        raise StoreError(f"event {event.event_id} came after the last seal; seal its session first")
    leaf = leaf_of(event, salt)
    if leaf_hash(leaf) != leaves[at]:
        raise StoreError(f"event {event.event_id} is not what was sealed; agent-journal verify --sealed says more")
    checkpoint = read_checkpoint(read_note(state.note).text)
    root = b64encode(checkpoint.root).decode()
    lines = [line for line, _ in log.records(head)]
    place = next(
        (
            index
            for index, (_, record) in enumerate(log.records(head))
            if isinstance(record, Sealed) and (record.session, record.root) == (event.session_id, root)
        ),
        None,
    )
    if place is None:
        raise StoreError(f"the seal of session {event.session_id} is not in the log yet; agent-journal seal SESSION")
    hashes, origin = [leaf_hash(line) for line in lines], f"{head.store}/log"
    shown = disclosed(event, salt)
    return Proof(
        format=FORMAT,
        event=decode_value(encode_line(event)),
        leaf=leaf.decode(),
        fields={name: _field(*one) for name, one in shown.fields.items()},
        message=None if shown.message is None else _field(*shown.message),
        session=Step(index=at, proof=_texts(inclusion_proof(leaves, at)), note=state.note),
        record=lines[place].decode(),
        log=Step(index=place, proof=_texts(inclusion_proof(hashes, place)), note=head.note),
        anchors=tuple(_anchor_steps([*_of_stamps(store), *((one, None) for one in anchors)], origin, hashes, place)),
    )


def _field(salt: bytes, text: bytes) -> Field:
    return Field(salt.hex(), text.decode())


def _anchor_steps(
    anchors: Sequence[tuple[Anchored, str | None]], origin: str, hashes: Sequence[bytes], place: int
) -> Iterator[AnchorStep]:
    for anchor, stamp in anchors:
        checkpoint = read_checkpoint(anchor.note.text)
        if checkpoint.origin == origin and place < checkpoint.size <= len(hashes):
            yield AnchorStep(
                where=anchor.where,
                at=format_timestamp(anchor.at_ns) if anchor.at_ns else None,
                proof=_texts(inclusion_proof(hashes[: checkpoint.size], place)),
                note=str(anchor.note),
                stamp=stamp,
            )


def _of_stamps(store: JournalStore) -> Iterator[tuple[Anchored, str]]:
    """Yield the checkpoints with a time stamp; when that was, it says itself."""
    for stamp in stamps_in(store):
        with suppress(BadNote):
            yield Anchored(stamp.service, 0, read_note(stamp.note)), stamp.answer


def read_proof(data: bytes) -> Proof:
    """Return the proof of a file's bytes.

    Raises:
        CodecError: they are none.
    """
    try:
        proof = msgspec.json.decode(data, type=Proof)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CodecError(f"not a file of `export --proof`: {error}") from error
    if proof.format != FORMAT:
        raise CodecError(f"a proof of format {proof.format}; this package knows {FORMAT}")
    return proof


def problems_of(proof: Proof, keys: Sequence[PublicKey]) -> list[str]:
    """Return what a proof does not show that it should; nothing where it holds."""
    try:
        leaf: dict[str, Any] = json.loads(proof.leaf)
        problems = [*_of_event(proof, leaf)]
        session = _signed(proof.session.note, keys)
        if not includes(session.root, session.size, leaf_hash(proof.leaf.encode()), *_way(proof.session)):
            problems.append("the event is not in the session's seal")
        record: dict[str, Any] = json.loads(proof.record)
        said = (record["is"], record["session"], record["size"], record["root"])
        if said != ("sealed", leaf["session_id"], session.size, b64encode(session.root).decode()):
            problems.append("the record of the log is of another seal")
        hashed = leaf_hash(proof.record.encode())
        log = _signed(proof.log.note, keys)
        if session.origin.partition("/")[0] != log.origin.partition("/")[0] or not log.origin.endswith("/log"):
            problems.append("the log is another store's")
        if not includes(log.root, log.size, hashed, *_way(proof.log)):
            problems.append("the seal is not in the log")
        for anchor in proof.anchors:
            kept = _signed(anchor.note, keys)
            way = [b64decode(node, validate=True) for node in anchor.proof]
            if kept.origin != log.origin or not includes(kept.root, kept.size, hashed, proof.log.index, way):
                problems.append(f"anchor {anchor.where} does not have the seal")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"it is malformed: {error}"]
    return problems


def _of_event(proof: Proof, leaf: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of the event that is shown is not what its leaf is made of."""
    event: dict[str, Any] = dict(proof.event)
    details: dict[str, Any] = dict(event.get("details") or {})
    gone: dict[str, Any] = details.pop(ERASED, {})
    if proof.fields.keys() != details.keys():
        yield "the event has other fields than the proof"
    for name, field in proof.fields.items():
        if not _is_committed(field, leaf["details"][name]):
            yield f"field '{name}' is not what was sealed"
        if json.loads(field.text) != details.get(name):
            yield f"field '{name}' of the event is not that of the proof"
    error: dict[str, Any] = event.get("error") or {}
    if proof.message is None:
        if error.get("message", MESSAGE_GONE) != MESSAGE_GONE:
            yield "the error's message is not in the proof"
    elif not _is_committed(proof.message, leaf["error"]["message"]) or json.loads(proof.message.text) != error.get(
        "message", ""
    ):
        yield "the error's message is not the one that was sealed"
    if leaf["details"].keys() - proof.fields.keys() - gone.get("fields", {}).keys():
        yield "the event lacks a field that was sealed"
    plain = {name: value for name, value in event.items() if name not in _APART}
    for name, value in plain.items():
        sealed: str = _PLACES.get(name, name)
        if sealed == "timestamp_ns":
            same = format_timestamp(int(leaf["timestamp_ns"])) == value
        else:
            same = leaf.get(sealed) == value
        if not same:
            yield f"'{name}' of the event is not what was sealed"
    there = {_PLACES.get(name, name) for name in plain}
    if leaf.keys() - there - _APART:
        yield "the event lacks something that was sealed"
    if (event.get("usage") or None) != (leaf.get("usage") or None):
        yield "'usage' of the event is not what was sealed"
    if (error.get("type"), error.get("code")) != (
        (leaf.get("error") or {}).get("type"),
        (leaf.get("error") or {}).get("code"),
    ):
        yield "'error' of the event is not what was sealed"


def _is_committed(field: Field, commitment: Mapping[str, str]) -> bool:
    return sha256(bytes.fromhex(field.salt) + field.text.encode()).hexdigest() == commitment["sha256"]


_APART: Final = frozenset(("details", "digest", "error", "usage"))
_PLACES: Final[Mapping[str, str]] = {"event_type": "type", "timestamp": "timestamp_ns", "tool_name": "name"}


def _signed(text: str, keys: Sequence[PublicKey]) -> Checkpoint:
    note = read_note(text)
    if not any(note.signed_by(key, check) for key in keys):
        named = ", ".join(one.name for one in note.signatures)
        raise BadNote(f"a checkpoint is not signed by a key that was given, but by {named}")
    return read_checkpoint(note.text)


def _way(step: Step) -> tuple[int, list[bytes]]:
    return step.index, [b64decode(node, validate=True) for node in step.proof]


def _texts(nodes: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(b64encode(node).decode() for node in nodes)
