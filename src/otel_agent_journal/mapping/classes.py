"""Of which class values were that JSON has no form for: what their plain form does not tell. Pure.

`classes_in` names them by JSON pointer (RFC 6901) where a value is recorded, `with_classes` makes them again of the
plain form where it is read. Classes of a program's own are left to who reads; bytes, dates and the like are made here.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any, Final, cast
from uuid import UUID

from otel_agent_journal.foreign import class_name, type_of
from otel_agent_journal.plain import text_of

CLASSES: Final = "$classes"  # of `details.raw`
_MOST: Final = 10_000  # values that are looked at
_KEYS: Final = "builtins.dict[int]"  # numbers for keys, which JSON has as texts
_MORE: Final = "..."  # for the class of values that were not looked at

Made = Callable[[str, Any], Any]

_MAKE: Final[Mapping[str, Callable[[Any], Any]]] = {
    _KEYS: lambda plain: {int(key): value for key, value in plain.items()},
    "builtins.tuple": tuple,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.bytes": a2b_base64,
    "builtins.bytearray": lambda plain: bytearray(a2b_base64(plain)),
    "builtins.float nan": lambda plain: float("nan"),
    "builtins.float inf": lambda plain: float("inf"),
    "builtins.float -inf": lambda plain: float("-inf"),
    "datetime.datetime": datetime.fromisoformat,
    "datetime.date": date.fromisoformat,
    "datetime.time": time.fromisoformat,
    "uuid.UUID": UUID,
    "decimal.Decimal": Decimal,
    "fractions.Fraction": Fraction,
}


def classes_in(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the classes of the values in a dict that are not JSON's own, by JSON pointer; quick where all are."""
    if _has_json_alone(value):
        return {}
    found: dict[str, str] = {}
    pending: list[tuple[str, Any]] = [("", value)]
    left = _MOST
    while pending and left:
        left -= 1
        at, one = pending.pop()
        kind = type_of(one)
        if kind is dict or kind is list or kind is tuple:
            if kind is tuple:
                found[at] = "builtins.tuple"
            pending.extend(_within(at, one, found))
        elif kind is float:
            if not isfinite(one):
                found[at] = f"builtins.float {one}"
        elif not (kind is str or kind is int or kind is bool or one is None):
            found[at] = class_name(kind)
    if pending:
        found[pending[-1][0]] = _MORE
    return found


def _has_json_alone(value: Any) -> bool:
    """Tell whether all values in it are JSON's own: the common case, without making pointers."""
    pending: list[Any] = [value]
    for one in pending:  # which grows as it is walked over
        kind = type(one)  # type: ignore[misc]
        if kind is str or one is None or kind is int or kind is bool:
            continue
        if kind is dict:
            try:
                "".join(one)
            except TypeError:  # a key that is no text
                return False
            pending.extend(one.values())
        elif kind is list:
            pending.extend(one)
        elif kind is not float or not isfinite(one):
            return False
        if len(pending) > _MOST:
            return False
    return True


def _within(at: str, value: Any, found: dict[str, str]) -> list[tuple[str, Any]]:
    """Return what is in a dict or list, by pointer; note keys that are numbers."""
    if type_of(value) is not dict:
        return [(f"{at}/{number}", item) for number, item in enumerate(value)]
    pairs = list(cast("Mapping[Any, Any]", value).items())
    if any(type_of(key) is not str for key, _ in pairs):
        found[at] = _KEYS if all(type_of(key) is int for key, _ in pairs) else "builtins.dict"
    return [(f"{at}/{_escaped(key)}", item) for key, item in pairs]


def with_classes(value: Any, classes: Mapping[str, str], made: Made) -> tuple[Any, list[str]]:
    """Return plain data with its values of the classes that they were, and the pointers of those that stayed plain.

    Args:
        value: plain data; it is not changed.
        classes: as `classes_in` returned them.
        made: makes a value of a class that is not known here, given its name and the plain form; raises
            `LookupError` where it cannot.
    """
    top: list[Any] = [_copied(value)]
    lost: list[str] = []
    for pointer in sorted(classes, key=lambda one: one.count("/"), reverse=True):  # what is within comes first
        try:
            holder, key = _place(top, pointer)
            holder[key] = _made(classes[pointer], holder[key], made)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            lost.append(pointer)
    return top[0], sorted(lost)


def _made(name: str, plain: Any, made: Made) -> Any:
    make = cast("Callable[[Any], Any] | None", _MAKE.get(name))
    return made(name, plain) if make is None else make(plain)


def _copied(value: Any) -> Any:
    """Return plain data whose dicts and lists may be changed."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in cast("list[Any]", value)]
    return value


def placed_at(value: Any, pointer: str) -> tuple[Any, Any]:
    """Return what holds the value at a pointer other than the whole, and its key there.

    Raises:
        LookupError: there is none.
    """
    return _place([value], pointer)


def _place(top: list[Any], pointer: str) -> tuple[Any, Any]:
    """Return what holds the value at a pointer, and its key there."""
    holder: Any = top
    key: Any = 0
    for part in pointer.split("/")[1:]:
        holder = holder[key]
        text = part.replace("~1", "/").replace("~0", "~")
        key = int(text) if type_of(holder) is list else text
        holder[key]
    return holder, key


def _escaped(key: Any) -> str:
    return text_of(key).replace("~", "~0").replace("/", "~1")
