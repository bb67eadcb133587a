"""What of an event is sealed: its leaf, in which content stands as salted commitments. Pure.

A leaf is the canonical JSON of an event in which each field of `details`, and an error's message, is replaced by a
SHA-256 of its salt and its own canonical JSON. So content can be erased later, and the leaf stays what it was: the
commitment takes the content's place, and its salt is gone. Which fields are content is nobody's matter here.

An event that was erased says so in its details under `$erased`: the commitments of what is gone, and the salts of what
is still there. `digest` is in no leaf: it is made of the content without a salt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b, sha256
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.codec import PLAIN_FIELDS, encode_canonical, sealed
from otel_agent_journal.event import JournalEvent

SALT_BYTES: Final = 16
NO_SALT: Final = bytes(SALT_BYTES)  # of an event whose salt is gone
ERASED: Final = "$erased"
MESSAGE_GONE: Final = "erased"  # in the place of an error's message
_PERSON: Final = b"journal-salt"
_MESSAGE: Final = b"\x01"  # apart from every field of details, whose names are text behind a zero byte
_to_json: Final = msgspec.json.Encoder(order="sorted").encode


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
    fields = {
        name: {"sha256": _commitment(_salt(salt, _name(name)), encode_canonical(value))}
        for name, value in details.items()
    }
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


def _leaf(event: JournalEvent, fields: Mapping[str, Any], message: str | None) -> bytes:
    leaf: dict[str, Any] = {
        "details": fields,
        "digest": event.digest is not None,
        "event_id": event.event_id,
        "level": event.level,
        "schema_version": event.schema_version,
        "session_id": event.session_id,
        "timestamp_ns": str(event.timestamp_ns),
        "type": event.type,
    }
    for name in PLAIN_FIELDS:
        value = getattr(event, name)
        if value is not None:
            leaf[name] = value
    if event.error is not None:
        leaf["error"] = {"type": event.error.type, "code": event.error.code, "message": {"sha256": message}}
    if event.usage is not None:
        leaf["usage"] = event.usage
    return _to_json(leaf)


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


def _commitments_of_erased(event: JournalEvent, salt: bytes) -> tuple[dict[str, Any], str | None]:
    own = _erased(event)
    assert own is not None
    fields: dict[str, Any] = {name: {"sha256": one} for name, one in own.fields.items()}
    shown = disclosed(event, salt)
    fields |= {name: {"sha256": _commitment(*one)} for name, one in shown.fields.items()}
    return fields, own.message if shown.message is None else _commitment(*shown.message)


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
