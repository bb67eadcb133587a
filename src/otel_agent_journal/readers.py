"""What is inside a value of each class that we know, read by that class's own storage. Pure.

`opened` looks at one value and no further; `plain` walks on. These are JSON's types and what is derived from them,
the usual of the standard library, and classes that declare their fields: dataclasses, attrs, msgspec, pydantic. Items
come from the built-in class's own iterator, and only where the class of a value does not give others in their place.
"""

from __future__ import annotations

import gc
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from math import isfinite
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.foreign import (
    ByClass,
    bases_of,
    class_name,
    is_a,
    named,
    names_in,
    own,
    own_dict,
    slots_of,
    type_of,
)

_MAX_INTEGER_BITS: Final = 14_000  # Python writes and reads 4,300 digits at once, and no more
_MAX_DECIMAL_BYTES: Final = 4096
_ABSENT: Final[Any] = object()


class Mapped:
    """What is inside a value that has names or keys: pairs, and how many there are."""

    __slots__ = ("length", "pairs")

    def __init__(self, length: int, pairs: Iterable[tuple[Any, Any]]) -> None:
        self.length = length
        self.pairs: Iterator[tuple[Any, Any]] = iter(pairs)


class Listed:
    """What is inside a value that has items alone, and how many there are."""

    __slots__ = ("items", "length")

    def __init__(self, length: int, items: Iterable[Any]) -> None:
        self.length = length
        self.items: Iterator[Any] = iter(items)


class Octets:
    """Bytes, and how many there are; `head` returns the first of them."""

    __slots__ = ("head", "length")

    def __init__(self, length: int, head: Callable[[int], bytes]) -> None:
        self.length = length
        self.head = head


class Text:
    """A text of a class below `str`, and how long it is; `head` returns its beginning as a text."""

    __slots__ = ("head", "length")

    def __init__(self, length: int, head: Callable[[int], str]) -> None:
        self.length = length
        self.head = head


Opened = str | int | float | Text | Octets | Mapped | Listed | None
Reader = Callable[[Any], Opened]


def opened(value: Any) -> Opened:
    """Return the scalar that a value is, or what is inside it; its class's name where that class is not known.

    Scalars are of JSON's own classes; what is long and of another is not copied yet.
    """
    try:
        return _READERS.of(type_of(value))(value)
    except Exception:  # noqa: BLE001 - a class that is less than its name says
        return named(value)


def fields_of(value: Any) -> dict[str, Any]:
    """Return what a value holds by name: a mapping's texts, or the fields of an object of whatever class."""
    inside = opened(value)
    if type(inside) is Mapped:
        return {key: item for key, item in inside.pairs if type(key) is str}
    if inside is None or inside != named(value):
        return {}
    bases = bases_of(type_of(value))
    held = {key: item for key, item in (own_dict(value) or {}).items() if type(key) is str}
    return {**dict(slots_of(value, bases)), **held}


def _as_it_is(value: Any) -> Opened:
    return value


def _integer(value: int) -> Opened:
    bits = int.bit_length(value)
    return f"<integer of {bits:,} bits>" if bits > _MAX_INTEGER_BITS else int.__int__(value)


def _float(value: float) -> Opened:
    number = float.__float__(value)
    return number if isfinite(number) else None


def _text(value: str) -> Opened:
    if type(value) is str:
        return value
    return Text(str.__len__(value), lambda size: str.__getitem__(value, slice(size)))


def _bytes(value: bytes) -> Opened:
    return Octets(bytes.__len__(value), lambda size: bytes.__getitem__(value, slice(size)))


def _bytearray(value: bytearray) -> Opened:
    return Octets(bytearray.__len__(value), lambda size: bytes(bytearray.__getitem__(value, slice(size))))


def _view(value: memoryview) -> Opened:
    return Octets(value.nbytes, lambda size: value.cast("B")[:size].tobytes()) if value.c_contiguous else named(value)


def _list(value: list[Any]) -> Opened:
    return Listed(list.__len__(value), cast("Any", list.__iter__(value)))


def _tuple(value: tuple[Any, ...]) -> Opened:
    return Listed(tuple.__len__(value), cast("Any", tuple.__iter__(value)))


def _set(value: set[Any]) -> Opened:
    return Listed(set.__len__(value), cast("Any", set.__iter__(value)))


def _frozenset(value: frozenset[Any]) -> Opened:
    return Listed(frozenset.__len__(value), cast("Any", frozenset.__iter__(value)))


def _deque(value: deque[Any]) -> Opened:
    return Listed(deque.__len__(value), cast("Any", deque.__iter__(value)))


def _part_of_dict(value: Any) -> Opened:
    return Listed(len(value), value)


def _dict(value: dict[Any, Any]) -> Opened:
    return Mapped(dict.__len__(value), cast("Any", dict.items(value)))


def _ordered(value: OrderedDict[Any, Any]) -> Opened:
    return Mapped(dict.__len__(value), cast("Any", OrderedDict.items(value)))


def _read_only(value: Any) -> Opened:
    (behind,) = gc.get_referents(value)  # to ask the proxy for it would ask the mapping
    inside = opened(behind)
    return inside if isinstance(inside, Mapped) else named(value)


def _range(value: range) -> Opened:
    return repr(value)


def _class(value: type) -> Opened:
    return f"<class '{class_name(value).removeprefix('builtins.')}'>"


def _function(value: Any) -> Opened:
    return f"<function {value.__qualname__}>"


def _complex(value: complex) -> Opened:
    return complex.__repr__(value)


def _exception(value: BaseException) -> Opened:
    said: tuple[Any, ...] = _ARGUMENTS.__get__(value)
    message: Any = said[0] if len(said) == 1 else list(said) or ""
    return Mapped(2, (("type", class_name(type_of(value)).removeprefix("builtins.")), ("message", message)))


# --- the standard library -------------------------------------------------------------------------------------------


def _moment(value: datetime) -> Opened:
    year, month, day, hour, minute, second, micros, fold, zone = (field.__get__(value) for field in _OF_DATETIME)
    known = _known_zone(zone)
    moment = datetime(year, month, day, hour, minute, second, micros, known, fold=fold)
    text = moment.isoformat()
    return f"{text.removesuffix('+00:00')}Z" if known is UTC else _with_zone(text, zone, known)


def _time(value: time) -> Opened:
    hour, minute, second, micros, zone = (field.__get__(value) for field in _OF_TIME)
    known = _known_zone(zone)
    return _with_zone(time(hour, minute, second, micros, known).isoformat(), zone, known)


def _known_zone(zone: Any) -> Any:
    """Return a time zone whose class is the standard library's: to ask another may run anything."""
    kind = type_of(zone)
    if kind is timezone:
        return UTC if zone is UTC or timezone.utcoffset(zone, None) == timedelta(0) else zone
    return zone if class_name(kind) == "zoneinfo.ZoneInfo" else None


def _with_zone(text: str, zone: Any, known: Any) -> str:
    return text if zone is known else f"{text} {named(zone)}"


def _date(value: date) -> Opened:
    return date.isoformat(value)


def _duration(value: timedelta) -> Opened:
    days, seconds, micros = (field.__get__(value) for field in _OF_TIMEDELTA)
    return cast("str", msgspec.to_builtins(timedelta(days, seconds, micros)))


def _uuid(value: Any) -> Opened:
    digits = f"{own(value, 'int'):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _fraction(value: Any) -> Opened:
    return f"{_integer(own(value, '_numerator'))}/{_integer(own(value, '_denominator'))}"


def _enum_member(value: Any) -> Opened:
    return opened(own(value, "_value_"))


def _path(value: Any) -> Opened:
    return str(value)


def _namespace(value: Any) -> Opened:
    held = own_dict(value) or {}
    return Mapped(len(held), held.items())


def _by_c(kind: type, method: str, largest: int | None = None) -> Reader:
    """Return a reader by a method of a class that is not written in Python."""
    call: Any = names_in(kind).get(method)
    size: Any = names_in(kind).get("__sizeof__")
    if type_of(call) not in (types.MethodDescriptorType, types.WrapperDescriptorType):
        return named

    def read(value: Any) -> Opened:
        if largest is not None and size(value) > largest:
            return named(value)
        found = call(value)
        return opened(found) if type(found) is not type(value) else named(value)

    return read


# --- classes that declare their fields ------------------------------------------------------------------------------


def _by_fields(names: tuple[str, ...]) -> Reader:
    def read(value: Any) -> Opened:
        held = [(name, item) for name in names if (item := own(value, name, _ABSENT)) is not _ABSENT]
        return Mapped(len(held), held)

    return read


def _ours(value: Any) -> Opened:
    return opened(msgspec.to_builtins(value))


def _by_slots(value: Any) -> Opened:
    held = list(slots_of(value, bases_of(type_of(value))))
    return Mapped(len(held), held)


def _pydantic(kind: type) -> Reader:
    """Return a reader of the fields that a model shows: its dict holds cached values of properties as well."""
    declared: Any = None
    for base in bases_of(kind):
        known = names_in(base)
        declared = next((known[name] for name in _PYDANTIC_FIELDS if type(known.get(name)) is dict), None)
        if declared is not None:
            break
    fields = cast("dict[str, Any] | None", declared)
    shown = None if fields is None else [name for name, one in fields.items() if own(one, "exclude") is not True]

    def read(value: Any) -> Opened:
        held = own_dict(value) or {}
        found = dict(held) if shown is None else {name: held[name] for name in shown if name in held}
        extra: Any = own(value, "__pydantic_extra__")
        if type(extra) is dict:
            found.update(cast("dict[str, Any]", extra))
        return Mapped(len(found), found.items())

    return read


def _pydantic_root(value: Any) -> Opened:
    return opened(own(value, "root"))


def _pydantic_url(value: Any) -> Opened:
    return opened(own(value, "_url"))


# --- which reader is whose ------------------------------------------------------------------------------------------

_OF_DAY: Final[tuple[Any, ...]] = tuple(date.__dict__[name] for name in ("year", "month", "day"))
_CLOCK: Final = ("hour", "minute", "second", "microsecond")
_OF_DATETIME: Final[tuple[Any, ...]] = (*_OF_DAY, *(datetime.__dict__[name] for name in (*_CLOCK, "fold", "tzinfo")))
_OF_TIME: Final[tuple[Any, ...]] = tuple(time.__dict__[name] for name in (*_CLOCK, "tzinfo"))
_OF_TIMEDELTA: Final[tuple[Any, ...]] = tuple(timedelta.__dict__[name] for name in ("days", "seconds", "microseconds"))
_ARGUMENTS: Final[Any] = BaseException.__dict__["args"]
_PYDANTIC_FIELDS: Final = ("__pydantic_fields__", "model_fields", "__fields__")
_GIVES_OTHERS: Final = ("__iter__", "items", "keys")  # a class that has one of its own shows other items than it holds

_BY_NAME: Final[Mapping[str, Reader]] = {
    "builtins.NoneType": _as_it_is,
    "builtins.bool": _as_it_is,
    "builtins.int": _integer,
    "builtins.float": _float,
    "builtins.complex": _complex,
    "builtins.str": _text,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "builtins.memoryview": _view,
    "builtins.range": _range,
    "builtins.type": _class,
    "builtins.function": _function,
    "builtins.builtin_function_or_method": _function,
    "builtins.BaseException": _exception,
    "builtins.mappingproxy": _read_only,
    "builtins.dict_keys": _part_of_dict,
    "builtins.dict_values": _part_of_dict,
    "types.SimpleNamespace": _namespace,
    "datetime.datetime": _moment,
    "datetime.date": _date,
    "datetime.time": _time,
    "datetime.timedelta": _duration,
    "uuid.UUID": _uuid,
    "fractions.Fraction": _fraction,
    "enum.Enum": _enum_member,
    "otel_agent_journal.event.ErrorInfo": _ours,
    "otel_agent_journal.event.Usage": _ours,
    "msgspec.Struct": _by_slots,
    "pydantic.root_model.RootModel": _pydantic_root,
    "pydantic.networks._BaseUrl": _pydantic_url,
}
_CONTAINERS: Final[Mapping[str, Reader]] = {
    "builtins.dict": _dict,
    "builtins.list": _list,
    "builtins.tuple": _tuple,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "collections.deque": _deque,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _dict,
    "collections.Counter": _dict,
}
_BY_CLASS: Final[Mapping[str, Callable[[type, type], Reader]]] = {
    "pydantic.main.BaseModel": lambda kind, _base: _pydantic(kind),
    "pydantic.v1.main.BaseModel": lambda kind, _base: _pydantic(kind),
    "pydantic_core._pydantic_core.Url": lambda _kind, base: _by_c(base, "__str__"),
    "numpy.generic": lambda _kind, base: _by_c(base, "item"),
    "decimal.Decimal": lambda _kind, base: _by_c(base, "__str__", _MAX_DECIMAL_BYTES),
}
_PATHS: Final = frozenset(
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")
    for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
)


def _reader_for(kind: type) -> Reader:
    """Return the reader of a class: that of the nearest base which is known."""
    if class_name(kind) in _PATHS:
        return _path
    gives_others = False
    for base in bases_of(kind):
        inside, name = names_in(base), class_name(base)
        declared: Any = inside.get("__dataclass_fields__")
        if type(declared) is dict:
            return _by_fields(tuple(cast("dict[str, Any]", declared)))
        declared = inside.get("__attrs_attrs__")
        if is_a(declared, tuple):
            return _by_fields(tuple(own(field, "name") for field in cast("Any", tuple.__iter__(declared))))
        if name in _CONTAINERS:
            return named if gives_others else _CONTAINERS[name]
        if name in _BY_NAME:
            return _BY_NAME[name]
        if name in _BY_CLASS:
            return _BY_CLASS[name](kind, base)
        gives_others = gives_others or any(given in inside for given in _GIVES_OTHERS)
    return named


_READERS: Final = ByClass(_reader_for)
