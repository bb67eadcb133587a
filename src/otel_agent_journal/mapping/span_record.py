"""A span as plain data: what every door into the journal, and the way out to OTLP, has in common. Pure.

`from_sdk.py` makes one of an SDK span, a receiver of OTLP bytes, `to_span.py` of a step's events; `to_events.py`
reads one. Attribute values are those of OpenTelemetry: text, bool, int, float, bytes, None, tuples and dicts of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import valid_text
from otel_agent_journal.event import EMPTY
from otel_agent_journal.mapping.genai import KIND_INTERNAL, STATUS_UNSET

_INT64_MAX: Final = 2**63 - 1
_INT64_MIN: Final = -(2**63)


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened within a span, at a time."""

    name: str
    timestamp_ns: int
    attributes: Mapping[str, Any] = EMPTY


class SpanLink(msgspec.Struct, frozen=True):
    """Another span that a span has to do with. Ids are hex."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = EMPTY


class SpanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One span, started or ended.

    `trace_id` is 32, `span_id` and `parent_span_id` are 16 hex digits. `end_ns` is None while the span runs.
    `status_code` is 0 unset, 1 ok, 2 error.
    """

    trace_id: str
    span_id: str
    name: str
    start_ns: int
    end_ns: int | None = None
    parent_span_id: str | None = None
    kind: str = KIND_INTERNAL
    attributes: Mapping[str, Any] = EMPTY
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    status_code: int = STATUS_UNSET
    status_description: str | None = None
    resource: Mapping[str, Any] = EMPTY
    scope_name: str = ""
    scope_version: str = ""
    trace_flags: int = 1
    trace_state: str = ""


def plain_attributes(attributes: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return attributes with the values that OpenTelemetry knows: sequences as tuples, strange values as text."""
    if not attributes:
        return {}
    return {valid_text(str(key)): _plain(value) for key, value in attributes.items() if key}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if value is None or isinstance(value, bool | float | bytes):
        return value
    if isinstance(value, int):
        return value if _INT64_MIN <= value <= _INT64_MAX else str(value)
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in cast("list[Any]", value))
    if isinstance(value, Mapping):
        return plain_attributes(cast("Mapping[Any, Any]", value))
    return valid_text(str(value))
