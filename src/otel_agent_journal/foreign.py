"""Looking at objects of others without their noticing. Pure.

An object's class is taken by `type`, a class's bases and names from the interpreter, fields from the object's own dict
and slots. So nobody's property, `__getattr__`, `__class__` or metaclass runs here. Which classes are known, and what is
inside their objects, is in `readers`.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, cast

_MAX_CLASSES: Final = 4096  # that are remembered
_ABSENT: Final = object()
_DESCRIPTORS: Final = (types.GetSetDescriptorType, types.MemberDescriptorType)  # of the interpreter's own making
_Found = TypeVar("_Found")

_qualname_of: Final[Callable[[type], Any]] = type.__dict__["__qualname__"].__get__
_module_of: Final[Callable[[type], Any]] = type.__dict__["__module__"].__get__
bases_of: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_is_below: Final[Callable[[type, type], bool]] = type.__dict__["__subclasscheck__"]
names_in: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__


def class_name(kind: type) -> str:
    """Return a class's module and name."""
    try:
        module, name = _module_of(kind), _qualname_of(kind)
    except AttributeError:  # a class made without a module
        module, name = "?", _qualname_of(kind)
    return f"{module}.{name}" if type(module) is str else f"?.{name}"


def type_of(value: Any) -> type:
    """Return a value's class, whatever its `__class__` says."""
    return type(value)  # type: ignore[no-any-return]


def named(value: Any) -> str:
    """Return a value's class as a text: `<module.Class>`."""
    return f"<{class_name(type_of(value))}>"


def is_a(value: Any, *kinds: type) -> bool:
    """Tell whether a value's class is one of these or below it, whatever its `__class__` says."""
    own_kind = type_of(value)
    for kind in kinds:  # noqa: SIM110 - a generator costs as much as all else here
        if own_kind is kind or _is_below(kind, own_kind):
            return True
    return False


def own(value: Any, name: str, default: Any = None) -> Any:
    """Return what an object itself holds under a name, in its dict or a slot."""
    kind = type_of(value)
    descriptor, slots = _FIELDS.of(kind)
    if descriptor is not None:
        held = descriptor.__get__(value)
        if type(held) is dict and name in held:
            return cast("dict[str, Any]", held)[name]
    return _in_slot(slots[name], value, default) if name in slots else default


def own_dict(value: Any) -> dict[str, Any] | None:
    """Return an object's dict; None where it has none, or its class puts something else in its place."""
    descriptor, _ = _FIELDS.of(type_of(value))
    held = None if descriptor is None else descriptor.__get__(value)
    return cast("dict[str, Any]", held) if type(held) is dict else None


def slots_of(value: Any, bases: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds in slots, those of its bases first."""
    for base in reversed(bases):
        for name, slot in names_in(base).items():
            if type(slot) is types.MemberDescriptorType and name != "__dict__":
                held = _in_slot(slot, value, _ABSENT)
                if held is not _ABSENT:
                    yield name, held


def _in_slot(slot: Any, value: Any, default: Any) -> Any:
    try:
        return slot.__get__(value)
    except AttributeError:  # empty
        return default


class ByClass(Generic[_Found]):
    """Remembers what was found for a class, by identity: to hash a class may run its metaclass.

    Args:
        find: called once a class, and again for classes of long ago.
    """

    def __init__(self, find: Callable[[type], _Found]) -> None:
        self._find = find
        self._known: dict[int, tuple[weakref.ref[type], _Found]] = {}

    def of(self, kind: type) -> _Found:
        """Return what is found for a class."""
        known = self._known.get(id(kind))
        if known is not None and known[0]() is kind:
            return known[1]
        found = self._find(kind)
        if len(self._known) >= _MAX_CLASSES:
            self._known.clear()
        self._known[id(kind)] = (weakref.ref(kind), found)
        return found


def _fields_of_class(kind: type) -> tuple[Any, dict[str, Any]]:
    """Return the interpreter's own descriptor of the dict of a class's objects, and those of its slots by name."""
    descriptor: Any = None
    slots: dict[str, Any] = {}
    for base in reversed(bases_of(kind)):
        names = names_in(base)
        descriptor = names.get("__dict__", descriptor)
        slots.update((name, slot) for name, slot in names.items() if type(slot) is types.MemberDescriptorType)
    return descriptor if type(descriptor) in _DESCRIPTORS else None, slots


_FIELDS: Final = ByClass(_fields_of_class)


class Classes:
    """Classes of others, known by module and name, so that nothing need be imported to know them.

    Args:
        names: by `module.Class`, what such a class and all below it are called here.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._known = ByClass(self._find)

    def of(self, value: Any) -> str | None:
        """Return what a value's class is called, by the nearest of its bases; None where it is none of these."""
        return self._known.of(type_of(value))

    def _find(self, kind: type) -> str | None:
        names = map(class_name, bases_of(kind))
        return next((self._names[name] for name in names if name in self._names), None)
