"""What of an event is sealed: its leaf, in which content stands as salted commitments. Pure.

A leaf is the canonical JSON of an event in which each field of `details`, and an error's message, is replaced by a
SHA-256 of its salt and its own canonical JSON. So content can be erased later, and the leaf stays what it was: the
commitment takes the content's place, and its salt is gone. Which fields are content is nobody's matter here.

An event that was erased says so in its details under `$erased`: the commitments of what is gone, and the salts of what
is still there. `digest` is in no leaf: it is made of the content without a salt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.codec import encode_canonical, sealed
from otel_agent_journal.event import JournalEvent

SALT_BYTES: Final = 16
NO_SALT: Final = bytes(SALT_BYTES)  # of an event whose salt is gone
ERASED: Final = "$erased"
MESSAGE_GONE: Final = "erased"  # in the place of an error's message
_PERSON: Final = b"journal-salt"
_MESSAGE: Final = b"\x01"  # apart from every field of details, whose names are text behind a zero byte
_to_json: Final = msgspec.json.Encoder(order="deterministic").encode
_to_sorted_json: Final = msgspec.json.Encoder(order="sorted").encode


class Unsealable(ValueError):
    """An event of which no leaf can be made: what it says of its erasure contradicts itself."""


def leaf_of(event: JournalEvent, salt: bytes) -> bytes:
    """Return the bytes of an event's leaf: JSON with sorted keys.

    Args:
        event: as the store has it.
        salt: the event's own, of which those of its fields are made.

    Raises:
        Unsealable: `$erased` in its details is malformed.
    """
    details = event.details
    if ERASED in details:
        return _leaf(event, *_commitments_of_erased(event, salt))
    error = event.error
    message = None if error is None else _commitment(_salt(salt, _MESSAGE), _text(error.message))
    fields: dict[str, _Committed] = {}
    for name, value in details.items():  # `_salt` and `_commitment`, here where each event comes by
        own = blake2b(_name(name), digest_size=SALT_BYTES, key=salt, person=_PERSON).digest()
        fields[name] = _Committed(sha256(own + encode_canonical(value)).hexdigest())
    return _leaf(event, fields, message)


Shown = tuple[bytes, bytes]  # a salt, and the canonical JSON that was hashed behind it


class Disclosed(NamedTuple):
    """Of each field that is there, and of an error's message, what its commitment is made of."""

    fields: dict[str, Shown]
    message: Shown | None


def disclosed(event: JournalEvent, salt: bytes) -> Disclosed:
    """Return what the commitments of an event are made of.

    Raises:
        Unsealable: `$erased` in its details is malformed.
    """
    own = _erased(event)
    salts: Mapping[str, bytes] = {} if own is None else own.salts
    fields = {
        name: (salts[name] if own is not None else _salt(salt, _name(name)), encode_canonical(value))
        for name, value in event.details.items()
        if name != ERASED
    }
    if event.error is None or (own is not None and own.message is not None):
        return Disclosed(fields, None)
    of_message = _salt(salt, _MESSAGE) if own is None else own.message_salt
    return Disclosed(fields, (of_message, _text(event.error.message)))


def erased(event: JournalEvent, salt: bytes, kept: Collection[str]) -> JournalEvent:
    """Return an event without the content of its fields but those kept, its leaf the same, its digest a new one.

    The event's salt is to be forgotten: what is kept has its own with it. An error's message goes, too.

    Raises:
        Unsealable: `$erased` in its details is malformed.
    """
    shown = disclosed(event, salt)
    before = _erased(event)
    gone = {} if before is None else dict(before.fields)
    message = None if before is None else before.message
    details: dict[str, Any] = {}
    salts: dict[str, str] = {}
    for name, value in event.details.items():
        if name == ERASED:
            continue
        if name in kept:
            details[name], salts[name] = value, shown.fields[name][0].hex()
        else:
            gone[name] = _commitment(*shown.fields[name])
    note: dict[str, Any] = {"fields": gone, "salts": salts}
    error = event.error
    if error is not None and shown.message is not None:
        if error.message:
            message = _commitment(*shown.message)
            error = msgspec.structs.replace(error, message=MESSAGE_GONE)
        else:
            note["message_salt"] = shown.message[0].hex()
    if message is not None:
        note["message"] = message
    details[ERASED] = note
    return _redigested(msgspec.structs.replace(event, details=details, error=error), event)


def is_erased(event: JournalEvent) -> bool:
    """Tell whether content of an event was erased."""
    return ERASED in event.details


def _redigested(changed: JournalEvent, event: JournalEvent) -> JournalEvent:
    return changed if event.digest is None else sealed(changed)


def _leaf(event: JournalEvent, fields: Mapping[str, _Committed], message: str | None) -> bytes:
    error, usage = event.error, event.usage
    return _to_json(
        _Leaf(
            event.attempt,
            fields,
            event.digest is not None,
            event.duration_ns,
            None if error is None else _LeafError(error.code, _Committed(message), error.type),
            event.event_id,
            event.instance_id,
            event.level,
            event.name,
            event.outcome,
            event.parent_step_id,
            event.schema_version,
            event.seq,
            event.session_id,
            event.span_id,
            event.step_id,
            str(event.timestamp_ns),
            event.trace_id,
            event.type,
            None if usage is None else msgspec.Raw(_to_sorted_json(usage)),
            event.writer,
        )
    )


class _Committed(msgspec.Struct, frozen=True):
    """What stands for content."""

    sha256: str | None


class _LeafError(msgspec.Struct, frozen=True):
    """An error as a leaf has it."""

    code: str | None
    message: _Committed
    type: str


class _Leaf(msgspec.Struct, frozen=True, omit_defaults=True):
    """A leaf: every field of an event, in the order of their names, since it is encoded as they stand here."""

    attempt: int | None = None
    details: Mapping[str, _Committed] | None = None  # always there
    digest: bool | None = None
    duration_ns: int | None = None
    error: _LeafError | None = None
    event_id: str | None = None
    instance_id: str | None = None
    level: str | None = None
    name: str | None = None
    outcome: str | None = None
    parent_step_id: str | None = None
    schema_version: int | None = None
    seq: int | None = None
    session_id: str | None = None
    span_id: str | None = None
    step_id: str | None = None
    timestamp_ns: str | None = None
    trace_id: str | None = None
    type: str | None = None
    usage: msgspec.Raw | None = None
    writer: str | None = None


class _Erased(msgspec.Struct, frozen=True):
    """What an event says of its erasure. Commitments are in hex, salts as they are."""

    fields: Mapping[str, str]
    salts: Mapping[str, bytes]
    message: str | None = None
    message_salt: bytes = NO_SALT


def _erased(event: JournalEvent) -> _Erased | None:
    """Return what an event says of its erasure, None where it was not erased; strict, since leaves are made of it."""
    found = event.details.get(ERASED)
    if found is None and ERASED not in event.details:
        return None
    try:
        note = cast("dict[str, Any]", dict(found))  # type: ignore[call-overload]
        fields = {name: _hex(value, 32).hex() for name, value in note.pop("fields").items()}
        salts = {name: _hex(value, SALT_BYTES) for name, value in note.pop("salts").items()}
        message = _hex(note.pop("message"), 32).hex() if "message" in note else None
        message_salt = _hex(note.pop("message_salt"), SALT_BYTES) if "message_salt" in note else NO_SALT
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unsealable("what it says of its erasure is malformed") from error
    there = event.details.keys() - {ERASED}
    if note or salts.keys() != there or fields.keys() & there:
        raise Unsealable("what it says of its erasure contradicts what is there")
    if message is not None and (event.error is None or event.error.message != MESSAGE_GONE):
        raise Unsealable("an error's message stands where one was erased")
    return _Erased(fields, salts, message, message_salt)


def _commitments_of_erased(event: JournalEvent, salt: bytes) -> tuple[dict[str, _Committed], str | None]:
    own = _erased(event)
    assert own is not None
    fields = {name: _Committed(one) for name, one in own.fields.items()}
    shown = disclosed(event, salt)
    fields |= {name: _Committed(_commitment(*one)) for name, one in shown.fields.items()}
    return fields, own.message if shown.message is None else _commitment(*shown.message)


@lru_cache(maxsize=1_024)
def _name(name: str) -> bytes:
    return b"\x00" + name.encode("utf-8", "surrogatepass")


def _hex(value: Any, length: int) -> bytes:
    data = bytes.fromhex(value)
    if len(data) != length or data.hex() != value:
        raise ValueError(value)
    return data


def _salt(salt: bytes, name: bytes) -> bytes:
    return blake2b(name, digest_size=SALT_BYTES, key=salt, person=_PERSON).digest()


def _commitment(salt: bytes, text: bytes) -> str:
    return sha256(salt + text).hexdigest()


def _text(value: str) -> bytes:
    return encode_canonical(value)
