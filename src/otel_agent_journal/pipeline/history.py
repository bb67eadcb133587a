"""What of a session is in the journal already: messages, definitions of tools, parameters, and lists that models saw.

The journal has each message once, known by a digest of what it says, and later events refer to it. One history a
session serves all frameworks of a process; what earlier processes have journaled, a `Keeping` tells.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, Final, Protocol

from otel_agent_journal.mapping.references import DIGEST
from otel_agent_journal.pipeline.digests import Digests
from otel_agent_journal.projections.request import Kept, digest_and_name, key_of, keys_of_parts, list_told

_MAX_HELD: Final = 20_000  # digests of one session that are remembered; what the oldest are of is journaled again
_MAX_SESSIONS: Final = 1_000
_MAX_LISTS: Final = 16  # of one session: as many conversations go on side by side, and more


class Keeping(Protocol):
    """Where it is told what processes before this one have journaled of a session. Nothing of it raises."""

    def key(self) -> bytes:
        """Return the installation's own secret."""
        ...

    def read(self, session_id: str) -> Iterable[Kept]:
        """Return what is known to be in the journal, in the order in which it came there."""
        ...


class Shown:
    """A list of messages that a model saw last in one conversation, by its digest and the keys of its messages."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: tuple[str, list[str], int] = ("", [], 0)  # the list of keys grows: so many of them are meant

    @property
    def keys(self) -> list[str]:
        """The keys, a list of their own."""
        _, keys, count = self.state
        return keys[:count]


class History:
    """What of one session is in the journal. Made by `Histories`."""

    def __init__(self, digests: Digests, kept: Iterable[Kept] = ()) -> None:
        self.digests = digests
        self.shown: deque[Shown] = deque(maxlen=_MAX_LISTS)
        self._held: OrderedDict[str, None] = OrderedDict()
        self._recall(kept)

    def holds(self, digest: str) -> bool:
        """Tell whether something is in the journal."""
        return digest in self._held

    def add(self, digest: str) -> None:
        """Remember that something is in the journal."""
        self._held[digest] = None
        if len(self._held) > _MAX_HELD:
            self._held.popitem(last=False)

    def named(self, message: dict[str, Any]) -> str:
        """Give a message its digest, and return its key."""
        digest = message[DIGEST] = self.digests.of_message(message)
        return digest if self.digests.keyed else key_of(digest, message.get("name"))

    def origin(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message whole, with its digest, where it is made: a model's answer, a tool's result."""
        self.named(message)
        self.add(message[DIGEST])
        return message

    def journaled(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message for the journal: whole the first time, then a reference."""
        self.named(message)
        if self.holds(message[DIGEST]):
            return {"$message": message[DIGEST]}
        self.add(message[DIGEST])
        return message

    def known(self, message: dict[str, Any]) -> bool:
        """Tell whether a message is in the journal."""
        return self.holds(self.digests.of_message(message))

    def defined(self, value: Any) -> tuple[str, bool]:
        """Return the digest of tools or parameters, and whether the journal is to be told them."""
        digest = self.digests.of_value(value)
        new = digest not in self._held
        if new:
            self.add(digest)
        return digest, new

    def _recall(self, kept: Iterable[Kept]) -> None:
        lists: OrderedDict[str, list[str]] = OrderedDict()
        for one in kept:
            self._held.update(dict.fromkeys(one.held))
            for messages in one.lists:
                told = list_told(messages)
                if told is None:
                    continue
                self._held.update((digest_and_name(part)[0], None) for part in told.parts if isinstance(part, str))
                before = [] if told.after is None else lists.get(told.after)
                keys = None if before is None else keys_of_parts(told.parts, list(before))
                if keys is not None:
                    lists[told.digest] = keys
                    lists.move_to_end(told.digest)
                    while len(lists) > _MAX_LISTS:
                        lists.popitem(last=False)
        while len(self._held) > _MAX_HELD:
            self._held.popitem(last=False)
        for digest, keys in lists.items():
            shown = Shown()
            shown.state = (digest, keys, len(keys))
            self.shown.append(shown)


class Histories:
    """The histories of the sessions that were active last. One a recorder.

    Args:
        as_said: content is in the journal as it is said; else digests have a key.
        keeping: tells what processes before this one have journaled.
    """

    def __init__(self, *, as_said: bool = True, keeping: Keeping | None = None) -> None:
        self._keeping = keeping
        self._digests = Digests() if as_said else None
        self._by_session: OrderedDict[str, History] = OrderedDict()

    def of(self, session_id: str | None) -> History:
        """Return the history of a session; a new one of a session that is not known yet."""
        if not session_id:
            return History(self._made_digests())
        history = self._by_session.get(session_id)
        if history is None:
            kept = self._keeping.read(session_id) if self._keeping is not None else ()
            history = self._by_session.setdefault(session_id, History(self._made_digests(), kept))
            if len(self._by_session) > _MAX_SESSIONS:
                self._by_session.popitem(last=False)
        return history

    def _made_digests(self) -> Digests:
        if self._digests is None:  # a key costs a file: those that need none do not ask for it
            self._digests = Digests(self._keeping.key() if self._keeping is not None else os.urandom(32))
        return self._digests
