"""What a model was given, as its START tells it: by what changed since a list that was told before. Pure.

`details.request.messages` is `{"digest": d, "count": n, "after": d0, "parts": [...]}`: the list is named by a running
SHA-256 over its messages and made of parts, each either `[a, b]`, what stands from a to b in the list named `after`, or
a message by its key. A loop that only grows tells its new messages, a trimmed window its ranges. A key is a message's
digest, with `@` and its name behind it where the message has one: agents sign an answer once it is journaled.
`details.request.tools` and `.params` are digests of what one MODEL_START of the session has in full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.event import EMPTY, JournalEvent
from otel_agent_journal.event import REQUEST as REQUEST_TOLD

REQUEST: Final = "request"  # of details
TOLD_BY: Final = frozenset(("MODEL_START", REQUEST_TOLD))  # the latter where middleware had the last word
DEFINED: Final = ("tools", "params")  # of details, each once a digest
_NAME: Final = "@"
_PAIR: Final = 2
_ANSWERED: Final = frozenset(("MODEL_END", "TOOL_END", "TOOL_ERROR"))

Part = str | list[int]


class ListTold(NamedTuple):
    """A list of messages as one request tells it."""

    digest: str
    after: str | None
    parts: Sequence[Any]


class Kept(msgspec.Struct, omit_defaults=True):
    """Of some events of a session, what of theirs later ones can refer to: digests, and lists as they are told."""

    held: list[str] = []
    lists: list[dict[str, Any]] = []


def kept_of(events: Iterable[JournalEvent]) -> dict[str, Kept]:
    """Return what later events of each session can refer to."""
    found: dict[str, Kept] = defaultdict(Kept)
    for event in events:
        if event.type in TOLD_BY and (request := _request_in(event.details)):
            kept = found[event.session_id]
            kept.held += [request[name] for name in DEFINED if name in event.details and name in request]
            if list_told(request.get("messages")) is not None:
                kept.lists.append(request["messages"])
        elif event.type in _ANSWERED and (digest := _digest_in(event.details.get("output"))) is not None:
            found[event.session_id].held.append(digest)
    return found


def key_of(digest: str, name: Any) -> str:
    """Return the key of a message with this digest, and this name where it has one."""
    return f"{digest}{_NAME}{name}" if name else digest


def digest_and_name(key: str) -> tuple[str, str | None]:
    """Return the digest of the message with a key, and its name."""
    digest, _, name = key.partition(_NAME)
    return digest, name or None


def parts_of(keys: Sequence[str], before: Sequence[str]) -> list[Part]:
    """Return the parts of a list, given the one before it."""
    places = {key: place for place, key in reversed(list(enumerate(before)))}
    parts: list[Part] = []
    at = 0
    while at < len(keys):
        start = end = places.get(keys[at], len(before))
        if start == len(before):
            parts.append(keys[at])
            at += 1
            continue
        while at < len(keys) and end < len(before) and keys[at] == before[end]:
            at, end = at + 1, end + 1
        parts.append([start, end])
    return parts


def keys_of_parts(parts: Iterable[Any], before: list[str]) -> list[str] | None:
    """Return the keys of a list; `before` itself is used up for it. None where the parts are of another list."""
    length = len(before)
    keys: list[str] = []
    for part in parts:
        if isinstance(part, str):
            keys.append(part)
            continue
        found = _range(part, length)
        if found is None:
            return None
        if not keys and found == (0, length):  # of a list that grows: nothing is copied
            keys = before
        else:
            keys.extend(before[found[0] : found[1]])
    return keys


def list_told(messages: Any) -> ListTold | None:
    """Return the list that `details.request.messages` tells; None where it tells none that can be rebuilt."""
    if not isinstance(messages, Mapping):
        return None
    said = cast("Mapping[str, Any]", messages)
    digest, parts, after = said.get("digest"), said.get("parts"), said.get("after")
    if not isinstance(digest, str) or not isinstance(parts, list | tuple):
        return None
    return ListTold(digest, after if isinstance(after, str) else None, cast("Sequence[Any]", parts))


class RequestFold:
    """Rebuilds the request of one model call from the events of its session.

    Args:
        details: of the call's START.
    """

    def __init__(self, details: Mapping[str, Any]) -> None:
        self.request = _request_in(details)
        self.defined: dict[str, tuple[str, Any]] = {}  # tools and params: the session that has them, and the value
        self._told = list_told(self.request.get("messages"))
        self._lists: dict[str, list[ListTold]] = defaultdict(list)

    def apply(self, event: JournalEvent) -> None:
        """Take an event of the session in; they come in order."""
        if event.type not in TOLD_BY or REQUEST not in event.details:
            return
        request = _request_in(event.details)
        told = list_told(request.get("messages"))
        if told is not None:
            self._lists[told.digest].append(told)
        for name in DEFINED:
            if name in event.details and request.get(name) == self.request.get(name):
                self.defined.setdefault(name, (event.session_id, event.details[name]))

    def keys(self) -> list[str] | None:
        """Return the keys of the messages that the model saw, in order; None where the journal does not tell them."""
        lists = self._lists_told()
        return None if lists is None else lists[-1][1]

    def trimmed(self) -> dict[int, int]:
        """Return how many messages of earlier requests stood before places of the list, and are not in it any more.

        A place is a message's, or the one behind the last. Earlier requests are those of the same conversation: each
        goes on from the one before as a whole, or takes over what stood behind something that it leaves out.
        """
        lists = self._lists_told() or [([], [])]
        since = max((at for at in range(1, len(lists)) if not _goes_on(lists[at][0], lists[at - 1][1])), default=0)
        order: list[str] = []  # all that was shown, each where it stood
        for _, keys in lists[since:]:
            order = _merged(order, keys)
        shown = lists[-1][1]
        within, places = set(shown), {key: at for at, key in enumerate(shown)}
        found: dict[int, int] = {}
        gone = 0
        for key in order:
            if key not in within:
                gone += 1
            elif gone:
                found[places[key]] = gone
                gone = 0
        if gone:
            found[len(shown)] = gone
        return found

    def _lists_told(self) -> list[tuple[Sequence[Any], list[str]]] | None:
        """Return the lists that the request is told by, each with its parts: the first of them first, its own last."""
        if self._told is None:
            return None
        chain = [self._told]
        seen = {id(self._told)}
        while (after := chain[-1].after) is not None:
            before = next((told for told in self._lists[after] if id(told) not in seen), None)
            if before is None:
                return None
            chain.append(before)
            seen.add(id(before))
        lists: list[tuple[Sequence[Any], list[str]]] = []
        for told in reversed(chain):
            keys = keys_of_parts(told.parts, list(lists[-1][1]) if lists else [])
            if keys is None:
                return None
            lists.append((told.parts, keys))
        return lists


def _goes_on(parts: Sequence[Any], before: Sequence[str]) -> bool:
    """Tell whether a list goes on from the one before as a whole, or from what stood behind something left out."""
    end = 0
    for part in parts:
        if not isinstance(part, str):
            if part[0] > end:
                return True
            end = part[1]
    return end == len(before) > 0


def _merged(order: list[str], keys: Iterable[str]) -> list[str]:
    """Return an order with the keys that are new in it, each behind what it stands behind, those at the end last."""
    known = set(order)
    behind: dict[str, list[str]] = {}
    new: dict[str, None] = {}
    last = ""
    for key in keys:
        if key not in known:
            new[key] = None
        else:
            behind[last] = [*behind.get(last, ()), *new]
            last, new = key, {}
    made = behind.get("", [])
    for key in order:
        made.append(key)
        made += behind.get(key, ())
    return [*made, *new]


def _request_in(details: Mapping[str, Any]) -> Mapping[str, Any]:
    request: Any = details.get(REQUEST)
    return cast("Mapping[str, Any]", request) if isinstance(request, Mapping) else EMPTY


def _digest_in(message: Any) -> str | None:
    digest: Any = cast("Mapping[str, Any]", message).get("digest") if isinstance(message, Mapping) else None
    return digest if isinstance(digest, str) else None


def _range(part: Any, length: int) -> tuple[int, int] | None:
    if not isinstance(part, list | tuple) or len(cast("list[Any]", part)) != _PAIR:
        return None
    start, end = cast("list[Any]", part)
    return (start, end) if type(start) is int and type(end) is int and 0 <= start < end <= length else None
