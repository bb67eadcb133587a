"""Events to bytes and back: the JSON-lines encoding, the neutral dict, upcasters, digest. Pure.

JSON lines are what the command line prints, what S3 keeps, and what other programs may write; the neutral dict is
what backends with typed fields (DynamoDB, SQL) store under their own names. Both carry the same keys. Records of
other writers, with a timestamp of another precision or without an id, are read too.

Encoding is total: what JSON cannot carry is written as `plain` says, so that no event is lost for a strange value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.errors import CodecError, NewerSchema
from otel_agent_journal.event import EMPTY, SCHEMA_VERSION, JournalEvent, derived_id
from otel_agent_journal.plain import MAX_DEPTH as MAX_DEPTH  # noqa: PLC0414 - of what is encoded here
from otel_agent_journal.plain import plain
from otel_agent_journal.plain import valid_text as valid_text  # noqa: PLC0414 - as MAX_DEPTH

DIGEST_BYTES: Final = 16
JSON: Final = "application/json"  # the media type of what is encoded here
_NS: Final = 1_000_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))?",
    re.ASCII,
)

# What the codec must survive: no such type, no such integer or surrogate, nested too deep.
UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError)


# --- values -------------------------------------------------------------------------------------------------------

_to_json: Final = msgspec.json.Encoder(enc_hook=plain).encode
_to_canonical_json: Final = msgspec.json.Encoder(enc_hook=plain, order="deterministic").encode
_from_json: Final = msgspec.json.Decoder().decode


def encode_value(value: Any) -> bytes:
    """Return any value as JSON; total, see `plain`."""
    try:
        return _to_json(value)
    except UNENCODABLE:
        return _to_json(plain(value))


def encode_canonical(value: Any) -> bytes:
    """Return any value as JSON in one form: keys sorted, no spaces; total, see `plain`."""
    try:
        return _to_canonical_json(value)
    except UNENCODABLE:
        return _to_canonical_json(plain(value))


def decode_value(data: bytes | str) -> Any:
    """Return the value of JSON text, integers of any size exact, lone surrogates as their escapes.

    Raises:
        CodecError: it is not JSON.
    """
    try:
        return _from_json(data)
    except (ValueError, RecursionError):
        pass
    # The standard library reads what the fast decoder refuses: lone surrogates, 1e400, a byte order mark.
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        return plain(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not JSON: {error}") from error


# --- time ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}"


def format_timestamp(timestamp_ns: int) -> str:
    """Return RFC 3339 in UTC with exactly nine digits and `Z`, so that text sorts as time does.

    Raises:
        CodecError: the time is outside the years 1 to 9999.
    """
    seconds, fraction = divmod(timestamp_ns, _NS)
    try:
        return f"{_second(seconds)}.{fraction:09d}Z"
    except OverflowError as error:
        raise CodecError(f"time {timestamp_ns} ns is outside the years 1 to 9999") from error


def parse_timestamp(text: str) -> int:
    """Return nanoseconds of an RFC 3339 timestamp of any precision; without an offset it is taken as UTC.

    A leap second, :60, is the second after :59.

    Raises:
        CodecError: it is no such timestamp.
    """
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        raise CodecError(f"timestamp {text!r} is not RFC 3339, as in 2026-01-31T12:00:00.000000000Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=UTC)
    except ValueError as error:
        raise CodecError(f"timestamp {text!r}: {error}") from error
    seconds = (moment - _EPOCH) // timedelta(seconds=1) + (second == 60)
    if sign is not None:
        seconds -= int(f"{sign}1") * (int(offset_hours) * 3600 + int(offset_minutes) * 60)
    return seconds * _NS + int((fraction or "0").ljust(9, "0"))


# --- the neutral dict ---------------------------------------------------------------------------------------------


def to_neutral(event: JournalEvent) -> dict[str, Any]:
    """Return the event under the names of the JSON-lines encoding, empty fields left out, values plain."""
    record: dict[str, Any] = {
        "timestamp": format_timestamp(event.timestamp_ns),
        "session_id": event.session_id,
        "event_type": event.type,
    }
    if event.name is not None and event.type.startswith("TOOL_"):
        record["tool_name"] = event.name
    record["level"] = event.level
    if event.details:
        record["details"] = event.details
    record["event_id"] = event.event_id
    for field in PLAIN_FIELDS:
        value = getattr(event, field)
        if value is not None:
            record[field] = value
    if event.error is not None:
        record["error"] = msgspec.to_builtins(event.error)
    if event.usage is not None:
        record["usage"] = msgspec.to_builtins(event.usage)
    if event.digest is not None:
        record["digest"] = event.digest
    record["schema_version"] = event.schema_version
    return record


PLAIN_FIELDS: Final = (
    "name",
    "writer",
    "instance_id",
    "seq",
    "step_id",
    "parent_step_id",
    "attempt",
    "trace_id",
    "span_id",
    "outcome",
    "duration_ns",
)
NEUTRAL_FIELDS: Final = (
    "timestamp",
    "session_id",
    "event_type",
    "tool_name",
    "level",
    "details",
    "event_id",
    *PLAIN_FIELDS,
    "error",
    "usage",
    "digest",
    "schema_version",
)


def from_neutral(record: Mapping[str, Any], *, fallback_id: str | None = None) -> JournalEvent:
    """Return the event of a neutral dict, old versions upcast.

    `fallback_id` names the record where it carries no `event_id` of its own: a key or a line of another writer; the
    id is derived from it.

    Raises:
        NewerSchema: a newer version of this package wrote it.
        CodecError: it is not an event.
    """
    record = upcast(record)
    session_id = _required(record, "session_id")
    fields: dict[str, Any] = {field: value for field in PLAIN_FIELDS if (value := record.get(field)) is not None}
    if "name" not in fields:
        fields["name"] = record.get("tool_name")
    for field in ("error", "usage", "digest"):
        fields[field] = record.get(field)
    fields["session_id"] = session_id
    fields["event_id"] = record.get("event_id") or derived_id(f"{session_id}:{fallback_id or ''}")
    fields["type"] = _required(record, "event_type")
    fields["timestamp_ns"] = parse_timestamp(_required(record, "timestamp"))
    fields["level"] = record.get("level") or "INFO"
    fields["details"] = _details(record.get("details"))
    try:
        return msgspec.convert(fields, JournalEvent)
    except msgspec.ValidationError as problem:
        raise CodecError(f"not a journal event: {problem}") from problem


def _required(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise CodecError(f"not a journal event: '{key}' is {value!r}, a text is expected")
    return value


def _details(value: Any) -> Mapping[str, Any]:
    if value is None:
        return EMPTY
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    return {"value": value}


# --- JSON lines ---------------------------------------------------------------------------------------------------


def encode_line(event: JournalEvent) -> bytes:
    """Return one line of JSON, without the line end; total but for the time, see `plain`."""
    return encode_value(to_neutral(event))


def decode_line(line: bytes | str) -> JournalEvent:
    """Return the event of one JSON line, of this package or of another writer.

    Raises:
        NewerSchema: a newer version of this package wrote it.
        CodecError: it is not JSON, or not an event.
    """
    record = decode_value(line)
    if not isinstance(record, dict):
        raise CodecError(f"not a journal event: a JSON object is expected, this is {type(record).__name__}")
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    return from_neutral(cast("dict[str, Any]", record), fallback_id=text.strip())


def digest(event: JournalEvent) -> str:
    """Return blake2b, 32 hex digits, of the event's canonical body: sorted keys, without the digest and the version.

    Details are taken for JSON: a set in them, which has no order to be kept, spoils the digest of what is read back.
    """
    body = to_neutral(event)
    body.pop("digest", None)
    body.pop("schema_version", None)
    return blake2b(encode_canonical(body), digest_size=DIGEST_BYTES).hexdigest()


def sealed(event: JournalEvent) -> JournalEvent:
    """Return the event with its digest set."""
    return msgspec.structs.replace(event, digest=digest(event))


def intact(event: JournalEvent) -> bool:
    """Tell whether the event's digest, where it has one, is that of its body."""
    return event.digest is None or event.digest == digest(event)


# --- old versions -------------------------------------------------------------------------------------------------

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

# UPCASTERS[n] turns a record of version n into one of version n + 1.
UPCASTERS: Final[Mapping[int, Upcaster]] = {}


def upcast(
    record: Mapping[str, Any], *, upcasters: Mapping[int, Upcaster] = UPCASTERS, current: int = SCHEMA_VERSION
) -> Mapping[str, Any]:
    """Return a neutral dict of any version up to `current` as one of version `current`; without one it is taken so.

    Raises:
        NewerSchema: its version is above `current`.
        CodecError: it has no version that ever was.
    """
    version = record.get("schema_version", current)
    if type(version) is not int:
        raise CodecError(f"not a journal event: 'schema_version' is {version!r}, a whole number is expected")
    if version > current:
        raise NewerSchema(f"event {record.get('event_id', '?')}", version, current)
    for older in range(version, current):
        if older not in upcasters:
            raise CodecError(f"not a journal event: there is no schema version {older}")
        record = upcasters[older](dict(record))
    return record
