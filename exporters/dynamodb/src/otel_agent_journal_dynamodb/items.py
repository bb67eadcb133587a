"""Events and heads to DynamoDB's items and back. Pure.

Items are built as the API wants them, attribute by attribute: `boto3.resource`'s own conversion would cost more than
the rest of an append. Details are one text of JSON, because a native map holds neither integers beyond 38 digits nor
the order of keys; those of other writers are read either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import (
    decode_value,
    encode_value,
    format_timestamp,
    from_neutral,
    parse_timestamp,
    to_neutral,
    valid_text,
)
from otel_agent_journal.errors import CodecError, NewerSchema
from otel_agent_journal.event import EMPTY, SCHEMA_VERSION, ErrorInfo, JournalEvent, Usage
from otel_agent_journal.projections.about import NOTHING, decode_about, encode_about
from otel_agent_journal.projections.head import ENDED, SessionHead
from otel_agent_journal_dynamodb.connection import Item, binary
from otel_agent_journal_dynamodb.keys import (
    EVENT,
    HEAD,
    LISTS,
    event_key,
    sequence_key,
    session_key,
    session_of_key,
    share_of,
)

# Attributes of ours that are no part of the event itself.
_BOOKKEEPING: Final = frozenset(("PK", "SK", "Arrival", "ExpiresAt", "InstanceSeq"))
_TEXTS: Final = (
    ("Name", "name"),
    ("Writer", "writer"),
    ("InstanceId", "instance_id"),
    ("StepId", "step_id"),
    ("ParentStepId", "parent_step_id"),
    ("TraceId", "trace_id"),
    ("SpanId", "span_id"),
    ("Outcome", "outcome"),
    ("Digest", "digest"),
)
_NUMBERS: Final = (("Seq", "seq"), ("Attempt", "attempt"), ("DurationNs", "duration_ns"))
_TOKENS: Final = (
    ("InputTokens", "input_tokens"),
    ("OutputTokens", "output_tokens"),
    ("CacheReadTokens", "cache_read_tokens"),
    ("CacheWriteTokens", "cache_write_tokens"),
    ("ReasoningTokens", "reasoning_tokens"),
)
_ERROR: Final = (("ErrorType", "type"), ("ErrorMessage", "message"), ("ErrorCode", "code"))
_KNOWN: Final = _BOOKKEEPING.union(
    ("SessionId", "EventId", "Status", "Timestamp", "Level", "Details", "SchemaVersion"),
    *((attribute for attribute, _ in pairs) for pairs in (_TEXTS, _NUMBERS, _TOKENS, _ERROR)),
)


def item_of(event: JournalEvent, partition: str) -> Item:
    """Return an event's item. `partition` is its session's, which the caller has made once for many."""
    timestamp = format_timestamp(event.timestamp_ns)
    item: Item = {
        "PK": {"S": partition},
        "SK": {"S": event_key(timestamp, event.event_id)},
        "Status": {"S": event.type},
        "Timestamp": {"S": timestamp},
        "Level": {"S": event.level},
        "SessionId": {"S": event.session_id},
        "EventId": {"S": event.event_id},
        "SchemaVersion": {"N": str(event.schema_version)},
    }
    for attribute, field in _TEXTS:
        text = getattr(event, field)
        if text is not None:
            item[attribute] = {"S": text}
    for attribute, field in _NUMBERS:
        number = getattr(event, field)
        if number is not None:
            item[attribute] = {"N": str(number)}
    if event.seq is not None and event.instance_id is not None:
        item["InstanceSeq"] = {"S": sequence_key(event.instance_id, event.seq)}
    if event.error is not None:
        item["ErrorType"] = {"S": event.error.type}
        item["ErrorMessage"] = {"S": event.error.message}
        if event.error.code is not None:
            item["ErrorCode"] = {"S": event.error.code}
    if event.usage is not None:
        for attribute, field in _TOKENS:
            item[attribute] = {"N": str(getattr(event.usage, field))}
    if event.details:
        item["Details"] = {"S": encode_value(event.details).decode()}
    return item


def with_valid_text(item: Item) -> Item:
    """Return an item with its lone surrogates, which UTF-8 cannot carry, as their escapes."""
    return {
        name: {"S": valid_text(value["S"])} if "S" in value else value  # the other types hold none
        for name, value in item.items()
    }


def event_of(item: Item) -> JournalEvent:
    """Return the event of an item, of this package or of another writer.

    Raises:
        NewerSchema: a newer version of this package wrote it.
        CodecError: it is not an event.
    """
    version = item.get("SchemaVersion", {}).get("N")
    if version is None or not version.isdecimal() or "EventId" not in item:
        return _foreign(item)
    if int(version) > SCHEMA_VERSION:
        raise NewerSchema(f"event {item['SK']['S']}", int(version), SCHEMA_VERSION)
    try:
        event = _own(item, int(version))
    except (KeyError, ValueError, CodecError):  # it only looked like one of ours
        return _foreign(item)
    return event if event.schema_version == SCHEMA_VERSION else from_neutral(to_neutral(event))


def _own(item: Item, version: int) -> JournalEvent:
    fields: dict[str, Any] = {field: item[name]["S"] for name, field in _TEXTS if name in item}
    for name, field in _NUMBERS:
        if name in item:
            fields[field] = int(item[name]["N"])
    if "ErrorType" in item:
        fields["error"] = ErrorInfo(**{field: item[name]["S"] for name, field in _ERROR if name in item})
    if "InputTokens" in item:
        fields["usage"] = Usage(**{field: int(item[name]["N"]) for name, field in _TOKENS if name in item})
    return JournalEvent(
        session_id=item["SessionId"]["S"],
        event_id=item["EventId"]["S"],
        type=item["Status"]["S"],
        timestamp_ns=_time_of(item["SK"]["S"], item),
        level=item["Level"]["S"],
        details=_mapping(decode_value(item["Details"]["S"])) if "Details" in item else EMPTY,
        schema_version=version,
        **fields,
    )


def _time_of(key: str, item: Item) -> int:
    return parse_timestamp(item["Timestamp"]["S"] if "Timestamp" in item else key[len(EVENT) : len(EVENT) + 30])


def _mapping(details: Any) -> Mapping[str, Any]:
    if not isinstance(details, Mapping):
        raise CodecError(f"details are {type(details).__name__}, not a mapping")
    return cast("Mapping[str, Any]", details)


def _foreign(item: Item) -> JournalEvent:
    key, partition = item["SK"]["S"], item["PK"]["S"]
    values = {name: native(value) for name, value in item.items()}
    left = {"Seq"}  # the sequence of an instance is ours to keep; theirs is a detail
    timestamp = values.get("Timestamp")
    if not _is_time(timestamp):
        left.add("Timestamp")
        timestamp = key.removeprefix(EVENT).partition("#")[0]
    record: dict[str, Any] = {
        "session_id": str(values.get("SessionId") or session_of_key(partition) or partition),
        "event_type": str(values.get("Status") or values.get("EventType") or "NOTE"),
        "timestamp": timestamp,
        "event_id": str(values.get("EventId") or ""),
        "level": str(values.get("Level") or ("ERROR" if values.get("ErrorMessage") else "INFO")),
    }
    for name, field in _TEXTS:
        if values.get(name) is not None:
            record[field] = str(values[name])
    for name, field in _NUMBERS:
        if name not in left and type(values.get(name)) is int:
            record[field] = values[name]
    if values.get("ErrorMessage") or values.get("ErrorType"):
        said = {field: str(values[name]) for name, field in _ERROR if values.get(name) is not None}
        record["error"] = {"type": "Error", **said}
    tokens = {field: values[name] for name, field in _TOKENS if type(values.get(name)) is int}
    if tokens:
        record["usage"] = tokens
    record["details"] = _details_of(values, _KNOWN - left)
    return from_neutral(record, fallback_id=key)


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse_timestamp(value)
    except CodecError:
        return False
    return True


def _details_of(values: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    details = values.get("Details")
    if isinstance(details, str):
        try:
            details = decode_value(details)
        except CodecError:
            pass  # a plain text: kept as the value it is
    kept = dict(cast("Mapping[str, Any]", details)) if isinstance(details, Mapping) else {}
    if details is not None and not isinstance(details, Mapping):
        kept["value"] = details
    return kept | {name: value for name, value in values.items() if name not in known}


def native(value: Mapping[str, Any]) -> Any:
    """Return the value of any attribute as JSON has it; numbers as int where they are whole."""
    kind, held = next(iter(value.items()))
    match kind:
        case "N":
            return _number(held)
        case "NULL":
            return None
        case "M":
            return {name: native(one) for name, one in held.items()}
        case "L":
            return [native(one) for one in held]
        case "NS":
            return [_number(one) for one in held]
        case "B":
            return binary(held)
        case "BS":
            return [binary(one) for one in held]
        case _:  # S, SS, BOOL
            return held


def _number(text: str) -> int | float:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() and abs(number) < 10**38 else float(number)


# --- heads --------------------------------------------------------------------------------------------------------

_HEAD_TEXTS: Final = (
    ("SessionId", "session_id"),
    ("SessionStatus", "status"),  # not Status: who looks for events by it must not find heads
    ("Reason", "reason"),
    ("Agent", "agent"),
    ("Stage", "stage"),
    ("PartOf", "part_of"),
    ("ForkedFrom", "forked_from"),
    ("Cursor", "cursor"),
)
_HEAD_NUMBERS: Final = (
    ("Events", "events"),
    ("Steps", "steps"),
    ("Errors", "errors"),
    ("InputTokens", "input_tokens"),
    ("OutputTokens", "output_tokens"),
    ("CacheReadTokens", "cache_read_tokens"),
    ("CacheWriteTokens", "cache_write_tokens"),
    ("ReasoningTokens", "reasoning_tokens"),
    ("StartedNs", "started_ns"),
    ("UpdatedNs", "updated_ns"),
    ("EndedNs", "ended_ns"),
    ("Version", "version"),
)


def head_item(head: SessionHead) -> Item:
    """Return a head's item; `List` and `UpdatedNs` are its place in the index `by_updated`."""
    partition = session_key(head.session_id)
    place = list_of(share_of(partition, LISTS), parts=head.part_of is not None)
    item: Item = {"PK": {"S": partition}, "SK": {"S": HEAD}, "List": {"S": place}}
    for name, field in _HEAD_TEXTS:
        text = getattr(head, field)
        if text is not None:
            item[name] = {"S": valid_text(text)}
    for name, field in _HEAD_NUMBERS:
        number = getattr(head, field)
        if number is not None:
            item[name] = {"N": str(number)}
    if head.progress is not None:
        item["Progress"] = {"N": repr(head.progress)}
    item["Writers"] = {"S": encode_value(head.writers).decode()}
    item["OpenWriters"] = {"S": encode_value(head.open_writers).decode()}
    if head.about != NOTHING:
        item["About"] = {"S": encode_about(head.about)}
    if head.snapshot:
        item["Snapshot"] = {"B": head.snapshot}
    for attribute, named in (("Parts", head.parts), ("Forks", head.forks)):
        if named:
            item[attribute] = {"S": encode_value(named).decode()}
    if head.status in ENDED and not (head.part_of or head.parts or head.forks):
        item["Brief"] = {"S": f"{head.version} {head.cursor or ''}"}
    return item


def brief_head_of(item: Item) -> SessionHead | None:
    """Return what the index `by_updated` says of a head; None where that is not all of a brief one."""
    if "Brief" not in item:
        return None
    version, _, cursor = item["Brief"]["S"].partition(" ")
    return SessionHead(
        session_id=item["SessionId"]["S"],
        status=item["SessionStatus"]["S"],
        agent=item["Agent"]["S"] if "Agent" in item else None,
        updated_ns=int(item["UpdatedNs"]["N"]),
        version=int(version),
        cursor=cursor or None,
    )


# What a listing has of them: all but the snapshot.
HEAD_ATTRIBUTES: Final = (
    *("PK", "Progress", "Writers", "OpenWriters", "Parts", "Forks", "About"),
    *(name for name, _ in (*_HEAD_TEXTS, *_HEAD_NUMBERS)),
)


def list_of(share: int, *, parts: bool = False) -> str:
    """Return a partition of the index of heads: those of parts are in others, where no listing comes by them."""
    return f"{'PARTS' if parts else 'HEADS'}#{share}"


def head_of(item: Item) -> SessionHead:
    """Return the head of an item."""
    fields: dict[str, Any] = {field: item[name]["S"] for name, field in _HEAD_TEXTS if name in item}
    fields |= {field: int(item[name]["N"]) for name, field in _HEAD_NUMBERS if name in item}
    if "Progress" in item:
        fields["progress"] = float(item["Progress"]["N"])
    fields["writers"] = decode_value(item["Writers"]["S"])
    fields["open_writers"] = tuple(decode_value(item["OpenWriters"]["S"]))
    if "About" in item:
        fields["about"] = decode_about(item["About"]["S"])
    if "Snapshot" in item:
        fields["snapshot"] = binary(item["Snapshot"]["B"])
    for attribute, field in (("Parts", "parts"), ("Forks", "forks")):
        if attribute in item:
            fields[field] = tuple(decode_value(item[attribute]["S"]))
    return msgspec.convert(fields, SessionHead)
