"""A result's Arrow columns as plain values, as the command line prints them: whole numbers whole, times RFC 3339.

Arrow's own conversion would cut nanoseconds to microseconds. What JSON has no value for becomes text; NaN and the
infinities, which it cannot carry at all, None.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from otel_agent_journal.codec import decode_value, format_timestamp
from otel_agent_journal.errors import CodecError
from otel_agent_journal.query.arrow import pa

_NS_OF: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NS_PER_S: Final = 10**9


def plain_columns(batch: Any, types: tuple[str, ...]) -> list[list[Any]]:
    """Return the values of a batch, column by column. `types`: DuckDB's names, which know JSON from text."""
    return [_column(column, kind) for column, kind in zip(batch.columns, types, strict=True)]


def _column(column: Any, kind: str) -> list[Any]:
    if kind == "JSON":
        return [_from_json(text) for text in column.to_pylist()]
    if pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
        return column.to_pylist()
    if pa.types.is_timestamp(column.type):
        scale = _NS_OF[column.type.unit]
        return [None if at is None else _timestamp(at * scale) for at in column.cast(pa.int64()).to_pylist()]
    return [_scalar(scalar) for scalar in column]


def _scalar(scalar: Any) -> Any:
    """Return any Arrow scalar as a plain value, however it is nested."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.MapScalar):
        pairs = [list(pair.values()) for pair in scalar.values]
        return [[_scalar(part) for part in pair] for pair in pairs]
    if isinstance(scalar, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
        return [_scalar(one) for one in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        return {name: _scalar(one) for name, one in scalar.items()}
    if isinstance(scalar, pa.TimestampScalar):
        return _timestamp(scalar.value * _NS_OF[scalar.type.unit])
    if isinstance(scalar, pa.MonthDayNanoIntervalScalar):
        return _interval(*scalar.as_py())
    return _plain(scalar.as_py())


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
        case bytes():
            return b64encode(value).decode("ascii")
        case date() | time() | datetime():
            return value.isoformat()
        case timedelta():
            return _interval(0, value.days, (value.seconds * 10**6 + value.microseconds) * 1000)
        case _:
            return str(value)


def _from_json(text: str | None) -> Any:
    try:
        return None if text is None else decode_value(text)
    except CodecError:
        return text


def _timestamp(at_ns: int) -> str:
    try:
        return format_timestamp(at_ns)
    except CodecError:
        return f"{at_ns} ns"


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """Return an interval as DuckDB prints it: `1 month 2 days 03:00:00.5`."""
    said = [
        f"{count} {name}{'' if abs(count) == 1 else 's'}" for count, name in ((months, "month"), (days, "day")) if count
    ]
    if nanoseconds or not said:
        sign = "-" if nanoseconds < 0 else ""
        seconds, rest = divmod(abs(nanoseconds), _NS_PER_S)
        clock = f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        said.append(clock + (f".{rest:09d}".rstrip("0") if rest else ""))
    return " ".join(said)
