"""A text looked for in what a session holds: names, inputs, outputs, messages, notes, errors, and what is kept apart.

Case does not matter. A session is read event by event until the text is found; values that are kept apart are fetched
where what refers to them has not said it already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.values import mappings_in

SEARCHED: Final = "names, inputs, outputs, messages, notes and errors"
_AROUND: Final = 40  # characters that are shown on either side of what was found


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Where a text was first found in a session; `text` is that with what stands around it.

    `number` is the step's, None where the event is of none.
    """

    session_id: str
    event_id: str
    event_type: str
    step_id: str | None
    number: int | None
    name: str | None
    text: str


def first_match(journal: Journal, head: SessionHead, wanted: str) -> Match | None:
    """Return where a text is first found in a session and its parts, or None.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    low = wanted.casefold()
    for event in journal.events(head.session_id):
        found = next(_around(_texts_of(journal, event), low), None)
        if found is None:
            continue
        step = None if event.step_id is None else journal.tree(head).step(event.step_id)
        return Match(
            session_id=head.session_id,
            event_id=event.event_id,
            event_type=event.type,
            step_id=event.step_id,
            number=None if step is None else step.number,
            name=event.name,
            text=found,
        )
    return None


def _texts_of(journal: Journal, event: JournalEvent) -> Iterator[str]:
    """Yield every text of an event: what is at hand first, then what is kept apart."""
    if event.name:
        yield event.name
    if event.error is not None:
        yield from (text for text in (event.error.type, event.error.message, event.error.code) if text)
    yield from _texts(event.details)
    if any(map(refers_to_blob, mappings_in(event.details, lambda mapping: not refers_to_blob(mapping)))):
        yield from _texts(journal.resolved(event.session_id, event.details))


def _texts(value: Any) -> Iterator[str]:
    pending: list[Any] = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            pending += reversed(list(cast("Mapping[str, Any]", one).values()))
        elif isinstance(one, list | tuple):
            pending += reversed(cast("list[Any]", one))


def _around(texts: Iterator[str], low: str) -> Iterator[str]:
    """Yield, of the texts that hold what is wanted, that with what stands around it."""
    for text in texts:
        folded = text.casefold()
        at = folded.find(low)
        if at < 0:
            continue
        if len(folded) != len(text):  # letters that are two when they are folded: the place is about there
            at = min(at, len(text))
        begin, end = max(0, at - _AROUND), at + len(low) + _AROUND
        yield ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
