"""Which body of an agent's transcript is held, and how it comes to be settled or erased."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from otel_agent_journal.context.alignment import Known
from otel_agent_journal.context.blocks import drafts_of_blocks
from otel_agent_journal.context.held import Held, Slot, can_hold, replace_body
from otel_agent_journal.context.log import ContextLog
from otel_agent_journal.context.messages import Draft, Message
from otel_agent_journal.store.protocol import Erases

_SEARCHED: Final = 1_000  # events, for the one that has a body


class Holding:
    """The body that one writer of an instance holds, and the document that has it. Not thread-safe.

    Args:
        log: the instance's.
    """

    def __init__(self, log: ContextLog) -> None:
        self._log = log
        self._slot: Slot | None = None
        self.held: Held | None = None
        self.possible = can_hold(log.store)

    def has(self, known: Sequence[Known]) -> bool:
        """Tell whether the last message of a list is the one that is held."""
        return self.held is not None and bool(known) and known[-1].first in self.held.numbers

    def begun(self, said: Message) -> Held:
        """Keep the body of a message, or keep it on for another event of the same, durably; return what holds then."""
        body = self.held.body if self.held is not None else f"{self._log.count}.{os.urandom(8).hex()}"
        document = self._keep(body, said)
        return Held(body, document, said, () if self.held is None else self.held.numbers)

    def replace(self, said: Message) -> None:
        """Put what a message says now in the place of what it said."""
        assert self.held is not None
        self._keep(self.held.body, said)
        self.held = self.held._replace(message=said)

    def erase(self, known: Sequence[Known], said: Message) -> bool:
        """Put this in the place of the last message's body; return whether what it said is nowhere any more."""
        if self.has(known):
            self.replace(said)
        elif not self._replaced_elsewhere(known[-1], said):
            return False
        if isinstance(self._log.store, Erases):
            self._log.store.erase()
        return True

    def settle(self, known: Sequence[Known], start: int, drafts: list[Draft]) -> dict[int, Known]:
        """Add the events that have the body which is held; return what is known of it then, by its place in the list.

        Args:
            known: the list.
            start: the number of the first of the drafts.
            drafts: what they are added to.
        """
        found: dict[int, Known] = {}
        for number in () if self.held is None else self.held.numbers:
            assert self.held is not None
            where = next((at for at in range(len(known) - 1, -1, -1) if known[at].first == number), None)
            more: dict[str, Any] = {"settles": number}
            first = start + len(drafts)
            made = drafts_of_blocks(self.held.message, **more)
            drafts += made if where is not None else map(staged, made)
            if where is not None:
                begin = number if first == number + 1 else first
                found[where] = known[where]._replace(first=begin, last=start + len(drafts))
        return found

    def close(self) -> None:
        """Let go of the document of a body that an event has by now."""
        if self._slot is not None and self.held is None:
            self._slot.clear()
            self._slot = None

    def _keep(self, body: str, said: Message) -> str:
        if self._slot is None:
            self._slot = Slot(self._log.store, self._log.session_id, self._log.instance_id, self._is_settled)
        return self._slot.put(body, said)

    def _replaced_elsewhere(self, last: Known, said: Message) -> bool:
        """Replace the body that another writer holds, as one that has crashed."""
        for _, event in self._log.events(last.first, last.first + 1):
            held = event.details.get("held")
            if isinstance(held, Mapping) and last.last == last.first + 1:
                return replace_body(self._log.store, event.session_id, cast("Mapping[str, Any]", held), said)
        return False

    def _is_settled(self, body: str) -> bool | None:
        """Tell whether an event has a body by now; None where none names it."""
        number = int(body.partition(".")[0])
        naming: list[int] = []
        self._log.refresh()
        for at, event in self._log.events(number, min(number + _SEARCHED, self._log.count)):
            held = event.details.get("held")
            if isinstance(held, Mapping) and cast("Mapping[str, Any]", held).get("body") == body:
                naming.append(at)
            if event.details.get("settles") in naming:
                naming.remove(event.details["settles"])
                if not naming:
                    return True
        return False if naming else None


def staged(draft: Draft) -> Draft:
    """Return a draft that is in view only where a CONTEXT_REPLACED names it."""
    return draft._replace(details={**draft.details, "staged": True})
