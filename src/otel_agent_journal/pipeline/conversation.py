"""A model's request as details of its START: what the journal does not hold yet, and what changed since the last one.

A history is handed to a model whole at every call. What of it is new is told in full, and the list that the model saw
by what changed since a list before it (`projections.request`). How a framework's messages are read, it says itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, Final

from otel_agent_journal.mapping.references import DIGEST
from otel_agent_journal.pipeline.digests import extended
from otel_agent_journal.pipeline.history import History, Shown
from otel_agent_journal.projections.request import DEFINED, REQUEST, parts_of
from otel_agent_journal.threads import Lock

_LOOKED_AT: Final = 16  # of the messages shown last: so many are looked at again, whether they were changed in place


def _nothing(messages: Sequence[Any]) -> list[Any]:
    return [None] * len(messages)


class Conversation:
    """What one agent last showed its model. Successive calls repeat it, so only what follows is looked at.

    The messages themselves are kept and compared: a history of two hundred costs a few microseconds.

    Args:
        read: returns a message as plain data; where it says several things, as several messages.
        same: tells whether a message is the one that was shown; by default that it is this very object.
        contents_of: returns what of each message would be another object, were it changed in place.
    """

    def __init__(
        self,
        read: Callable[[Any], Iterable[dict[str, Any]]],
        *,
        same: Callable[[Any, Any], Any] = operator.is_,
        contents_of: Callable[[Sequence[Any]], list[Any]] = _nothing,
    ) -> None:
        self._read = read
        self._same = same
        self._contents_of = contents_of
        self._history: History | None = None
        self._broken = False
        self._turn = Lock()

    def request(
        self, messages: Sequence[Any], history: History, *, content: bool = True
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the messages that the journal does not hold yet, and `details.request.messages`.

        Args:
            messages: all that the model is shown, in order.
            history: of the session.
            content: tell what the list is made of; else its digest and count alone.
        """
        if not self._turn.acquire(blocking=False):  # parallel calls of one agent: each is told by itself
            other = Conversation(self._read, same=self._same, contents_of=self._contents_of)
            return other.request(messages, history, content=content)
        try:
            if history is not self._history or self._broken:
                self._begin(history)
            self._broken = True  # unless it comes to its end: what cannot be read must not be half known
            told = self._request(messages, history, content=content)
            self._broken = False
            return told
        finally:
            self._turn.release()

    def _request(
        self, messages: Sequence[Any], history: History, *, content: bool
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        known = self._known(messages)
        grows = known == len(self._messages) > 0
        before = self._shown.state
        others = {} if grows else self._from_here(known)
        read: list[tuple[int, dict[str, Any]]] = []  # with their places in the list
        fresh = messages[known:]
        for message, content_now in zip(fresh, self._contents_of(fresh), strict=True):
            other = others.get(id(message))
            if other is not None and other[1] is content_now:
                self._keys.extend(other[2])
            else:
                for one in self._read(message):
                    read.append((len(self._keys), one))
                    self._keys.append(history.named(one))
            self._messages.append(message)
            self._contents.append(content_now)
            self._ends.append(len(self._keys))
        if grows:
            name = extended(self._running, self._keys[before[2] :])
        else:
            self._running = history.digests.running()
            name = extended(self._running, self._keys)
        if not content:
            self._shown.state = (name, self._keys, len(self._keys))
            return [], {"digest": name, "count": len(self._keys)}
        common = before[2]
        if not grows:
            before, common = _nearest(self._keys, [self._shown, *reversed(list(history.shown))])
        new = [one for at, one in read if _is_new(one, history, later=at >= common, follows=0 < before[2] == common)]
        return new, self._told(history, name, before, grows=grows)

    def _begin(self, history: History) -> None:
        self._history = history
        self._messages: list[Any] = []
        self._contents: list[Any] = []
        self._ends: list[int] = []  # of each message, in the keys
        self._keys: list[str] = []
        self._running = history.digests.running()
        self._shown = Shown()

    def _known(self, messages: Sequence[Any]) -> int:
        """Return how many messages at the head are those that were shown, as they were."""
        shown, contents = self._messages, self._contents
        count = len(shown)
        if count <= len(messages) and all(map(self._same, shown, messages)):
            if self._contents_of is _nothing or not count:
                return count
            late = max(1, count - _LOOKED_AT)
            looked_at = self._contents_of([messages[0], *messages[late:count]])
            if all(map(operator.is_, looked_at, [contents[0], *contents[late:]])):
                return count
        same = sum(1 for _ in takewhile(lambda pair: self._same(*pair), zip(shown, messages, strict=False)))
        unchanged = zip(self._contents_of(messages[:same]), contents, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], unchanged))

    def begins(self, messages: Sequence[Any], history: History) -> int:
        """Return how many messages at the head of a list are those that were shown last, and so in the journal."""
        if history is not self._history or not self._turn.acquire(blocking=False):
            return 0
        try:
            return 0 if self._broken else self._known(messages)
        finally:
            self._turn.release()

    def _from_here(self, known: int) -> dict[int, tuple[Any, Any, list[str]]]:
        """Forget all but the first messages; return of the others what they were read as, by their objects."""
        ends = [0, *self._ends]
        others = {
            id(self._messages[at]): (self._messages[at], self._contents[at], self._keys[ends[at] : ends[at + 1]])
            for at in range(known, len(self._messages))
        }
        self._messages, self._contents = self._messages[:known], self._contents[:known]
        self._ends, self._keys = self._ends[:known], self._keys[: ends[known]]
        return others

    def _told(self, history: History, name: str, before: tuple[str, list[str], int], *, grows: bool) -> dict[str, Any]:
        keys, (digest, listed, count) = self._keys, before
        told: dict[str, Any] = {"digest": name, "count": len(keys)}
        if digest:
            told["after"] = digest
        told["parts"] = [[0, count], *keys[count:]] if grows else parts_of(keys, listed[:count])
        if not self._shown.state[0]:
            history.shown.append(self._shown)
        self._shown.state = (name, keys, len(keys))
        return told


def _is_new(message: dict[str, Any], history: History, *, later: bool, follows: bool) -> bool:
    """Tell whether a message is to be journaled: it is not yet, or somebody says again what was said before.

    Args:
        message: with its digest.
        history: of the session.
        later: it stands behind what the list has in common with the one before.
        follows: the list before is the beginning of this one.
    """
    digest, own_id = message[DIGEST], message.get("id")
    said_again = later and message["role"] == "user" and (follows if own_id is None else not history.holds(own_id))
    if own_id is not None and message["role"] == "user":
        history.add(own_id)
    if history.holds(digest) and not said_again:
        return False
    history.add(digest)
    return True


def _nearest(keys: Sequence[str], lists: Iterable[Shown]) -> tuple[tuple[str, list[str], int], int]:
    """Return the list that has most at its head in common with these, of several alike the first; and how much."""
    nearest, most = ("", list[str](), 0), -1
    for shown in lists:
        _, listed, count = shown.state
        if not count:
            continue
        pairs = zip(keys, listed[:count], strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if common > most:
            nearest, most = shown.state, common
        if common == count:
            break
    return nearest, max(0, most)


def request_details(
    history: History,
    *,
    model: str,
    content: bool,
    messages: tuple[list[dict[str, Any]], dict[str, Any]] | None = None,
    tools: Any = None,
    params: Any = None,
) -> dict[str, Any]:
    """Return the details of a model's START that tell its request: what is new in full, all of it by digest.

    Args:
        history: of the session.
        model: its name.
        content: tell what is new; else digests and counts alone.
        messages: what `Conversation.request` returned.
        tools: their definitions, as plain data in the framework's own shape; None where none were offered.
        params: what else the model was called with, as plain data.
    """
    request: dict[str, Any] = {"model": model}
    details: dict[str, Any] = {REQUEST: request}
    if messages is not None:
        new, request["messages"] = messages
        if content:
            details["messages"] = new
    for name, value in zip(DEFINED, (tools, params), strict=True):
        if value:
            request[name], is_new = history.defined(value)
            if is_new and content:
                details[name] = value
    return details


def answered(said: Sequence[dict[str, Any]], history: History) -> Any:
    """Return a model's answer, told as messages, which is in the journal from here on: one alone by itself."""
    told = [history.origin(one) for one in said]
    return told[0] if len(told) == 1 else told


def without_digests(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as they were said."""
    return [{name: value for name, value in message.items() if name != DIGEST} for message in messages]
