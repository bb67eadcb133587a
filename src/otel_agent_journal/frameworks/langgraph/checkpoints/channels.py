"""What the channels of a thread hold: values and lists by where they are stored, written once and built anew.

A checkpoint says of each channel that changed its version and where the value is; of the others the version tells in
which event it was put. The saver's process remembers the lists that it last gave to the graph or got from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from langgraph.checkpoint.serde import types

from otel_agent_journal.context.checkpoints import Saved
from otel_agent_journal.frameworks.langgraph.checkpoints.lists import KnownList, Part, parts_of, refs_in
from otel_agent_journal.frameworks.langgraph.checkpoints.log import Body, ThreadLog
from otel_agent_journal.frameworks.langgraph.checkpoints.values import OWN, Ref, Serde, as_text

_LISTS: Final = 4  # of a channel that are remembered: those of the graph that runs, and of who looks meanwhile
_SNAPSHOT: Final[Any] = getattr(types, "_DeltaSnapshot", None)  # of a delta channel: its value, once in a while
_NONE: Final[list[Ref]] = []
_SMALL_BYTES: Final = 32  # what is not larger is written again rather than looked for

# Nothing; [event's number, place]; a list by its parts, or unfolded by its refs; a dict by the specs of its values; a
# delta channel's snapshot by that of its value.
Spec = None | list[int] | dict[str, Any]
Channel = tuple[str, str]  # namespace and name


class Draft:
    """The values of an event that is not written yet. One that is known already is referred to.

    Args:
        known: where values are, by their keys.
    """

    def __init__(self, serde: Serde, known: Mapping[bytes, Ref]) -> None:
        self._serde = serde
        self._known = known
        self.values: list[list[str]] = []
        self.keys: dict[bytes, Ref] = {}  # of those that are new

    def put(self, value: Any) -> Ref:
        """Return where a value is, or will be."""
        typed, key = self._serde.packed(value)
        small = len(typed[1]) <= _SMALL_BYTES
        found = None if small else self._known.get(key) or self.keys.get(key)
        if found is None:
            found = (OWN, len(self.values))
            self.values.append(as_text(typed))
            if not small:
                self.keys[key] = found
        return found


class Channels:
    """The values of one thread. Not thread-safe."""

    def __init__(self, log: ThreadLog) -> None:
        self._log = log
        self._generation = log.generation
        self._forget()

    def _forget(self) -> None:
        self._known: dict[bytes, Ref] = {}
        self._lists: dict[Channel, deque[KnownList]] = {}
        self._last: dict[Channel, tuple[int, list[Ref]]] = {}  # the list that was last built of a channel
        self._versions: dict[Channel, dict[Any, int | list[int]]] = {}  # in which events each version was put
        self._indexed = 0

    # --- writing ---

    def draft(self, serde: Serde) -> Draft:
        """Return a new event's values."""
        self._index()
        return Draft(serde, self._known)

    def spec_of(self, draft: Draft, value: Any, channel: Channel | None = None) -> tuple[Spec, list[Ref] | None]:
        """Return how a value is written, and of a list where its elements are.

        Args:
            draft: takes what is new.
            value: the value.
            channel: whose it is, in a checkpoint; None for a task's write.
        """
        if _has_lists(value):
            return {"dict": {key: self.spec_of(draft, one)[0] for key, one in value.items()}}, None
        if _is_snapshot(value):
            return {"snapshot": self.spec_of(draft, value.value)[0]}, None
        if not _is_list(value):
            return [*draft.put(value)], None
        given = cast("list[Any]", value)
        refs: list[Ref] | None = None
        earlier: tuple[int, list[Ref]] | None = None
        if channel is not None:
            earlier = self._last.get(channel)
            for known in self._lists.get(channel, ()):
                refs = known.refs_of(given, draft.put)
                if refs is not None:
                    earlier = (known.number, known.refs)
                    break
        if refs is None:
            refs = [draft.put(element) for element in given]
        parts = parts_of(refs, earlier[1] if earlier else ())
        spec: Spec = {"list": parts}
        if earlier and any(len(part) == 2 for part in parts):
            spec["on"] = earlier[0]
        return spec, refs

    def written(self, draft: Draft, number: int, lists: Mapping[Channel, tuple[list[Any], list[Ref]]]) -> None:
        """Know what an event of that number has, now that it is there."""
        self._known |= {key: (number, place) for key, (_, place) in draft.keys.items()}
        for channel, (elements, own) in lists.items():
            there = self._last.get(channel, (0, _NONE))[1]
            same = len(there) if there == own[: len(there)] else 0
            refs = own[:same] + [ref if ref[0] != OWN else (number, ref[1]) for ref in own[same:]]
            self._last[channel] = (number, refs)
            kept = self._lists.setdefault(channel, deque(maxlen=_LISTS))
            for known in kept:
                if known.goes_on_in(elements):
                    known.became(elements, refs, number)
                    break
            else:
                kept.appendleft(KnownList(elements, refs, number))

    # --- reading ---

    def values_of(
        self, serde: Serde, saved: Saved, versions: Mapping[str, Any], *, remember: bool = False
    ) -> dict[str, Any]:
        """Return the values of a checkpoint's channels, each anew.

        Args:
            serde: the serialiser.
            saved: the checkpoint.
            versions: of its channels.
            remember: the lists, since a graph may go on with them.
        """
        self._index()
        found: dict[str, tuple[int, Spec]] = {}
        for name, version in versions.items():
            number = self._number_of(saved, name, version)
            spec: Spec = None if number is None else self._spec(number, name)
            if number is not None and spec is not None:
                found[name] = (number, self._unfolded(saved.ns, name, number, spec))
        self._log.fetch(at for number, spec in found.values() for at in numbers_in((spec,), number))
        values: dict[str, Any] = {}
        for name, (number, spec) in found.items():
            values[name] = self.value(serde, number, spec)
            if remember and isinstance(spec, dict) and "refs" in spec:
                kept = self._lists.setdefault((saved.ns, name), deque(maxlen=_LISTS))
                kept.appendleft(KnownList(values[name], spec["refs"], number))
        return values

    def value(self, serde: Serde, number: int, spec: Spec) -> Any:
        """Return a value that an event of that number has, anew."""
        match spec:
            case {"dict": parts}:
                return {key: self.value(serde, number, one) for key, one in parts.items()}
            case {"snapshot": one}:
                return _SNAPSHOT(self.value(serde, number, one))
            case {"list": parts}:
                return [self._value(serde, ref) for ref in refs_in(parts, number, [])]
            case {"refs": refs}:
                return [self._value(serde, ref) for ref in refs]
            case _:
                assert isinstance(spec, list)
                return self._value(serde, _ref(spec, number))

    def of_channel(self, serde: Serde, ns: str, name: str, number: int) -> Any:
        """Return what an event has put into a channel, anew."""
        spec = self._unfolded(ns, name, number, self._spec(number, name))
        self._log.fetch(numbers_in((spec,), number))
        return self.value(serde, number, spec)

    def is_stored(self, serde: Serde, number: int, spec: Spec, value: Any) -> bool:
        """Tell whether a value equals one that an event of that number has."""
        return self._keys(serde, number, spec) == _keys_of(serde, value)

    def is_in(self, serde: Serde, saved: Saved, name: str, version: Any, value: Any) -> bool:
        """Tell whether a value equals the one that a checkpoint's channel has."""
        self._index()
        number = self._number_of(saved, name, version)
        spec: Spec = None if number is None else self._spec(number, name)
        if number is None or spec is None:
            return value is None
        return self.is_stored(serde, number, self._unfolded(saved.ns, name, number, spec), value)

    def _keys(self, serde: Serde, number: int, spec: Spec) -> Any:
        match spec:
            case {"dict": parts}:
                return {key: self._keys(serde, number, one) for key, one in parts.items()}
            case {"snapshot": one}:
                return self._keys(serde, number, one)
            case {"list": parts}:
                return [serde.key(self._log.typed(ref)) for ref in refs_in(parts, number, [])]
            case {"refs": refs}:
                return [serde.key(self._log.typed(ref)) for ref in refs]
            case _:
                assert isinstance(spec, list)
                return serde.key(self._log.typed(_ref(spec, number)))

    def knows(self, ns: str, name: str, version: Any) -> bool:
        """Tell whether a version of a channel was put in a namespace."""
        self._index()
        return version in self._versions.get((ns, name), {})

    def _number_of(self, saved: Saved, name: str, version: Any) -> int | None:
        """Return the number of the event in which a checkpoint's channel got its value."""
        own: Body = self._log.said[saved.number].body["channels"]
        if name in own:
            return saved.number
        found = self._versions.get((saved.ns, name), {}).get(version)
        numbers = found if isinstance(found, list) else [] if found is None else [found]
        return next((number for number in reversed(numbers) if number < saved.number), None)

    def _spec(self, number: int, name: str) -> Spec:
        return self._log.said[number].body["channels"][name][1]

    def _unfolded(self, ns: str, name: str, number: int, spec: Spec) -> Spec:
        """Return a channel's list as what its elements are, whatever earlier lists it was written by."""
        if not isinstance(spec, dict) or "list" not in spec:
            return spec
        last = self._last.get((ns, name))
        chain: list[tuple[int, list[Part]]] = []
        refs: list[Ref] = []
        at: int | None = number
        while at is not None:
            if last is not None and at == last[0]:
                refs = list(last[1])
                break
            earlier: Any = self._spec(at, name)
            chain.append((at, earlier["list"]))
            at = earlier.get("on")
        for event, parts in reversed(chain):
            refs = refs_in(parts, event, refs)
        if last is None or number >= last[0]:
            self._last[ns, name] = (number, list(refs))
        return {"refs": refs}

    def _value(self, serde: Serde, ref: Ref) -> Any:
        typed = self._log.typed(ref)
        value, key = serde.loaded(typed)
        if len(typed[1]) > _SMALL_BYTES:
            self._known.setdefault(key, ref)
        return value

    def _index(self) -> None:
        """Know in which events versions were put, of those that came since."""
        if self._generation != self._log.generation:
            self._generation = self._log.generation
            self._forget()
        for number in range(self._indexed, self._log.count):
            said = self._log.said.get(number)
            channels: Mapping[str, list[Any]] = (said.body.get("channels") or {}) if said else {}
            ns = said.plain["ns"] if said else ""
            for name, (version, _) in channels.items():
                versions = self._versions.setdefault((ns, name), {})
                there = versions.setdefault(version, number)
                if there != number:
                    versions[version] = [*(there if isinstance(there, list) else [there]), number]
        self._indexed = self._log.count


def numbers_in(specs: Iterable[Spec], number: int) -> Iterable[int]:
    """Yield the numbers of the events whose values tasks' writes refer to."""
    for spec in specs:
        match spec:
            case {"dict": parts}:
                yield from numbers_in(parts.values(), number)
            case {"snapshot": one}:
                yield from numbers_in((one,), number)
            case {"list": parts}:
                yield from (at for at, _ in refs_in(parts, number, []))
            case {"refs": refs}:
                yield from (at for at, _ in refs)
            case [int(), int()]:
                yield _ref(spec, number)[0]
            case _:
                pass


def _is_list(value: Any) -> bool:
    """Tell whether a value is written by its elements."""
    return type(value) is list and bool(cast("list[Any]", value))


def _has_lists(value: Any) -> bool:
    """Tell whether a value is written by what it has under each of its names."""
    if type(value) is not dict:
        return False
    named = cast("dict[Any, Any]", value)
    return any(map(_is_list, named.values())) and all(type(key) is str for key in named)


def _is_snapshot(value: Any) -> bool:
    return _SNAPSHOT is not None and type(value) is _SNAPSHOT


def _keys_of(serde: Serde, value: Any) -> Any:
    if _is_snapshot(value):
        return _keys_of(serde, value.value)
    if _has_lists(value):
        return {key: _keys_of(serde, one) for key, one in value.items()}
    return [serde.packed(one).key for one in value] if _is_list(value) else serde.packed(value).key


def _ref(spec: list[int], number: int) -> Ref:
    return (number if spec[0] == OWN else spec[0], spec[1])
