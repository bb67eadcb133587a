"""Which messages of a session are in the journal already, so that a chat history is journaled once.

A history is handed to the model whole at every call. What the journal needs of it are the messages it does not hold
yet, with the count and a digest of the others. What a message is, and what it is known by, its framework says.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, encode_value, plain
from otel_agent_journal.plain import MESSAGES, light

_encode: Final = msgspec.json.Encoder().encode
_MAX_SEEN: Final = 20_000  # messages of one session that are remembered; the oldest are journaled again if they recur
_MAX_SESSIONS: Final = 1_000


def fingerprint_of(said: Any) -> int:
    """Return a number that tells what a message says: another where it says something else."""
    try:
        return hash(_encode(said if _is_text(said) or light([said], MESSAGES) else plain(said)))
    except Exception:  # noqa: BLE001 - half of a surrogate pair, or nested too deep
        return hash(encode_value(plain(said)))


def _is_text(said: Any) -> bool:
    """Tell whether a message is of texts alone, as most are: that is sooner known than `light`."""
    if type(said) is not dict:
        return False
    for one in cast("dict[str, Any]", said).values():  # noqa: SIM110 - a generator costs as much as `light`
        if type(one) is not str:
            return False
    return True


class Known:
    """The messages of one session that are in the journal, by what each is known by and a fingerprint of its text."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()

    def holds(self, key: str, fingerprint: int) -> bool:
        """Tell whether a message is in the journal, with this very content."""
        return self._seen.get(key) == fingerprint

    def add(self, key: str, fingerprint: int) -> None:
        """Remember a message."""
        self._seen[key] = fingerprint
        if len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)


_Known = TypeVar("_Known", bound=Known)


class KnownBySession(Generic[_Known]):
    """What is known of the sessions that were active last."""

    def __init__(self, make: Callable[[], _Known]) -> None:
        self._make = make
        self._by_session: OrderedDict[str, _Known] = OrderedDict()

    def of(self, session_id: str) -> _Known:
        """Return what is known of a session."""
        sessions = self._by_session
        known = sessions.get(session_id)
        if known is None:
            known = sessions.setdefault(session_id, self._make())
            if len(sessions) > _MAX_SESSIONS:
                sessions.popitem(last=False)
        return known


class Shown:
    """What one agent last showed its model. Successive calls repeat it, so only what follows is looked at.

    The messages themselves are kept, as the agent's own state keeps them, and compared by identity: a history of two
    hundred costs a few microseconds. After a reload every message is another object, and is looked at once more.

    Args:
        read: returns what a message is known by, its fingerprint, and the message as plain data.
    """

    def __init__(self, read: Callable[[Any], tuple[str, int, dict[str, Any]]]) -> None:
        self._read = read
        self._shown: list[Any] = []
        self._digest = blake2b(digest_size=DIGEST_BYTES)

    def split(
        self, messages: Sequence[Any], history: Known, recent: Callable[[Any], str | None] = lambda _message: None
    ) -> dict[str, Any]:
        """Return the details of a model's START: the messages that are new, count and digest of the others.

        Args:
            messages: the whole history, in order.
            history: of the session.
            recent: returns what a message is known by that needs no reading, since it was journaled a moment ago.
        """
        known = len(self._shown)
        if known > len(messages) or not all(map(operator.is_, self._shown, messages)):
            known = 0
            self._digest = blake2b(digest_size=DIGEST_BYTES)
        rest = self._digest.copy()
        new: list[dict[str, Any]] = []
        for message in messages[known:]:
            said = recent(message)
            if said is not None:
                rest.update(said.encode("utf-8", "replace"))
                self._digest.update(said.encode("utf-8", "replace"))
                continue
            key, fingerprint, plain = self._read(message)
            name = key.encode("utf-8", "replace")
            if history.holds(key, fingerprint):
                rest.update(name)
            else:
                history.add(key, fingerprint)
                new.append(plain)
            self._digest.update(name)
        self._shown = list(messages)
        details: dict[str, Any] = {"messages": new}
        if len(new) < len(messages):
            details["messages_before"] = len(messages) - len(new)
            details["messages_digest"] = rest.hexdigest()
        return details
