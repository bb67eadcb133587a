"""What the steps of two sessions took and gave, side by side: where it differs first, ids and the session's name apart.

Of a request the lists of messages are compared by digests; only messages that differ are looked at.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, cast

from otel_agent_journal.event import REQUEST as REQUEST_TOLD
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.request import (
    DEFINED,
    REQUEST,
    TOLD_BY,
    ListTold,
    digest_and_name,
    keys_of_parts,
    list_told,
)
from otel_agent_journal.projections.steps import Attempt
from otel_agent_journal.reading.differing import first_within, without_ids
from otel_agent_journal.reading.references import Referred, replaced
from otel_agent_journal.replays.ignoring import Ignoring
from otel_agent_journal.replays.recording import comparable
from otel_agent_journal.replays.words import PARAMETERS

_LISTS_KEPT: Final = 16
_PARTS: Final = ("model", "messages", *DEFINED)

Place = tuple[str, Any, Any]  # a JSON pointer, and what each has there


class Contents:
    """What one session's steps took and gave.

    Args:
        session_id: the session.
        events: of it, in order; they are kept.
        resolved: replaces references to values that are kept apart, given a session and a value.
        names: what the session is called in what its program says.
    """

    def __init__(
        self,
        session_id: str,
        events: Sequence[JournalEvent],
        resolved: Callable[[str, Any], Any],
        names: Iterable[str] = (),
    ) -> None:
        self.session_id = session_id
        self.names = (session_id, *names)
        self._events = events
        self._resolved = resolved
        self._lists: dict[str, ListTold] = {}
        self._defined: dict[tuple[str, str], Any] = {}
        self._kept: OrderedDict[str, list[str]] = OrderedDict()
        self._messages: dict[str, Mapping[str, Any]] | None = None
        for event in events:
            if event.type in TOLD_BY and REQUEST in event.details:
                request = _mapping(event.details[REQUEST])
                told = list_told(request.get("messages"))
                if told is not None:
                    self._lists.setdefault(told.digest, told)
                for name in DEFINED:
                    if name in event.details and name in request:
                        self._defined.setdefault((name, str(request[name])), event.details[name])

    def value(self, attempt: Attempt, name: str) -> Any:
        """Return what a step took or gave: input, output, tools, params or model."""
        if name in DEFINED:
            digest = request_in(attempt).get(name)
            return self._whole(self._defined.get((name, str(digest))))
        if name == "model":
            return request_in(attempt).get("model", attempt.name)
        details = attempt.details_end if name == "output" else attempt.details_start
        return replaced(self._whole(details.get(name)), self._by_key())

    def keys(self, attempt: Attempt) -> list[str] | None:
        """Return the keys of the messages that a model was shown; None where the journal does not tell them."""
        told = _mapping(request_in(attempt).get("messages"))
        digest = told.get("digest")
        return self._keys(digest) if isinstance(digest, str) else None

    def message(self, key: str) -> Any:
        """Return a message by its key; the key itself where the message is not in the journal."""
        digest, name = digest_and_name(key)
        found = self._by_key().get(digest)
        if found is None:
            return {"digest_of": key}
        return {**without_ids(found), **({} if name is None else {"name": name})}

    def _keys(self, digest: str) -> list[str] | None:
        chain: list[ListTold] = []
        at: str | None = digest
        while at is not None and at not in self._kept:
            told = self._lists.get(at)
            if told is None or any(told is one for one in chain):
                return None
            chain.append(told)
            at = told.after
        keys: list[str] | None = [] if at is None else self._kept[at]
        for told in reversed(chain):
            keys = keys_of_parts(told.parts, list(keys))
            if keys is None:
                return None
            self._keep(told.digest, keys)
        return keys

    def _keep(self, digest: str, keys: list[str]) -> None:
        self._kept[digest] = keys
        while len(self._kept) > _LISTS_KEPT:
            self._kept.popitem(last=False)

    def _by_key(self) -> dict[str, Mapping[str, Any]]:
        if self._messages is None:
            keys = {part for told in self._lists.values() for part in told.parts if isinstance(part, str)}
            wanted = {digest_and_name(key)[0] for key in keys}
            self._messages = Referred(self._events, wanted, self._resolved).by(wanted, None)
        return self._messages

    def _whole(self, value: Any) -> Any:
        return self._resolved(self.session_id, value)


class Comparison:
    """Two sessions' contents.

    Args:
        recorded: the one side.
        replayed: the other.
        ignoring: what is no difference.
    """

    def __init__(self, recorded: Contents, replayed: Contents, ignoring: Ignoring) -> None:
        self._sides = (recorded, replayed)
        self._ignoring = ignoring
        self.hidden = 0

    def count_hidden(self, recorded: Attempt, replayed: Attempt) -> None:
        """Count what rules have hidden of what two calls take that are the same by them."""
        if self._ignoring:
            for name in ("input", PARAMETERS):
                self.differs(recorded, replayed, name)

    def parts(self, recorded: Attempt, replayed: Attempt) -> list[str]:
        """Return which parts of two requests have other digests."""
        ours, theirs = (_digests(one) for one in (recorded, replayed))
        return [name for name in _PARTS if ours.get(name) != theirs.get(name)]

    def differs(self, recorded: Attempt, replayed: Attempt, name: str) -> Place | None:
        """Return where a part of two attempts differs first, and what each has there; None where it does not."""
        if name == "messages":
            return self._messages_differ(recorded, replayed)
        ours, theirs = (side.value(one, name) for side, one in zip(self._sides, (recorded, replayed), strict=True))
        return self._compared(name, without_ids(ours), without_ids(theirs))

    def _messages_differ(self, recorded: Attempt, replayed: Attempt) -> Place | None:
        ours, theirs = (side.keys(one) for side, one in zip(self._sides, (recorded, replayed), strict=True))
        if ours is None or theirs is None:
            return None if ours is theirs and not self.parts(recorded, replayed) else ("", None, None)
        for at, (one, other) in enumerate(zip_longest(ours, theirs)):
            if one == other:
                continue
            left = None if one is None else self._sides[0].message(one)
            right = None if other is None else self._sides[1].message(other)
            place = self._compared("messages", _at(at, left), _at(at, right))
            if place is not None:
                return place
        return None

    def _compared(self, field: str, ours: Any, theirs: Any) -> Place | None:
        if self._are_same(ours, theirs):
            return None
        clean, other = (self._ignoring.cleaned(field, one) for one in (ours, theirs))
        if self._are_same(clean, other):
            self.hidden += 1
            return None
        return first_within(clean, other) or ("", ours, theirs)

    def _are_same(self, ours: Any, theirs: Any) -> bool:
        return comparable(ours, self._sides[0].names) == comparable(theirs, self._sides[1].names)


def request_in(attempt: Attempt) -> Mapping[str, Any]:
    """Return what tells a model's request: its START, or the last word of the middleware behind that."""
    for note in reversed(attempt.notes):
        if note.type == REQUEST_TOLD:
            return _mapping(note.details.get(REQUEST))
    return _mapping(attempt.details_start.get(REQUEST))


def _digests(attempt: Attempt) -> dict[str, Any]:
    return {
        name: _mapping(value).get("digest") if isinstance(value, Mapping) else value
        for name, value in request_in(attempt).items()
    }


def _at(place: int, message: Any) -> list[Any]:
    """Return a message at its place in a list of which the rest is no matter."""
    return [*[None] * place, message]


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
