"""Any value as plain data: what JSON can carry, within a budget that ends the work. Pure.

The one place where a value becomes plain. What is inside a value `readers` say; here it is walked. Budgets count
*weight*: about the bytes that a value takes in memory, with something for the work of looking at it.

    light(value, most)   tells that it is plain as it stands and weighs no more: an encoder may take it
    plain(value)         all of it, whatever it weighs
    Budget().fit(value)  all of it where it is not too heavy, else a part that says what is missing
    text_of(value)       it as a name, an id or a key
"""

from __future__ import annotations

import itertools
from binascii import b2a_base64
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.foreign import is_a, named
from otel_agent_journal.readers import Listed, Mapped, Octets, Text, opened

MAX_DEPTH: Final = 128  # levels of nesting that are kept; readers in other languages stop near here too
WHOLE: Final = 1024 * 1024  # of what one event holds of values, beside messages
PART: Final = 64 * 1024  # of what is heavier than that
MESSAGES: Final = 64 * 1024 * 1024  # of the messages in one event
UNREADABLE: Final = "[could not be read]"
_MAX_TEXT: Final = 4096  # characters of a name or a key that is made of something else than a text
_CONTAINER: Final = 256  # weights, about as an object of the kind has them in memory
_ITEM: Final = 16
_SCALAR: Final = 24
_FOREIGN: Final = 192  # the work of an object that is not plain
_SMALLEST: Final = 64  # with less left nothing more is begun
_TRIES: Final = 8  # at reading what another thread changes
_UNBOUNDED: Final = 1 << 62
_NONE: Final = type(None)
_to_json: Final = msgspec.json.Encoder().encode


def valid_text(text: str) -> str:
    r"""Return `text` with each lone surrogate, which UTF-8 cannot carry, as its escape: `\udc80`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def light(value: Mapping[str, Any] | list[Any], most: int) -> bool:
    """Tell whether a dict or list is of JSON's own classes alone, and weighs at most so much.

    The common case, and quick. It may still be too deep, or hold half a surrogate pair: the encoder will object.
    """
    kind = type(value)  # type: ignore[misc]
    if kind is not dict and kind is not list:
        return False
    pending: list[Any] = [value]
    for one in pending:
        most -= _CONTAINER + _ITEM * len(one)
        if most < 0:
            return False
        inside: Any = one
        if type(one) is dict:
            try:
                most -= len("".join(inside))
            except TypeError:  # a key that is no text
                return False
            inside = inside.values()
        for item in inside:
            kind = type(item)  # type: ignore[misc]
            if kind is str:
                most -= len(item)
            elif kind is dict or kind is list or kind is tuple:
                pending.append(item)
            elif not (kind is _NONE or kind is int or kind is bool or kind is float):
                return False
    return most >= 0


def plain(value: Any) -> Any:
    """Return `value` as JSON can carry it; total, and the identity on what JSON carries already.

    Keys become text. Lone surrogates become escapes, NaN and the infinities None, bytes base64, dates RFC 3339, an
    object what its fields hold, or its class's name; a cycle, or nesting beyond `MAX_DEPTH`, a text that says so.
    """
    return _Copy(_UNBOUNDED).of(value, 0)


def text_of(value: Any) -> str:
    """Return a value as a text: a text itself, numbers, ids and pairs as they are written, anything else as JSON."""
    if is_a(value, str):
        text = str.__getitem__(value, slice(None))
        return text if text.isascii() else valid_text(text)
    found = _Copy(_MAX_TEXT, halves=True).of(value, 0)
    if type(found) is dict or type(found) is list:
        return str(tuple(cast("list[Any]", found))) if is_a(value, tuple) else _to_json(found).decode()
    return str(found)


class Budget:
    """What one event may hold of values, whose they may be.

    Args:
        whole: values that weigh no more together are kept whole.
        part: what is kept of all that is beyond it.
        messages: what messages may weigh besides. A message is what a model was asked or has answered, and kept whole.
    """

    def __init__(self, whole: int = WHOLE, part: int = PART, messages: int = MESSAGES) -> None:
        self._whole = whole
        self._part = part
        self._messages = messages

    def fit(self, value: Any) -> tuple[Any, bool]:
        """Return a value as plain data, itself where it is that and heavy, and whether something of it is missing."""
        weighing = _Weighing(self._whole, self._messages)
        if weighing.takes(value):
            weight = self._whole + self._messages - weighing.left - weighing.messages_left
            if weighing.exact and weight > PART:
                self._whole, self._messages = weighing.left, weighing.messages_left
                return value, False
            copy = _Copy(self._whole + _SMALLEST, self._messages + _SMALLEST)
            found = copy.of(value, 0)
            if not copy.cut:
                self._whole, self._messages = weighing.left, weighing.messages_left
                return found, False
        half = self._part // 2
        copy = _Copy(half, self._messages, halves=True)
        found = copy.of(value, 0)
        self._part -= half - max(0, copy.left)
        self._messages = copy.messages or 0
        return found, copy.cut

    def fit_all(self, details: Any) -> tuple[dict[str, Any], list[str]]:
        """Return values by their names, each as `fit` has it, and the names of those of which something is missing."""
        inside = opened(details)
        pairs = list(inside.pairs) if isinstance(inside, Mapped) else [("value", details)]
        kept: dict[str, Any] = {}
        cut: list[str] = []
        for name, value in pairs:
            field = _free(text_of(name), kept)
            try:
                kept[field], missing = self.fit(value)
            except Exception:  # noqa: BLE001 - no stack is left, no memory: it may cost the field, never its event
                kept[field], missing = UNREADABLE, True
            if missing:
                cut.append(field)
        return kept, cut


class _Weighing:
    """Weighs a value before anything of it is copied, a part of it as often as it is in it."""

    def __init__(self, left: int, messages_left: int) -> None:
        self.left = left
        self.messages_left = messages_left
        self.exact = True  # of JSON's own classes alone, and not within itself
        self._now = 0

    def takes(self, value: Any) -> bool:
        """Tell whether the value is not too heavy."""
        messages: list[Any] = []
        try:
            self.left = self._left_of(self.left, [value], messages)
            self.messages_left = self._left_of(self.messages_left, messages, None)
        except RuntimeError:  # it changes while it is weighed
            return False
        return self.left >= 0 and self.messages_left >= 0

    def _left_of(self, budget: int, values: list[Any], apart: list[Any] | None) -> int:
        """Return what is left of a budget without these values; the contents of messages in them are put apart."""
        self._now = budget
        within: list[tuple[Iterator[Any], int]] = [(iter(values), 0)]
        path: set[int] = set()
        while within and self._now >= 0:
            items, whose = within[-1]
            for one in items:
                kind = type(one)  # type: ignore[misc]
                if kind is str:
                    self._now -= _SCALAR + len(one)
                elif kind is int or kind is float or kind is bool or one is None:
                    self._now -= _SCALAR
                elif apart is not None and kind is dict and is_message(one):
                    apart.extend(one.values())
                else:
                    inner = self._opened(one, path)
                    if inner is not None:
                        within.append(inner)
                        break
                if self._now < 0:
                    break
            else:
                within.pop()
                path.discard(whose)
        return self._now

    def _opened(self, one: Any, path: set[int]) -> tuple[Iterator[Any], int] | None:
        """Weigh a value by itself; return what is in it, and whose that is, where it is to be weighed too."""
        whose = id(one)
        if not (type(one) is dict or type(one) is list or type(one) is tuple):
            self.exact = False
            self._now -= _FOREIGN
        inside = opened(cast("Any", one))
        if isinstance(inside, Octets):
            self._now -= _SCALAR + inside.length * 4 // 3 + 4
        elif isinstance(inside, Text):
            self._now -= _SCALAR + inside.length
        elif not isinstance(inside, Mapped | Listed):
            self._now -= _SCALAR + (len(inside) if isinstance(inside, str) else 0)
        elif whose in path:
            self.exact = False
        else:
            self._now -= _CONTAINER + _ITEM * inside.length
            if self._now >= 0:
                path.add(whose)
                return inside.items if isinstance(inside, Listed) else self._values(inside), whose
        return None

    def _values(self, inside: Mapped) -> Iterator[Any]:
        for key, item in inside.pairs:
            if type(key) is str:
                self._now -= len(key)
            else:
                self.exact = False
                self._now -= str.__len__(key) if is_a(key, str) else _FOREIGN
            yield item


class _Copy:
    """Copies a value as plain data, as far as its budget goes.

    Args:
        left: the budget. `floor`, in calls, is what must be left of it afterwards.
        messages: the budget of messages; without one they are as all else.
        halves: a part takes at most half of what is left, so that what stands beside a large one is there too.
    """

    def __init__(self, left: int, messages: int | None = None, *, halves: bool = False) -> None:
        self.left = left
        self.messages = messages
        self.halves = halves
        self.cut = False
        self._above: set[int] = set()

    def of(self, value: Any, floor: int) -> Any:
        kind = type(value)  # type: ignore[misc]
        if kind is str:
            return self._text(value, floor)
        inside = opened(value)
        if not isinstance(inside, Mapped | Listed):
            return self._scalar(inside, floor)
        if id(value) in self._above:
            return f"<{_short_name(value)} within itself>"
        if len(self._above) >= MAX_DEPTH:
            return f"<{_short_name(value)} nested deeper than {MAX_DEPTH}>"
        if self.messages is not None and kind is dict and is_message(value):
            return self._message(value)
        self._above.add(id(value))
        self.left -= _CONTAINER
        try:
            if isinstance(inside, Mapped):
                return self._mapped(value, inside, floor)
            return self._listed(value, inside, floor)
        finally:
            self._above.discard(id(value))

    def _mapped(self, value: Any, inside: Mapped, floor: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        missing = inside.length
        for key, item in self._items(value, inside, floor):
            if self.left - floor < _SMALLEST:
                break
            self.left -= _ITEM
            text = self._key(key, made, self._share(floor))
            made[text] = self.of(item, self._share(floor))
            missing -= 1
        if missing > 0:
            self.cut = True
            made[_free("...", made)] = f"({missing:,} more)"
        return made

    def _listed(self, value: Any, inside: Listed, floor: int) -> list[Any]:
        made: list[Any] = []
        missing = inside.length
        for item in self._items(value, inside, floor):
            if self.left - floor < _SMALLEST:
                break
            self.left -= _ITEM
            made.append(self.of(item, self._share(floor)))
            missing -= 1
        if missing > 0:
            self.cut = True
            made.append(f"... ({missing:,} more)")
        return made

    def _share(self, floor: int) -> int:
        return floor + (self.left - floor) // 2 if self.halves else floor

    def _items(self, value: Any, inside: Mapped | Listed, floor: int) -> list[Any]:
        """Return as many items as may be copied, though another thread may change what holds them."""
        room = max(0, self.left - floor) // _ITEM + 1
        for _ in range(_TRIES):
            try:
                return list(itertools.islice(inside.pairs if isinstance(inside, Mapped) else inside.items, room))
            except RuntimeError:
                inside = cast("Mapped | Listed", opened(value))
        return []

    def _message(self, message: dict[str, Any]) -> Any:
        left, halves = self.left, self.halves
        self.left, self.messages, self.halves = self.messages or 0, None, False
        made = self.of(message, 0)
        self.left, self.messages, self.halves = left, max(0, self.left), halves
        return made

    def _key(self, key: Any, made: dict[str, Any], floor: int) -> str:
        if type(key) is str and len(key) <= _MAX_TEXT:
            text = key if key.isascii() else valid_text(key)
            self.left -= len(text)
        else:
            text = self._text(cast("str | Text", opened(key)), floor) if is_a(key, str) else text_of(key)
        return _free(text, made) if text in made else text

    def _scalar(self, value: Any, floor: int) -> Any:
        if isinstance(value, str | Text):
            return self._text(value, floor)
        if isinstance(value, Octets):
            room = max(0, self.left - floor) * 3 // 4
            text = b2a_base64(value.head(room), newline=False).decode("ascii")
            self.left -= len(text)
            return self._said_missing(text, value.length - room, "bytes")
        self.left -= _SCALAR
        return value

    def _text(self, text: str | Text, floor: int) -> str:
        room = max(0, self.left - floor)
        length, head = (len(text), text[:room]) if isinstance(text, str) else (text.length, text.head(room))
        self.left -= _SCALAR + min(length, room)
        return self._said_missing(head if head.isascii() else valid_text(head), length - room, "characters")

    def _said_missing(self, text: str, missing: int, what: str) -> str:
        if missing <= 0:
            return text
        self.cut = True
        return f"{text}... ({missing:,} more {what})"


def is_message(value: dict[Any, Any]) -> bool:
    """Tell whether a dict is a message whole, in plain data: it has a role and content."""
    return "content" in value and type(value.get("role")) is str


def _free(text: str, made: dict[str, Any]) -> str:
    """Return a key that is not taken yet: two that become one text are both kept."""
    if text not in made:
        return text
    return next(key for number in itertools.count(2) if (key := f"{text} ({number})") not in made)


def _short_name(value: Any) -> str:
    return named(value).rpartition(".")[2][:-1]
