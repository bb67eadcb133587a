"""Messages that stand by reference, and where the session's events hold them whole.

The journal has each message once: `{"$message": digest}` stands for one that a model or tool step already journaled,
`{"$messages": n}` for n at the head of a list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.media import is_medium
from otel_agent_journal.mapping.references import is_message, key_of, messages_of
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.values import mappings_in, rebuilt

EARLIER: Final = "$messages"
_ONE: Final = "$message"
HOLDERS: Final = {
    "MODEL_START": "messages",
    "REQUEST": "messages",
    "MODEL_END": "output",
    "TOOL_END": "output",
    "TOOL_ERROR": "output",
    "NODE_END": "output",
    "AGENT_END": "output",
    "STEP_END": "output",
}

Message = Mapping[str, Any]


def whole(value: Any) -> Iterator[Message]:
    """Yield the messages of role and content in a value, however deep."""
    return (one for one in mappings_in(value, lambda mapping: not is_message(mapping)) if is_message(one))


def is_reference(value: Any) -> bool:
    """Tell whether a value stands for one message or several that are elsewhere in the journal."""
    return isinstance(value, Mapping) and (_ONE in value or EARLIER in value)


def keys_in(value: Any) -> set[str]:
    """Return the keys of the messages that a value refers to."""
    found = (_key_referred_to(one) for one in mappings_in(value, lambda mapping: _key_referred_to(mapping) is None))
    return {key for key in found if key is not None}


def replaced(value: Any, known: Mapping[str, Message]) -> Any:
    """Return a value with the messages it refers to in place, those that are known."""
    return rebuilt(value, lambda mapping: known.get(_key_referred_to(mapping) or "", mapping))


class _Holder(NamedTuple):
    """A value kept apart, in which there are messages or may be."""

    place: int
    session_id: str
    value: Any


_Found = tuple[int, Message | _Holder]  # with the place of its event among those that may have messages


class Referred:
    """Finds the messages that are referred to, and fetches no value that has none of them, where its reference says so.

    Of those that do not say which messages they have, the nearest before is looked into first, until all are found.

    Args:
        events: the session's, in order. Nothing of them is kept but messages that are wanted, and references.
        wanted: keys of messages.
        resolved: replaces blob references, given a session and a value.
    """

    def __init__(
        self, events: Iterable[JournalEvent], wanted: Collection[str], resolved: Callable[[str, Any], Any]
    ) -> None:
        self._wanted = frozenset(wanted)
        self._resolved = resolved
        self._times: list[int] = []  # of the events that may have messages
        self._found: dict[str, list[_Found]] = defaultdict(list)  # by key
        self._unknown: list[_Holder] = []
        self._fetched: dict[int, dict[str, Message]] = {}
        for event in events:
            field = HOLDERS.get(event.type)
            if field is not None and field in event.details:
                self._take(event, event.details[field])

    def by(self, keys: Collection[str], at_ns: int | None) -> dict[str, Message]:
        """Return messages by their keys, those that are found; of several with one key the last up to `at_ns`.

        Args:
            keys: of those that are wanted.
            at_ns: when the references were made; None for now.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        now = len(self._times) if at_ns is None else bisect_right(self._times, at_ns)
        wanted = self._wanted.intersection(keys)
        self._look_into_unknown(wanted, now)
        found = {key: self._of(key, now) for key in wanted}
        return {key: message for key, message in found.items() if message is not None}

    def _take(self, event: JournalEvent, value: Any) -> None:
        place = len(self._times)
        self._times.append(event.timestamp_ns)
        blobs = [one for one in mappings_in(value, lambda mapping: not refers_to_blob(mapping)) if refers_to_blob(one)]
        if not blobs:
            self._remember(place, value)
            return
        holder = _Holder(place, event.session_id, value)
        keys = [messages_of(one) for one in blobs if not is_medium(one)]
        if None in keys:
            self._unknown.append(holder)
            return
        beside = (key for message in whole(value) if (key := key_of(message)) is not None)
        for key in self._wanted.intersection(chain(beside, chain.from_iterable(one or () for one in keys))):
            self._found[key].append((place, holder))

    def _look_into_unknown(self, wanted: Collection[str], now: int) -> None:
        at = bisect_right(self._unknown, now - 1, key=lambda holder: holder.place)
        known = {key: max((place for place, _ in self._found[key] if place < now), default=-1) for key in wanted}
        left, settled = sorted(wanted, key=known.__getitem__), set[str]()
        for holder in reversed(self._unknown[:at]):
            while left and (left[-1] in settled or known[left[-1]] > holder.place):
                left.pop()
            if not left:
                return
            settled.update(self._in(holder))
        nowhere = {key for key in wanted if not self._found[key]}
        for holder in self._unknown[at:] if nowhere else ():  # clocks of several machines differ
            nowhere.difference_update(self._in(holder))
            if not nowhere:
                return

    def _of(self, key: str, now: int) -> Message | None:
        """Return the last message before `now`, else the first behind it: it is better than none."""
        found = sorted(self._found[key], key=lambda one: one[0])
        at = bisect_right(found, now - 1, key=lambda one: one[0])
        for _, one in (*reversed(found[:at]), *found[at:]):
            message = self._in(one).get(key) if isinstance(one, _Holder) else one
            if message is not None:
                return message
        return None

    def _in(self, holder: _Holder) -> dict[str, Message]:
        """Return the messages that a holder has, of those wanted."""
        if holder.place not in self._fetched:
            self._fetched[holder.place] = self._remember(holder.place, self._resolved(holder.session_id, holder.value))
        return self._fetched[holder.place]

    def _remember(self, place: int, value: Any) -> dict[str, Message]:
        found = {key: message for message in whole(value) if (key := key_of(message)) in self._wanted}
        for key, message in found.items():
            self._found[key].append((place, message))
        return found


def _key_referred_to(mapping: Mapping[str, Any]) -> str | None:
    key = mapping.get(_ONE)
    return key if isinstance(key, str) and len(mapping) == 1 else None
