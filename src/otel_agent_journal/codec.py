"""Events to bytes and back: the JSON-lines encoding, the neutral dict, upcasters, digest. Pure.

JSON lines are what the command line prints, what S3 keeps, and what other programs may write; the neutral dict is
what backends with typed fields (DynamoDB, SQL) store under their own names. Both carry the same keys. Records of
other writers, with a timestamp of another precision or without an id, are read too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.errors import CodecError, NewerSchema
from otel_agent_journal.event import EMPTY, SCHEMA_VERSION, ErrorInfo, JournalEvent, Usage, derived_id

DIGEST_BYTES: Final = 16
_NS: Final = 1_000_000_000

_encode_json: Final = msgspec.json.Encoder().encode
_encode_canonical: Final = msgspec.json.Encoder(order="deterministic").encode
_decode_json: Final = msgspec.json.Decoder(dict[str, Any]).decode
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)


# --- time ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") if moment.year >= 1000 else f"{moment:%m-%dT%H:%M:%S}"


def format_timestamp(timestamp_ns: int) -> str:
    """Return RFC 3339 in UTC with exactly nine digits and `Z`, so that text sorts as time does."""
    seconds, fraction = divmod(timestamp_ns, _NS)
    return f"{_second(seconds)}.{fraction:09d}Z"


def parse_timestamp(text: str) -> int:
    """Return nanoseconds of an RFC 3339 timestamp of any precision; without an offset it is taken as UTC."""
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        raise CodecError(f"timestamp {text!r} is not RFC 3339, as in 2026-01-31T12:00:00.000000000Z")
    *calendar, fraction, offset = match.groups()
    zone = UTC
    if offset and offset not in "Zz":
        minutes = int(offset[1:3]) * 60 + int(offset[-2:])
        zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
    try:
        moment = datetime(*(int(part) for part in calendar), tzinfo=zone)  # type: ignore[arg-type]
    except ValueError as error:
        raise CodecError(f"timestamp {text!r}: {error}") from error
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return seconds * _NS + int((fraction or "0").ljust(9, "0"))


# --- plain values -------------------------------------------------------------------------------------------------

MAX_DEPTH: Final = 64  # deeper than any real payload, far above the recursion limit's reach


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value that JSON can carry: keys as texts, what is unknown by its `repr`, nothing over 64 levels deep."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {_key(key): plain(item, depth + 1) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in cast("list[Any]", value)]
    return repr(value)


def _key(key: Any) -> str:
    return plain(key) if isinstance(key, str) else repr(key)


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
    for field in _PLAIN_FIELDS:
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


_PLAIN_FIELDS: Final = (
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


def from_neutral(record: Mapping[str, Any], *, fallback_id: str | None = None) -> JournalEvent:
    """Return the event of a neutral dict, old versions upcast.

    `fallback_id` names the record where it carries no `event_id` of its own: a key or a line of another writer; the
    id is derived from it.

    Raises:
        NewerSchema: a newer version of this package wrote it.
        CodecError: it is not an event.
    """
    record = _upcast(record)
    try:
        event_id = record.get("event_id") or derived_id(_required(record, "session_id") + ":" + (fallback_id or ""))
        usage, error = record.get("usage"), record.get("error")
        return JournalEvent(
            session_id=_required(record, "session_id"),
            event_id=event_id,
            type=_required(record, "event_type"),
            timestamp_ns=parse_timestamp(_required(record, "timestamp")),
            level=record.get("level") or "INFO",
            details=cast("Mapping[str, Any]", _details(record.get("details"))),
            error=None if error is None else msgspec.convert(error, ErrorInfo),
            usage=None if usage is None else msgspec.convert(usage, Usage),
            digest=record.get("digest"),
            schema_version=SCHEMA_VERSION,
            **{field: record.get(field) for field in _PLAIN_FIELDS} | {"name": record.get("name", record.get("tool_name"))},
        )
    except (TypeError, AttributeError, msgspec.ValidationError) as problem:
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
    """Return one line of JSON, without the line end."""
    return _encode_json(to_neutral(event))


def decode_line(line: bytes | str) -> JournalEvent:
    """Return the event of one JSON line, of this package or of another writer.

    Raises:
        NewerSchema: a newer version of this package wrote it.
        CodecError: it is not JSON, or not an event.
    """
    try:
        record = _decode_json(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a line of JSON: {error}") from error
    if record.get("event_id"):
        return from_neutral(record)
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    return from_neutral(record, fallback_id=text.strip())


def digest(event: JournalEvent) -> str:
    """Return blake2b, 32 hex digits, of the event's canonical body: sorted keys, without the digest and the version."""
    body = to_neutral(event)
    body.pop("digest", None)
    body.pop("schema_version", None)
    return blake2b(_encode_canonical(body), digest_size=DIGEST_BYTES).hexdigest()


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


def _upcast(record: Mapping[str, Any]) -> Mapping[str, Any]:
    version = record.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int):
        raise CodecError(f"not a journal event: 'schema_version' is {version!r}, a whole number is expected")
    if version > SCHEMA_VERSION:
        raise NewerSchema(f"event {record.get('event_id', '?')}", version, SCHEMA_VERSION)
    for step in range(version, SCHEMA_VERSION):
        record = UPCASTERS[step](dict(record))
    return record
