r"""Events and heads to what PostgreSQL is given and back. Pure.

A batch of events goes as one JSON text, which the server takes apart: that costs the agent's side a quarter of binding
27 columns, less than COPY. What PostgreSQL's text cannot hold is written twice: as near as can be in its columns, and
exactly as JSON in `exact`, where \u0000 is six harmless characters. Ids in keys that do not fit are `~` and a hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import (
    UNENCODABLE,
    decode_line,
    decode_value,
    encode_line,
    encode_value,
    plain,
    valid_text,
)
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.about import decode_about, encode_about
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.sqlite_tables import event_of as event_of_columns
from otel_agent_journal_postgresql.tables import HEAD_FIELDS, MAX_KEY_BYTES

Row = Sequence[Any]

EVENT_COLUMNS: Final = (
    "session_id, timestamp_ns, event_id, type, level, name, writer, instance_id, sequence_number, step_id,"
    " parent_step_id, attempt, trace_id, span_id, outcome, duration_ns, error_type, error_message, error_code,"
    " input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, details, digest,"
    " schema_version, exact"
)
# As they are read: the texts of JSON values, which are ours to decode.
READ_COLUMNS: Final = EVENT_COLUMNS.replace(" details,", " details::text,").replace(" exact", " exact::text")
_SURELY_SHORT: Final = MAX_KEY_BYTES // 4  # characters, of up to four bytes each
_HASH_BYTES: Final = 24
_NUL: Final = b"\\u0000"
_NUL_FOR_PEOPLE: Final = "\u2400"  # ␀
_TEXTS: Final = (
    "type",
    "level",
    "name",
    "writer",
    "step_id",
    "parent_step_id",
    "trace_id",
    "span_id",
    "outcome",
    "digest",
)
_HEAD_TEXTS: Final = ("status", "reason", "agent", "stage", "part_of", "forked_from", "cursor")
_HEAD_LISTS: Final = ("open_writers", "parts", "forks")
_NUMBERS: Final = ("timestamp_ns", "seq", "attempt", "duration_ns", "schema_version")

_encode: Final = msgspec.json.Encoder(enc_hook=plain).encode


def key_of(value: str) -> str:
    """Return an id as it stands in keys: itself, or `~` and a hash where PostgreSQL could not index or hold it."""
    if len(value) <= _SURELY_SHORT and value.isascii() and "\0" not in value and not value.startswith("~"):
        return value
    text = valid_text(value)
    encoded = text.encode()
    if len(encoded) <= MAX_KEY_BYTES and "\0" not in text and not text.startswith("~"):
        return text
    return "~" + blake2b(encoded, digest_size=_HASH_BYTES).hexdigest()


def is_hash(key: str) -> bool:
    """Tell whether a key is a hash, and not the id itself."""
    return key.startswith("~")


def batch_of(events: Sequence[JournalEvent]) -> str:
    """Return events as the JSON text that `statements.APPEND` takes."""
    try:
        encoded = _encode(events)
    except UNENCODABLE:
        encoded = b""
    # Anything strange, also in one event, and each is looked at: that is rare, and costs ten times as much.
    if not encoded or _NUL in encoded or not all(map(_has_plain_keys, events)):
        encoded = b"[" + b",".join([_encode(_wire(event)) for event in events]) + b"]"
    return encoded.decode()


def _has_plain_keys(event: JournalEvent) -> bool:
    session_id, event_id, instance_id = event.session_id, event.event_id, event.instance_id
    return (
        len(session_id) <= _SURELY_SHORT
        and session_id[:1] != "~"
        and len(event_id) <= _SURELY_SHORT
        and event_id[:1] != "~"
        and (instance_id is None or (len(instance_id) <= _SURELY_SHORT and instance_id[:1] != "~"))
    )


def _wire(event: JournalEvent) -> dict[str, Any]:
    """Return one event as the server can take it apart, with its exact form where its columns are not that."""
    keys = {name: _optional_key(getattr(event, name)) for name in ("session_id", "event_id", "instance_id")}
    texts = {name: _for_people(getattr(event, name)) for name in _TEXTS}
    wire: dict[str, Any] = {name: getattr(event, name) for name in _NUMBERS} | keys | texts
    error = event.error
    if error is not None:
        wire["error"] = {name: _for_people(getattr(error, name)) for name in ("type", "message", "code")}
    wire["usage"] = event.usage
    # As a text within the text: the server's parser unfolds every escape of what it takes apart, and refuses NUL.
    wire["details_text"] = encode_value(event.details).decode()
    if _columns_differ(event, wire):
        wire["exact"] = encode_line(event).decode()
    return wire


def _columns_differ(event: JournalEvent, wire: dict[str, Any]) -> bool:
    values = [wire[name] for name in ("session_id", "event_id", "instance_id", *_TEXTS)]
    exact = [_optional_valid(getattr(event, name)) for name in ("session_id", "event_id", "instance_id", *_TEXTS)]
    if event.error is not None:
        values += wire["error"].values()
        exact += [_optional_valid(getattr(event.error, name)) for name in ("type", "message", "code")]
    return values != exact


def _optional_key(value: str | None) -> str | None:
    return None if value is None else key_of(value)


def _optional_valid(value: str | None) -> str | None:
    return None if value is None else valid_text(value)


def for_people(value: str) -> str:
    """Return a text as a column holds it: without NUL and lone surrogates."""
    return valid_text(value).replace("\0", _NUL_FOR_PEOPLE)


def _for_people(value: str | None) -> str | None:
    return None if value is None else for_people(value)


def event_of(row: Row) -> JournalEvent:
    """Return the event of a row of `READ_COLUMNS`, old versions upcast.

    Raises:
        NewerSchema: a newer version of this package wrote it.
    """
    exact = row[-1]
    return event_of_columns(tuple(row[:-1])) if exact is None else decode_line(exact)


def head_row(head: SessionHead) -> dict[str, Any]:
    """Return a head as the values of its columns; JSON as text."""
    values: dict[str, Any] = {field: getattr(head, field) for field in HEAD_FIELDS}
    values["session_id"] = key_of(head.session_id)
    texts = ("session_id", *_HEAD_TEXTS)
    for field in _HEAD_TEXTS:
        values[field] = _for_people(values[field])
    differ = any(values[field] != _optional_valid(getattr(head, field)) for field in texts)
    values["writers"] = encode_value(head.writers).decode()
    values |= {field: encode_value(values[field]).decode() for field in _HEAD_LISTS}
    values["about"] = encode_about(head.about)
    exact = {field: getattr(head, field) for field in HEAD_FIELDS if field != "snapshot"}
    values["exact"] = encode_value(exact).decode() if differ else None
    return values


def head_of(row: Row) -> SessionHead:
    """Return the head of a row: the columns of `HEAD_FIELDS` with JSON as text, then `exact`."""
    values: dict[str, Any] = dict(zip(HEAD_FIELDS, row, strict=False))
    snapshot, exact = bytes(values["snapshot"]), row[-1]
    if exact is not None:
        values = decode_value(exact)
        values["about"] = encode_value(values.get("about", {}))
    else:
        values["writers"] = decode_value(values["writers"])
        values |= {field: decode_value(values[field]) for field in _HEAD_LISTS}
    values |= {field: tuple(values[field]) for field in _HEAD_LISTS if field in values}
    values["about"] = decode_about(values["about"])
    values["snapshot"] = snapshot
    return SessionHead(**values)
